"""A trace as a value: its configuration, the report of every layer, and its fidelity to the dense model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spade_core.errors import ConfigError
from spade_core.models.layers import Layer
from spade_core.models.loaded import LoadedModel, Network
from spade_core.pictures.picture import Picture
from spade_core.pruning.calibration import CALIBRATIONS, Solved
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.sparsity import PRESETS, check_ratio
from spade_core.pruning.usage import Survey

DEFAULT_VIEWS = 16
DEFAULT_UNTOUCHED = 1
DEFAULT_POSITIONS = 2048
MAX_VIEWS = 16_384


def _choose(value: str, table: Mapping[str, Any], what: str) -> str:
    if value not in table:
        raise ConfigError(f"There is no {what} {value!r}: take one of {', '.join(table)}.")
    return value


@dataclass(frozen=True)
class TraceConfig:
    """All options of a trace; JSON-able, and with model and picture all that a replay needs.

    ``calibration``, ``views``, ``untouched``, ``block_size`` and ``damping`` may be open (None, -1) until a preset
    and a solver fill them; in a finished trace they are always set.
    """

    solver: str
    preset: str
    calibration: str = ""
    sparsity: float | None = None
    stages: tuple[tuple[str, float], ...] = ()
    views: int = 0
    untouched: int = -1
    seed: int = 0
    damping: float = -1.0
    block_size: int | None = None
    first_layer: bool = False
    positions: int = 0

    @classmethod
    def build(
        cls,
        *,
        solver: str,
        calibration: str | None,
        sparsity: float | None,
        preset: str | None,
        stages: Mapping[str, float] | None,
        views: int | None,
        untouched: int | None,
        seed: int,
        damping: float | None,
        block_size: int | None,
        first_layer: bool,
        positions: int,
    ) -> TraceConfig:
        """Check the options of ``trace`` and fill what follows from others.

        Raises:
            ConfigError: an option cannot be used; the sentence names it.
        """
        _choose(solver, SOLVERS, "solver")
        implied = "uniform" if sparsity is not None else "custom" if stages else "default"
        preset = _choose(preset or implied, PRESETS, "preset")
        if sparsity is not None and preset != "uniform":
            raise ConfigError(f"The preset {preset!r} has its own ratios: leave the sparsity out or take 'uniform'.")
        if calibration is not None:
            _choose(calibration, CALIBRATIONS, "calibration")
        if views is not None and not 1 <= int(views) <= MAX_VIEWS:
            raise ConfigError(f"The number of views must lie between 1 and {MAX_VIEWS:,}, not {views}.")
        if untouched is not None and untouched < 0:
            raise ConfigError(f"The number of untouched views must be 0 or more, not {untouched}.")
        if damping is not None and not 0 <= damping <= 10:
            raise ConfigError(f"The damping is a fraction of the mean diagonal, 0 to 10, not {damping}.")
        if block_size is not None and block_size < 1:
            raise ConfigError(f"The block size must be at least 1 column, not {block_size}.")
        if positions < 0:
            raise ConfigError(f"The number of positions must be 0 (all) or more, not {positions}.")
        return cls(
            solver=solver,
            preset=preset,
            calibration=calibration or "",
            sparsity=None if sparsity is None else check_ratio(sparsity),
            stages=tuple(sorted((stages or {}).items())),
            views=int(views or 0),
            untouched=-1 if untouched is None else int(untouched),
            seed=int(seed),
            damping=SOLVERS[solver].damping if damping is None else float(damping),
            block_size=block_size,
            first_layer=first_layer,
            positions=int(positions),
        )

    def with_preferences(self, options: Mapping[str, Any]) -> TraceConfig:
        """Fill what is open from a preset's preferences."""
        return replace(
            self,
            calibration=self.calibration or options.get("calibration", "sequential"),
            views=self.views or options.get("views", DEFAULT_VIEWS),
            untouched=self.untouched if self.untouched >= 0 else options.get("untouched", DEFAULT_UNTOUCHED),
            block_size=self.block_size or options.get("block_size"),
        )

    def for_model(self, calls: Survey) -> TraceConfig:
        """Fill what is still open, and fall back to independent calibration where views cannot be told apart."""
        config = self.with_preferences({})
        return config if calls.lockstep else replace(config, calibration="independent")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {**asdict(self), "stages": dict(self.stages)}


@dataclass(frozen=True)
class LayerReport:
    """One weight of the trace.

    Attributes:
        status: ``pruned``, ``dense`` or ``not captured``; ``reason`` says why it is not pruned.
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
        return int(torch.Size(self.shape).numel())

    @classmethod
    def solved(cls, layer: Layer, stage: str, requested: float, result: Solved, note: str) -> LayerReport:
        """Report a pruned layer."""
        realised = _zeros(result.weight)
        return cls(
            layer.name, stage, layer.shape, "pruned", note, requested, realised, result.error, result.damping,
            result.seconds,
        )  # fmt: skip

    @classmethod
    def unsolved(cls, layer: Layer, stage: str, status: str, reason: str, weight: Tensor) -> LayerReport:
        """Report a layer that stays as it is."""
        return cls(layer.name, stage, layer.shape, status, reason, 0.0, _zeros(weight), 0.0, 0.0, 0.0)


def _zeros(weight: Tensor) -> float:
    return float((weight == 0).sum()) / weight.numel()


@dataclass(frozen=True)
class Report:
    """Every Conv2d, Linear and attention weight of the model."""

    layers: tuple[LayerReport, ...]

    @property
    def sparsity(self) -> float:
        """Weighted mean sparsity: zeros over all weights of the report, dense layers included."""
        total = sum(row.numel for row in self.layers)
        return sum(row.realised * row.numel for row in self.layers) / total if total else 0.0

    def to_rows(self) -> list[dict[str, Any]]:
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

    @property
    def keeps_class(self) -> bool:
        """Whether the trace ranks the dense model's top class first, or, for another target, as high as before."""
        return _rank(self.trace_top5, self.target) <= _rank(self.dense_top5, self.target)

    @property
    def warning(self) -> str | None:
        """One sentence where the trace no longer predicts the explained class, else None."""
        if self.trace_top5[0][0] == self.target:
            return None
        return (
            f"The trace no longer predicts the explained class “{self.label}” "
            f"(probability {self.trace_probability:.2f}, dense {self.dense_probability:.2f}): "
            "read its maps with caution, or prune less."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {**asdict(self), "keeps_class": self.keeps_class, "warning": self.warning}


def _rank(top: list[tuple[int, float]], target: int) -> int:
    ranked = [index for index, _ in top]
    return ranked.index(target) if target in ranked else len(ranked)


@dataclass(frozen=True, eq=False)
class Trace(Network):
    """A pruned copy of ``model`` for one picture.

    Attributes:
        model: the dense model, unchanged.
        module: owns its pruned weights and shares all other tensors with ``model.module``.
        config: all options, filled in.
        report: every prunable weight; fidelity: predictions compared; seconds: of the whole trace.
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
    def dense(self) -> LoadedModel:
        """The model that it was made from."""
        return self.model


def measure_fidelity(model: LoadedModel, module: nn.Module, picture: Picture, target: int | None) -> Fidelity:
    """Compare the predictions of the dense model and of ``module`` on ``picture``; target None: dense top-1."""
    x = model.input(picture)
    with torch.no_grad():
        dense, pruned = (F.log_softmax(net(x).double(), 1)[0].cpu() for net in (model.module, module))
    target = int(dense.argmax()) if target is None else target
    return Fidelity(
        target=target,
        label=model.labels[target],
        dense_probability=float(dense[target].exp()),
        trace_probability=float(pruned[target].exp()),
        dense_top5=_top5(dense),
        trace_top5=_top5(pruned),
        kl=float(F.kl_div(pruned, dense, reduction="sum", log_target=True)),
    )


def _top5(log_probabilities: Tensor) -> list[tuple[int, float]]:
    values, indices = log_probabilities.exp().topk(min(5, len(log_probabilities)))
    return list(zip(indices.tolist(), values.tolist(), strict=True))
