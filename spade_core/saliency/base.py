"""What all attribution methods share, so that each of them is only its formula.

A method gets a private structural copy of the network (hooks die with it, the shared model is never touched), an input
that wants gradients, a seed that is set for its whole run and taken back afterwards, and a forward pass that reports
progress and can be cancelled at every call.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spade_core.isolation import TICK, seed_all
from spade_core.models.canonical.activations import find_shared_activations, is_activation
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.progress import Progress, span

TOLERATED_GAP = 0.05  # of the logit difference that a complete attribution may miss without a note


@dataclass(frozen=True, eq=False)
class Task:
    """One attribution to compute.

    Attributes:
        module: private copy of the network, eval mode.
        dense: the dense model, read-only; of a trace: the one it was made from.
        x: normalised input ``(1, 3, height, width)`` that wants gradients.
        pixels: uint8 ``(height, width, 3)``, what the model sees.
        target: class index whose logit is attributed.
        title: of the method, for people; options: its options, complete.
        seed: of whatever is drawn.
        batch_size: at most how many inputs go through the network at once.
        progress: called at every forward pass and within long ones.
        notes: sentences for the explanation, added by the method.
        record: settings that the method chose itself.
    """

    module: nn.Module
    dense: LoadedModel
    x: Tensor
    pixels: np.ndarray
    target: int
    title: str
    options: Mapping[str, Any]
    seed: int
    batch_size: int
    progress: Progress
    notes: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    def fork(self, start: float, stop: float) -> Task:
        """Return the same task on a copy of its own; its progress is the part ``start..stop`` of this one's."""
        x = self.x.detach().clone().requires_grad_()
        return replace(self, module=share_copy(self.module), x=x, progress=span(self.progress, start, stop))


def counted(module: nn.Module, expected: int, progress: Progress, note: str) -> None:
    """Make ``module`` (a private copy) report progress at every forward pass, which is also where a cancel gets in.

    A pass of a large network takes seconds, so its layers report too, forwards and, on the CPU, backwards: there
    the gradient is computed in the caller's own thread.
    """
    calls, last = 0, 0.0

    def begin(*_: object) -> None:
        nonlocal calls
        progress(min(calls, expected), max(expected, 1), note)
        calls += 1

    def within(*_: object) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TICK:
            last = now
            progress(min(calls - 1, expected), max(expected, 1), note)

    def after(_child: nn.Module, _args: object, output: object) -> None:
        within()
        if isinstance(output, Tensor) and output.requires_grad and output.device.type == "cpu":
            output.register_hook(within)

    module.register_forward_pre_hook(begin)
    for child in module.modules():
        if child is not module and any(True for _ in child.parameters(recurse=False)):
            child.register_forward_hook(after)


def with_batches(task: Task, compute: Callable[[int], Tensor]) -> Tensor:
    """Return ``compute(task.batch_size)``, with the batch halved, down to 1, as long as the memory does not suffice.

    Each attempt starts from the seed, so that a failed one does not change what the next one draws.
    """
    batch_size = task.batch_size
    while True:
        try:
            return compute(batch_size)
        except RuntimeError as error:
            # The CPU has no error type of its own.
            phrases = ("out of memory", "not enough memory", "can't allocate memory")
            scarce = isinstance(error, torch.OutOfMemoryError) or any(phrase in str(error) for phrase in phrases)
            if batch_size == 1 or not scarce:
                raise
        # Outside the handler: the error's traceback holds the tensors of the failed attempt.
        batch_size //= 2
        task.record["batch_size"] = batch_size
        torch.cuda.empty_cache()
        seed_all(task.seed)


def baseline(task: Task) -> Tensor:
    """Return what stands for nothing, ``(1, 3, height, width)`` in normalised space, as the option ``baseline`` says.

    ``grey`` is the mean of the pictures that the model was trained on, zero in normalised space; ``blurred`` is the
    picture itself, blurred by a standard deviation of a tenth of its short side.
    """
    x, name = task.x.detach(), task.options["baseline"]
    if name == "blurred":
        return blur(x, 0.1)
    if name == "grey":
        return torch.zeros_like(x)
    even = torch.full((1, 3, 1, 1), 1.0 if name == "white" else 0.0)
    return task.dense.preprocessing.normalize(even).to(x).expand_as(x).contiguous()


def blur(x: Tensor, spread: float) -> Tensor:
    """Return ``x`` under a Gaussian blur of standard deviation ``spread`` of the short side; the border is mirrored."""
    from scipy.ndimage import gaussian_filter  # here: a worker that starts does not wait for it

    found = gaussian_filter(x.cpu().numpy(), spread * min(x.shape[-2:]), axes=(-2, -1), mode="mirror")
    return torch.from_numpy(found).to(x)


class Completeness:
    """How near an attribution comes to what it should add up to: f(x) - f(baseline)."""

    def __init__(self, task: Task, start: Tensor) -> None:
        with torch.no_grad():
            logits = task.module(torch.cat([task.x, start]))[:, task.target].double()
        self._task, self._gap = task, float(logits[0] - logits[1])
        self._tolerated = TOLERATED_GAP * max(abs(self._gap), 1e-3 * float(logits.abs().max()))

    def holds(self, attribution: Tensor) -> bool:
        """Whether it misses at most 5 %."""
        return abs(_total(attribution) - self._gap) <= self._tolerated

    def note(self, attribution: Tensor, remedy: str) -> None:
        """Add a note to the map where it misses more."""
        if not self.holds(attribution):
            missed, whole = abs(_total(attribution) - self._gap), abs(self._gap)
            share = f"{missed / whole:.0%} of" if whole > missed else "more than"
            nothing = self._task.options["baseline"]
            self._task.notes.append(
                f"The map misses {share} the logit's difference from a {nothing} picture: {remedy}."
            )


def _total(attribution: Tensor) -> float:
    return float(attribution.detach().double().sum())


def clip_relus(module: nn.Module) -> None:
    """Make every ``nn.ReLU6`` of a private copy an ``nn.ReLU`` whose forward clips at six.

    Captum knows activation modules by their type: with ReLU6 GuidedBackprop silently returns the plain gradient and
    DeepLift silently returns input x gradient. Both rules only need the module's real inputs and outputs, so a ReLU
    that computes ReLU6 is treated exactly, and Captum's tables stay as they are.
    """
    for parent in module.modules():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                clipped = nn.ReLU()
                clipped.forward = nn.functional.relu6  # type: ignore[method-assign]
                setattr(parent, name, clipped)


_HIDDEN: weakref.WeakKeyDictionary[LoadedModel, list[str]] = weakref.WeakKeyDictionary()
"""What :func:`find_shared_activations` says of a model, from one forward pass a model."""


def relu_only(model: LoadedModel, title: str) -> str | None:
    """Return why a rule for ReLU and ReLU6 modules cannot be applied to ``model``, or None."""
    activations = {type(child).__name__ for child in model.module.modules() if is_activation(child)}
    if others := ", ".join(sorted(activations - {"ReLU", "ReLU6"})):
        return f"{title} has a rule for ReLU and ReLU6 only, but {model.name} uses {others}."
    if model not in _HIDDEN:
        _HIDDEN[model] = find_shared_activations(model.module, model.grey())
    if _HIDDEN[model]:
        return f"{title} must see every activation as a module of its own, but in {model.name} {_HIDDEN[model][0]}."
    return None if activations else f"{title} changes the rule of ReLU modules, but {model.name} has none."
