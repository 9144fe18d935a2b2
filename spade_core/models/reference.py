"""What a network answers as it was given, before anything of it is copied or rewritten.

Every later form of it must give the same answers, or is refused: the function that is explained is the function that
was given. The answers are those in eval mode, to two different pictures, alone and side by side, in both layouts of
memory; a network whose answer depends on more than the picture is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spade_core.errors import ModelError
from spade_core.isolation import alone
from spade_core.models.output import find_logits, taken
from spade_core.pictures.size import Size, sides_of
from spade_core.progress import silent

ROUNDING = 1e-3  # of the largest answer: by which the order of sums may change one
COPYING = 1e-5  # the same, of a copy that computes in the same order
SHORT = {torch.float16: 2e-2, torch.bfloat16: 1e-1}  # the same, where a copy computes in float32 instead
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Reference:
    """Answers of the untouched network.

    Attributes:
        pictures: two different ones, normalised, ``(2, 3, height, width)`` float.
        answers: to them, ``(2, ...)``, as they are returned at ``path``; see ``output.find_logits``.
        tolerance: share of the largest answer by which a copy's may differ.
        contiguous: whether the network takes contiguous pictures only; writes: whether it changes its input in place.
        notes: sentences about what it was seen to do.
    """

    pictures: Tensor
    answers: Tensor
    path: Path = ()
    tolerance: float = COPYING
    contiguous: bool = False
    writes: bool = False
    notes: tuple[str, ...] = ()

    def answers_of(self, module: nn.Module) -> Tensor:
        """Return what another form of the network answers, at the same path."""
        return answers_of(module, self.pictures, self.path)

    def gap(self, answers: Tensor) -> float:
        """Return the largest difference from the reference, as a share of its largest answer."""
        return gap(answers, self.answers)


def gap(answers: Tensor, expected: Tensor) -> float:
    """Return the largest difference, as a share of the largest expected number; infinite for other shapes or NaN."""
    if answers.shape != expected.shape or not bool(answers.isfinite().all()):
        return float("inf")
    scale = max(float(expected.abs().max()), 1e-6)
    return float((answers.to(expected) - expected).abs().max()) / scale


def answers_of(module: nn.Module, pictures: Tensor, path: Path = ()) -> Tensor:
    """Run ``module`` without gradients on a copy of ``pictures`` in its own dtype; return the tensor at ``path``."""
    first = next(module.parameters(), pictures)
    with torch.no_grad():
        # A new tensor in the layout of the given one: a network may work in place.
        given = pictures.to(first.device, first.dtype, copy=True, memory_format=torch.preserve_format)
        return taken(module(given), path).detach().clone()


def draw_pictures(size: Size, channels: int = 3) -> Tensor:
    """Return two different normalised pictures of noise, ``(2, channels, height, width)`` float32, always the same.

    The first one is fainter, so that what depends on the largest value of a batch shows in its answer.
    """
    drawn = torch.randn(2, channels, *sides_of(size), generator=torch.Generator().manual_seed(0))
    return drawn * torch.tensor([0.5, 1.0]).view(2, 1, 1, 1)


class _MixedPrecision(TorchFunctionMode):
    """Notice whether something is computed under autocast."""

    found = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.found = self.found or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        return func(*args, **(kwargs or {}))


@contextmanager
def as_given(module: nn.Module) -> Iterator[None]:
    """Put all of ``module`` into eval mode for a block, without calling its ``train``; buffers come back, too."""
    modes = [(child, child.training) for child in module.modules()]
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in module.buffers()]
    try:
        for child, _ in modes:
            child.training = False
        yield
    finally:
        for child, mode in modes:
            child.training = mode
        with torch.no_grad():
            for buffer, version, value in buffers:
                if buffer._version != version:
                    buffer.copy_(value)


def observe(module: nn.Module, size: Size, name: str, *, channels: int = 3, known: bool = False) -> Reference:
    """Return what ``module``, which is not changed, answers in eval mode.

    Args:
        size, channels: of its input.
        name: for errors.
        known: whether its architecture comes from a library: then it is asked in both layouts only.

    Raises:
        ModelError: its answers are random, not finite, or depend on the other pictures of a batch; or it returns no
            single tensor of them.
        RuntimeError: whatever its forward pass raises.
    """
    pictures = draw_pictures(size, channels)
    first = next(module.parameters())
    given = pictures.to(first.device, first.dtype)
    buffers = [(key, buffer._version) for key, buffer in module.named_buffers()]
    with as_given(module):
        worked = given.clone()
        with alone(0, silent), torch.no_grad(), _MixedPrecision() as precision:
            output = module(worked)
        path = find_logits(output, len(given))
        answers = taken(output, path).detach().clone()
        writes = not torch.equal(worked, given)
        _refuse_kinds(answers, name, mixed=precision.found)
        if not bool(answers.isfinite().all()):
            raise ModelError(
                f"{name} gives outputs that are not finite (NaN or infinite numbers) for ordinary pictures: "
                "check its weights and the numbers it multiplies with."
            )
        if not known:
            _refuse_counting(module, buffers, name)
            _refuse_random(module, given, path, answers, name)
            _refuse_mixing(module, given, path, answers, name)
        shown = 1 if known else 2
        contiguous = _wants_contiguous(module, given[:shown], path, answers[:shown])
    notes = ("It changes its input in place, so each call gets a copy.",) if writes else ()
    tolerance = SHORT.get(first.dtype, COPYING)
    return Reference(given, answers, path, tolerance, contiguous, writes, notes)


def _refuse_kinds(answers: Tensor, name: str, *, mixed: bool) -> None:
    if not answers.is_floating_point():
        kind = str(answers.dtype).removeprefix("torch.")
        raise ModelError(f"{name} gives {kind} numbers, as after argmax: let it return its logits, which are floats.")
    if mixed:
        raise ModelError(f"{name} computes under autocast: leave torch.autocast out of its forward, and wrap it again.")


def _refuse_counting(module: nn.Module, before: list[tuple[str, int]], name: str) -> None:
    now = dict(module.named_buffers())
    written = [key for key, version in before if key in now and now[key]._version != version]
    if written:
        raise ModelError(
            f"{name} writes into its buffer {written[0]} at each call, also in eval mode: "
            "let its forward leave its buffers alone, and wrap it again."
        )


def _refuse_random(module: nn.Module, given: Tensor, path: Path, answers: Tensor, name: str) -> None:
    with alone(1, silent):
        again = answers_of(module, given, path)
    if gap(again, answers) > COPYING:
        raise ModelError(
            f"{name} answers the same picture differently each time, as with F.dropout(x) that stays on in eval mode: "
            "switch off what is random there (training=self.training), and wrap it again."
        )


def _refuse_mixing(module: nn.Module, given: Tensor, path: Path, answers: Tensor, name: str) -> None:
    with alone(0, silent):
        single = answers_of(module, given[:1], path)
    if gap(single, answers[:1]) <= ROUNDING:
        return
    norms = [key for key, child in module.named_modules() if _of_the_batch(child)]
    reason = f" ({norms[0]} has no running statistics)" if norms else ""
    raise ModelError(
        f"The answer of {name} to a picture depends on the other pictures beside it{reason}: "
        "let it treat each picture of a batch alone, as with fixed running statistics."
    )


def _of_the_batch(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None


def _wants_contiguous(module: nn.Module, given: Tensor, path: Path, answers: Tensor) -> bool:
    """Whether the network cannot take pictures in channels-last memory, as ``x.view`` after a pooling cannot."""
    try:
        with alone(0, silent):
            other = answers_of(module, given.contiguous(memory_format=torch.channels_last), path)
    except RuntimeError:
        return True
    return gap(other, answers) > ROUNDING
