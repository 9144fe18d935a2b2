"""What all attribution methods share, so that each of them is only its formula.

A method gets a private structural copy of the network (hooks die with it, the shared model is never touched), an input
that wants gradients, a seed that is set for its whole run and taken back afterwards, and a forward pass that reports
progress and can be cancelled at every call.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spade_core.activations import find_shared_activations, is_activation
from spade_core.errors import ConfigError
from spade_core.models import LoadedModel
from spade_core.progress import Progress

__all__ = ["Method", "Task", "clip_relus", "counted", "seeded", "with_batches"]


@dataclass(frozen=True, eq=False)
class Task:
    """One attribution to compute.

    Attributes:
        module: private copy of the network, eval mode.
        x: normalised input ``(1, 3, height, width)`` that wants gradients.
        pixels: uint8 ``(height, width, 3)``, what the model sees.
        target: class index whose logit is attributed.
        options: the method's options, complete.
        batch_size: at most how many inputs go through the network at once.
        layer: name of the layer to read, for methods that read one; None: chosen by the method.
        progress: called at every forward pass.
    """

    module: nn.Module
    x: Tensor
    pixels: np.ndarray
    target: int
    options: Mapping[str, Any]
    batch_size: int
    layer: str | None
    progress: Progress


class Method(ABC):
    """An attribution method: metadata for people and pages, and the formula.

    Attributes:
        slug, title, help: how it is chosen, shown and explained in one line with its paper.
        cost: ``fast`` (a few passes), ``medium`` (tens) or ``slow`` (hundreds).
        needs_gradients: whether a backward pass is used.
        signed: whether its map has negative evidence.
        options: name -> default of what can be set.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    cost: ClassVar[str]
    needs_gradients: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    architectures: ClassVar[str] = "all"
    options: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def attribute(self, task: Task) -> Tensor:
        """Return the attribution, ``(1, channels, height, width)``."""

    def reduce(self, attribution: Tensor) -> Tensor:
        """Return the map ``(height, width)``: the signed channel sum."""
        return attribution.sum(1)[0]

    def unsupported(self, model: LoadedModel) -> str | None:  # noqa: ARG002
        """Return one sentence why the method cannot be applied to ``model``, or None."""
        return None

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options, ``given`` over the defaults.

        Raises:
            ConfigError: an option is unknown or not a positive number.
        """
        for name, value in given.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise ConfigError(f"{self.title} has no option {name!r}: it has {known}.")
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                raise ConfigError(f"The option {name} of {self.title} must be a positive number, not {value!r}.")
        return {**self.options, **given}


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators inside the block and restore them afterwards.

    Captum draws from them.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global generator is what must be kept
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def counted(module: nn.Module, expected: int, progress: Progress, note: str) -> None:
    """Make every forward pass of ``module`` (a private copy) report progress, which is also where a cancel gets in."""
    calls = 0

    def tick(*_: object) -> None:
        nonlocal calls
        progress(min(calls, expected), max(expected, 1), note)
        calls += 1

    module.register_forward_pre_hook(tick)


def with_batches(compute: Callable[[int], Tensor], batch_size: int) -> Tensor:
    """Call ``compute(batch_size)``, halving the batch as long as the memory does not suffice."""
    while True:
        try:
            return compute(batch_size)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = max(1, batch_size // 2)
            torch.cuda.empty_cache()


def clip_relus(module: nn.Module) -> None:
    """Make every ``nn.ReLU6`` of a private copy an ``nn.ReLU`` whose forward clips at six.

    Captum knows activation modules by their type: with ReLU6 GuidedBackprop silently returns the plain gradient and
    DeepLift silently returns input x gradient. Both rules only need the module's real inputs and outputs, so a ReLU that
    computes ReLU6 is treated exactly, and Captum's tables stay as they are.
    """
    for parent in module.modules():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                clipped = nn.ReLU()
                clipped.forward = nn.functional.relu6  # type: ignore[method-assign]
                setattr(parent, name, clipped)


def relu_only(model: LoadedModel, title: str) -> str | None:
    """Return why a rule for ReLU and ReLU6 modules cannot be applied to ``model``, or None."""
    others = {type(child).__name__ for child in model.module.modules() if is_activation(child)} - {"ReLU", "ReLU6"}
    if others:
        return f"{title} has a rule for ReLU and ReLU6 only, but {model.name} uses {', '.join(sorted(others))}."
    size = model.preprocessing.size
    first = next(model.module.parameters())
    example = torch.zeros(1, 3, size, size, device=model.device, dtype=first.dtype)
    hidden = find_shared_activations(model.module, example)
    if hidden:
        return f"{title} must see every activation as a module of its own, but in {model.name} {hidden[0]}."
    if not any(is_activation(child) for child in model.module.modules()):
        return f"{title} changes the rule of ReLU modules, but {model.name} has none."
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Captum's notices about hooks it sets on our private copy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks|Input Tensor")
        yield
