"""A trace as a value, and the measure of its fidelity to the dense model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.models.loaded import LoadedModel, Network, finite
from spade_core.models.output import divergence, log_probabilities
from spade_core.pictures.picture import Picture
from spade_core.pruning.options import TraceConfig
from spade_core.pruning.report import Fidelity, Report


@dataclass(frozen=True, eq=False)
class Trace(Network):
    """A pruned copy of ``model`` for one picture.

    Attributes:
        model: the dense model, unchanged.
        module: owns its pruned weights and shares all other tensors with ``model.module``.
        config: all options, filled in.
        report: every prunable weight; fidelity: predictions compared; seconds: of the whole trace, or its share of
            those that were made together.
        picture_sha256: of the picture it was made for.
    """

    model: LoadedModel
    module: nn.Module
    config: TraceConfig
    report: Report
    fidelity: Fidelity
    picture_sha256: str
    seconds: float

    @property
    def sparsity(self) -> float:
        """Zeros over all prunable weights, 0 to 1."""
        return self.report.sparsity


@dataclass(frozen=True, eq=False)
class Bundle:
    """Traces of one picture that differ by their seeds: what they agree on is the picture's, the rest is the draw's.

    Attributes:
        traces: at least one, of one model, picture and class.
    """

    traces: tuple[Trace, ...]

    @property
    def weakest(self) -> Trace:
        """The trace that gives the explained class the lowest probability: what is told where there is room for one."""
        return min(self.traces, key=lambda one: one.fidelity.trace_probability)


def outputs(model: LoadedModel, module: nn.Module, picture: Picture) -> Tensor:
    """Return what ``module``, the model's or a trace's, answers to ``picture``: float64 ``(1, outputs)``.

    Raises:
        ModelError: it is not finite.
    """
    with torch.no_grad():
        return finite(module(model.input(picture)), model.name).double().cpu()


def measure_fidelity(
    model: LoadedModel, module: nn.Module, picture: Picture, target: int | None, dense: Tensor | None = None
) -> Fidelity:
    """Compare the predictions of the dense model and of ``module`` on ``picture``; target None: dense top-1.

    Args:
        dense: :func:`outputs` of the dense model, where they are known.
    """
    answers = outputs(model, model.module, picture) if dense is None else dense, outputs(model, module, picture)
    before, after = (log_probabilities(one, model.output)[0] for one in answers)
    target = int(before.argmax()) if target is None else target
    dense_probability, probability = (float(one[target].exp()) for one in (before, after))
    kl = divergence(*answers, model.output)
    tops = _top5(before), _top5(after)
    return Fidelity(target, model.labels[target], dense_probability, probability, *tops, kl)


def _top5(log_probabilities: Tensor) -> list[tuple[int, float]]:
    values, indices = log_probabilities.exp().topk(min(5, len(log_probabilities)))
    return list(zip(indices.tolist(), values.tolist(), strict=True))
