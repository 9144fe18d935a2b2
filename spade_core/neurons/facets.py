"""Multifaceted neurons: one dense picture, one SPADE picture for every sample, and how far apart they are.

A neuron that answers to several things has one dense visualization, whatever the sample; its SPADE visualizations
should differ with the sample by more than two dense ones differ with the seed (SPADE, section 4; Nguyen et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spade_core.images import Picture
from spade_core.models import LoadedModel
from spade_core.neurons.embedding import cosine_distances, embed
from spade_core.neurons.objectives import Neuron
from spade_core.neurons.rendering import RenderConfig, Rendering, Show, render
from spade_core.progress import Progress, silent, span
from spade_core.spade import trace
from spade_core.tracing import Trace

__all__ = ["Facets", "facets", "separation"]

SEEDS = 3


@dataclass(frozen=True, eq=False)
class Facets:
    """The row of a multifaceted neuron.

    Attributes:
        dense: one rendering for each of several initial noises; the first has that of the SPADE ones.
        spade: one rendering a picture; traces: theirs.
        between: cosine distances of all pairs of SPADE renderings; within: of all pairs of dense ones.
    """

    neuron: Neuron
    dense: list[Rendering]
    spade: list[Rendering]
    traces: list[Trace]
    between: np.ndarray
    within: np.ndarray


def separation(
    judge: LoadedModel, spade: Sequence[np.ndarray], dense: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairwise distances of the SPADE images, and of the dense ones of several seeds, for ``judge``."""
    return tuple(cosine_distances(embed(judge, images)) for images in (spade, dense))  # type: ignore[return-value]


def facets(
    model: LoadedModel,
    pictures: Sequence[Picture],
    neuron: Neuron,
    config: RenderConfig | None = None,
    *,
    trace_options: Mapping[str, Any] | None = None,
    judge: LoadedModel | None = None,
    seeds: int = SEEDS,
    progress: Progress = silent,
    on_trace: Callable[[int, Trace], object] = lambda *_: None,
    on_image: Show = lambda *_: None,
) -> Facets:
    """Draw one neuron for several pictures.

    Args:
        model: the dense model.
        pictures: at least two, each of something that the neuron answers to.
        neuron: what is drawn; a class neuron is also the target of every trace.
        config: how to draw.
        trace_options: of ``spade_core.trace``.
        judge: the model whose embedding compares the drawings; None: ``model`` itself.
        seeds: how many dense drawings; at least 2 for a comparison.
        progress, on_trace, on_image: see ``render``; images are named ``dense`` and ``spade_0``, ``spade_1`` ...
    """
    config = config or RenderConfig()
    parts = len(pictures) + seeds
    spade: list[Rendering] = []
    traces: list[Trace] = []
    target = neuron.channel if neuron.layer == "logits" else None
    for index, picture in enumerate(pictures):
        edges = index / parts, (index + 0.15) / parts, (index + 1) / parts
        traces.append(
            trace(model, picture, target=target, **(trace_options or {}), progress=span(progress, edges[0], edges[1]))
        )
        on_trace(index, traces[-1])
        name = f"spade_{index}"
        networks = {name: traces[-1].module}
        part = span(progress, edges[1], edges[2])
        spade += render(model, networks, [neuron], config, progress=part, on_image=on_image)[name]
    part = span(progress, len(pictures) / parts, 1.0)
    dense = render(model, {"dense": model.module}, [neuron] * seeds, config, progress=part, on_image=on_image)["dense"]
    between, within = separation(judge or model, [item.image for item in spade], [item.image for item in dense])
    return Facets(neuron, dense, spade, traces, between, within)
