"""A trace as a value, and the measure of its fidelity to the dense model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spade_core.models.loaded import LoadedModel, Network, finite
from spade_core.models.output import divergence, log_probabilities
from spade_core.pictures.picture import Picture
from spade_core.pruning.options import TraceConfig
from spade_core.pruning.report import Fidelity, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of zeros of every layer, in the network's order; those that stay dense are grey.

        Args:
            ax: matplotlib axes to draw on; None: those of a new figure.

        Returns:
            The axes.
        """
        from spade_core.pictures.plotting import axes_for, titled

        layers, ax = self.report.layers, axes_for(ax, (7, 2.6))
        colours = ["#0f766e" if row.status == "pruned" else "#94a3b8" for row in layers]
        ax.bar(range(len(layers)), [row.realised for row in layers], color=colours)
        ax.set(xlabel="layer, in the network's order", ylabel="share of zeros", ylim=(0, 1))
        return titled(ax, f"Trace for {self.fidelity.label}: {self.sparsity:.1%} of the weights removed")

    def _repr_html_(self) -> str:
        from spade_core.pictures.markup import card_html, facts_html, rows_html

        fidelity = self.fidelity
        facts = {
            "class": f"{fidelity.label} ({fidelity.target})",
            "its probability": f"dense {fidelity.dense_probability:.1%}, trace {fidelity.trace_probability:.1%}",
            "weights removed": f"{self.sparsity:.1%}",
            "preset": f"{self.config.preset}, seed {self.config.seed}",
            "seconds": f"{self.seconds:.1f}",
        }
        rows = [[row.name, row.status, f"{row.realised:.1%}", f"{row.error:.3g}"] for row in self.report.layers]
        layers = rows_html("Every layer", ("layer", "status", "zeros", "output error"), rows)
        notes = [fidelity.warning] if fidelity.warning else []
        return card_html(f"Trace of {self.model.name}", facts_html(facts), layers, notes=notes)


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
