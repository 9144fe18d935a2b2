"""What a search may change of a model's traces: one ratio a stage, all other options being fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spade_core.errors import ConfigError, LayerError
from spade_core.evaluation.arms import ARMS, Arm
from spade_core.evaluation.statistics import DENSE
from spade_core.models.layers import Layer
from spade_core.models.loaded import LoadedModel
from spade_core.pruning.options import BundleOptions, checked
from spade_core.pruning.spade import request_of
from spade_core.pruning.sparsity import Plan, resolve, stage_of
from spade_core.pruning.usage import survey
from spade_core.tuning.configuration import Tuning
from spade_core.tuning.search import Table

DEPTHWISE = 0.0  # these kernels stay dense: they hold few weights and carry much


@dataclass(frozen=True)
class Space:
    """The tables of one model.

    Attributes:
        stages: that hold a layer which can be pruned, in the network's order.
        options: of every trace, but for its ratios.
        bundle: how many traces a map is made of, and how.
        begin: where the preset of the trace options has a ratio a stage, that table; then those that were given.
    """

    stages: tuple[str, ...]
    options: Mapping[str, object]
    bundle: BundleOptions
    begin: tuple[Table, ...]

    def named(self, table: Table) -> dict[str, float]:
        """Return the ratios by their stages."""
        return dict(zip(self.stages, table, strict=True))

    def arm(self, table: Table) -> Arm:
        """Return how the maps of a table are made; of zeros, the dense model's."""
        if not any(table):
            return ARMS[DENSE]
        stages = {**self.named(table), "depthwise": DEPTHWISE}
        options = {**self.options, "preset": "custom", "stages": stages}
        return Arm("tuned", "Tuned", "", options, self.bundle.traces, self.bundle.average)


def space_of(model: LoadedModel, tuning: Tuning) -> Space:
    """Return what can be tuned.

    Raises:
        LayerError: no layer can be pruned.
        ConfigError: the preset of the trace options, or a table to begin at, does not fit the model.
    """
    asked = checked(tuning.trace)
    plan = resolve(asked.filled({"damping": 0.0}).preset, request_of(model, asked))
    by_stage: dict[str, list[Layer]] = {}
    for layer in _free(model, first=asked.first_layer):
        by_stage.setdefault(stage_of(layer.name, model.family), []).append(layer)
    if not by_stage:
        raise LayerError(
            f"No layer of {model.name} can be pruned but the first and depthwise ones: take another model to tune."
        )
    options = {**(plan.options if plan else {}), **tuning.options}
    begin = *_begin(plan, by_stage), *_given(model, tuning.begin, tuple(by_stage))
    return Space(tuple(by_stage), options, tuning.bundle, begin)


def _free(model: LoadedModel, *, first: bool) -> list[Layer]:
    """Return the layers that a trace may prune: used, not depthwise, and not the first unless it is asked for."""
    used = list(
        survey(model.module, model.preprocessing.size, model.device, channels=model.preprocessing.channels).uses
    )
    wanted = used if first else used[1:]
    return [layer for layer in model.layers if layer.parameter in wanted and not layer.depthwise]


def _given(model: LoadedModel, tables: Sequence[Mapping[str, float]], stages: tuple[str, ...]) -> list[Table]:
    """Return the tables that people name.

    Raises:
        ConfigError: a stage is not one of ``stages``.
    """
    for stage in dict.fromkeys(stage for table in tables for stage in table):
        if stage not in stages:
            raise ConfigError(f"{model.name} has no stage {stage!r} to tune: take one of {', '.join(stages)}.")
    return [tuple(table.get(stage, 0.0) for stage in stages) for table in tables]


def _begin(plan: Plan | None, by_stage: Mapping[str, list[Layer]]) -> tuple[Table, ...]:
    """Return a preset's table, if all layers of each stage have one ratio there."""
    if plan is None:
        return ()
    ratios = [{plan.ratios.get(layer.name, 0.0) for layer in layers} for layers in by_stage.values()]
    return (tuple(one.pop() for one in ratios),) if all(len(one) == 1 for one in ratios) else ()
