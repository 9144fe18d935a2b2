"""Look into a trace: which weights survived, how two traces overlap, how the prediction changes as pruning grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from spade_core.errors import LayerError
from spade_core.inspection import Point
from spade_core.models.layers import Layer
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace

CURVE_RATIOS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def alive(found: Trace, layer: str) -> np.ndarray:
    """Return which weights of a layer survived, bool ``(rows, columns)``; columns are ordered ``(in / groups, kh,
    kw)``.

    Raises:
        LayerError: the model has no such prunable layer.
    """
    weight = found.module.get_parameter(_layer(found.model, layer).parameter)
    return (weight.detach() != 0).reshape(weight.shape[0], -1).cpu().numpy()


def _layer(model: LoadedModel, name: str) -> Layer:
    for layer in model.layers:
        if layer.name == name:
            return layer
    raise LayerError(f"{model.name} has no prunable layer {name!r}: choose one of the list of layers.")


def inputs_kept(found: Trace, layer: str) -> np.ndarray:
    """Return how many input channels each output channel still reads, int64 ``(rows,)``."""
    chosen = _layer(found.model, layer)
    return alive(found, layer).reshape(chosen.shape[0], -1, chosen.kernel).any(axis=2).sum(axis=1)


def overlap(first: Trace, second: Trace) -> dict[str, float]:
    """Return the Jaccard index of the surviving weights of two traces, layer by layer, where either was pruned.

    Two independent random choices of a share ``d`` of the weights overlap by ``d / (2 - d)``.
    """
    pruned = {row.name for found in (first, second) for row in found.report.layers if row.status == "pruned"}
    result = {}
    for layer in first.model.layers:
        if layer.name in pruned:
            a, b = alive(first, layer.name), alive(second, layer.name)
            result[layer.name] = float((a & b).sum() / max(1, (a | b).sum()))
    return result


def fidelity_curve(
    model: LoadedModel,
    picture: Picture,
    *,
    ratios: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Iterator[Point]:
    """Yield how the prediction of the trace changes as one ratio for all layers grows.

    The untouched picture is left out of the views: the trace would fit it at any ratio, and the curve would say
    nothing.

    Args:
        ratios: of the preset ``uniform``; None: ``CURVE_RATIOS``.
        options: other options of ``spade_core.trace``.
    """
    chosen = {"untouched": 0, **(options or {})}
    ratios = CURVE_RATIOS if ratios is None else ratios
    for index, ratio in enumerate(ratios):
        part = span(progress, index / len(ratios), (index + 1) / len(ratios))
        made = trace(model, picture, preset="uniform", sparsity=ratio, **chosen, progress=part)
        fidelity = made.fidelity
        yield Point(ratio, made.report.sparsity, fidelity.trace_probability, fidelity.keeps_class, fidelity.kl)
