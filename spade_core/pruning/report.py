"""What is told of a trace: the report of every layer, and its fidelity to the dense model; read without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class LayerReport:
    """One weight of the trace.

    Attributes:
        status: ``pruned``, ``dense`` or ``not captured``; ``reason`` says why it is not pruned, or what
            was special.
        requested, realised: fraction of zeros asked for and found.
        error: squared output error over the views relative to the dense output, see ``calibration.Solved``.
        damping: fraction of the mean diagonal that was added; seconds: for fitting and solving.
    """

    name: str
    stage: str
    shape: tuple[int, ...]
    status: str
    reason: str
    requested: float
    realised: float
    error: float
    damping: float
    seconds: float

    @property
    def numel(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Report:
    """Every Conv2d, Linear and attention weight of the model."""

    layers: tuple[LayerReport, ...]

    @property
    def sparsity(self) -> float:
        """Weighted mean sparsity: zeros over all weights of the report, dense layers included."""
        total = sum(row.numel for row in self.layers)
        return sum(row.realised * row.numel for row in self.layers) / total if total else 0.0

    @property
    def prunes(self) -> bool:
        """Whether any layer was pruned; else the trace is the dense model."""
        return any(row.status == "pruned" for row in self.layers)

    def to_rows(self) -> list[dict[str, object]]:
        """Return JSON-able rows."""
        return [{**asdict(row), "shape": list(row.shape)} for row in self.layers]


@dataclass(frozen=True)
class Fidelity:
    """How far the trace still computes what the dense model computes on the picture itself.

    Attributes:
        target: explained class index; label: its name.
        dense_probability, trace_probability: softmax probability of the target.
        dense_top5, trace_top5: (class index, probability), most probable first.
        kl: Kullback-Leibler divergence of the trace's prediction from the dense one, nats.
    """

    target: int
    label: str
    dense_probability: float
    trace_probability: float
    dense_top5: list[tuple[int, float]]
    trace_top5: list[tuple[int, float]]
    kl: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fidelity:
        """Rebuild what :meth:`to_dict` gave."""
        return cls(**{one.name: values[one.name] for one in fields(cls)})

    @property
    def keeps_class(self) -> bool:
        """Whether the trace ranks the dense model's top class first, or, for another target, as high as before."""
        return _rank(self.trace_top5, self.target) <= _rank(self.dense_top5, self.target)

    @property
    def warning(self) -> str | None:
        """One sentence where the trace no longer predicts the explained class, else None."""
        if self.trace_top5[0][0] == self.target:
            return None
        odds = f"probability {self.trace_probability:.2f}, dense {self.dense_probability:.2f}"
        lost = f"The trace no longer predicts the explained class “{self.label}” ({odds})"
        return f"{lost}: read its maps with caution, or prune less."

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        return {**asdict(self), "keeps_class": self.keeps_class, "warning": self.warning}


def _rank(top: list[tuple[int, float]], target: int) -> int:
    ranked = [index for index, _ in top]
    return ranked.index(target) if target in ranked else len(ranked)
