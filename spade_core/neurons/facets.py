"""Multifaceted neurons: one dense picture, one SPADE picture for every sample, and how far apart they are.

A neuron that answers to several things has one dense visualization, whatever the sample; its SPADE visualizations
should differ with the sample by more than two dense ones differ with the seed (SPADE, section 4; Nguyen et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from spade_core.models.embedding import cosine_distances, embed
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.rendering import RenderConfig, Rendering, Show, render
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, rising, silent, span
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace

SEEDS = 3


@dataclass(frozen=True, eq=False)
class Facets:
    """The row of a multifaceted neuron.

    Attributes:
        dense: one rendering for each of several seeds, of the initial noise and of the transforms; the first shares
            its seed, every retry and an early stop with the SPADE ones.
        spade: one rendering a picture; traces: theirs.
        between: cosine distances of all pairs of SPADE renderings; within: of all pairs of dense ones.
    """

    neuron: Neuron
    dense: list[Rendering]
    spade: list[Rendering]
    traces: list[Trace]
    between: np.ndarray
    within: np.ndarray


def facets(
    model: LoadedModel,
    pictures: Sequence[Picture],
    neuron: Neuron,
    config: RenderConfig | None = None,
    *,
    trace_options: Mapping[str, Any] | None = None,
    judge: LoadedModel | None = None,
    seeds: int = SEEDS,
    make_trace: Callable[..., Trace] = trace,
    progress: Progress = silent,
    on_image: Show = lambda *_: None,
) -> Facets:
    """Draw one neuron for several pictures.

    Args:
        pictures: at least two, each of something that the neuron answers to.
        neuron: what is drawn; a class neuron is also the target of every trace.
        trace_options: of ``spade_core.trace``.
        judge: the model whose embedding compares the drawings; None: ``model`` itself.
        seeds: how many dense drawings; at least 2 for a comparison.
        make_trace: called like ``spade_core.trace``; another one may keep traces.
        progress, on_image: see ``render``; images are named ``dense`` (the first seed's), ``spade_0``, ``spade_1`` ...
    """
    config = config or RenderConfig()
    target = neuron.channel if neuron.layer == LOGITS else None
    count, progress = len(pictures), rising(progress)
    parts = 1.15 * count + seeds  # a trace counts as 0.15 drawings

    @cache  # a retry draws on the same traces
    def pruned(index: int) -> Trace:
        part = span(progress, 0.15 * index / parts, 0.15 * (index + 1) / parts)
        return make_trace(model, pictures[index], target=target, **(trace_options or {}), progress=part)

    networks = {"dense": model.module} | {f"spade_{i}": lambda i=i: pruned(i).module for i in range(count)}
    drawn = span(progress, 0.0, 1 - (seeds - 1) / parts)
    late = 0.15 * count / (parts - seeds + 1)
    found = render(model, networks, [neuron], config, late=late, progress=drawn, on_image=on_image)
    dense = found["dense"]
    for number in range(1, seeds):
        part = span(progress, 1 - (seeds - number) / parts, 1 - (seeds - number - 1) / parts)
        other = replace(config, seed=config.seed + number)
        dense += render(model, {"dense": model.module}, [neuron], other, progress=part)["dense"]
    spade = [found[f"spade_{index}"][0] for index in range(count)]
    embedded = [embed(judge or model, [item.image for item in items]) for items in (spade, dense)]
    between, within = map(cosine_distances, embedded)
    return Facets(neuron, dense, spade, [pruned(index) for index in range(count)], between, within)
