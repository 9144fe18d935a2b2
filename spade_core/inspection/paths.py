"""The strongest surviving paths of a trace, from the class neuron down, along the layers that truly feed each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from spade_core.inspection import Edge, End, Paths
from spade_core.inspection.wiring import PICTURE, Node, wire
from spade_core.pictures.picture import Picture
from spade_core.pruning.trace import Trace


def paths(
    found: Trace, picture: Picture, *, target: int | None = None, depth: int = 5, fan: int = 3, width: int = 6
) -> Paths:
    """Return the strongest surviving connections from the class neuron down, level by level.

    At each level the ``width`` strongest channels go on, each with its ``fan`` strongest inputs, whichever layers they
    come from: of a residual sum or a concatenation all sources are followed, each with its own share. Where values are
    mixed between two layers (attention, gates, a normalization over channels), the gradient at this picture says how.

    Args:
        found: the trace; picture: the one it was made for.
        target: class index; None: the trace's target.
        depth: levels of layers.
    """
    target = found.fidelity.target if target is None else target
    weights = {layer.name: found.module.get_parameter(layer.parameter) for layer in found.model.layers}
    nodes = wire(found.module, weights, found.input(picture))
    logit = torch.zeros_like(nodes[-1].value)
    logit[0, target] = 1
    # The whole gradient of the logit to every node's leaf, along all connections together.
    gradients = {node: torch.zeros_like(node.leaf) for node in nodes[:-1]} | {nodes[-1]: logit}
    for node in reversed(nodes):
        for source, part in node.pull(gradients[node]).items():
            gradients[source] = gradients[source] + part
    starts = [place for place, _ in _ranked(_by_layer(nodes[-1], logit, lambda _, gradient: gradient.abs()), width)]
    edges: list[Edge] = []
    ends: list[End] = []
    frontier, done = starts, set()
    for _ in range(depth):
        gains: dict[tuple[Node, int], float] = {}
        for sink, channel in frontier:
            done.add((sink, channel))
            strongest = _inputs(sink, channel, gradients[sink], fan)
            if not strongest:
                ends.append(End(sink.layer, channel, _why(sink)))
            for (source, place), strength in strongest:
                edges.append(Edge(source.layer, place, sink.layer, channel, strength))
                gains[source, place] = gains.get((source, place), 0.0) + abs(strength)
        frontier = sorted((place for place in gains if place not in done), key=lambda place: -gains[place])[:width]
    begun = tuple((node.layer, channel) for node, channel in starts)
    used = {layer for layer, _ in begun} | {name for edge in edges for name in (edge.source, edge.sink)}
    layers = dict.fromkeys(node.layer for node in reversed(nodes) if node.layer in used)
    return Paths(tuple(edges), begun, tuple(layers), tuple(ends))


def _inputs(sink: Node, channel: int, gradient: Tensor, fan: int) -> list[tuple[tuple[Node, int], float]]:
    """Return the strongest connections of one channel, of which ``gradient`` is that of the whole layer."""
    only = torch.zeros_like(gradient)
    only.select(sink.axis, channel).copy_(gradient.select(sink.axis, channel))
    return _ranked(_by_layer(sink, only, lambda value, part: value * part), fan)


def _by_layer(sink: Node, cotangent: Tensor, share: Callable[[Tensor, Tensor], Tensor]) -> dict[Node, Tensor]:
    """Return the share of each channel of each layer that ``sink`` reads, ``(channels,)``.

    Args:
        cotangent: what the gradient to the layers' values is of, see ``Node.pull``.
        share: of a value and the gradient to it, of one shape.
    """
    found: dict[Node, Tensor] = {}
    for source, gradient in sink.pull(cotangent).items():
        if source.layer != PICTURE:
            layer = source.base or source
            part = share(source.leaf.detach(), gradient).movedim(source.axis, 0).flatten(1).sum(1)
            found[layer] = found[layer] + part if layer in found else part
    return found


def _ranked(shares: Mapping[Node, Tensor], most: int) -> list[tuple[tuple[Node, int], float]]:
    """Return the channels that give anything, the strongest first, ``most`` at most."""
    if not shares:
        return []
    places = [(node, channel) for node, share in shares.items() for channel in range(len(share))]
    strengths = torch.cat(list(shares.values())).cpu()
    order = strengths.abs().argsort(descending=True, stable=True)[: min(most, int((strengths != 0).sum()))]
    return [(places[index], float(strengths[index])) for index in order.tolist()]


def _why(sink: Node) -> str:
    if any(source.layer == PICTURE for source in sink.sources):
        return "reads the picture itself"
    if not sink.sources:
        return "reads nothing that a gradient leads to"
    return "reads nothing that counts here: all of it is pruned, zero or clipped"
