"""The strongest surviving paths of a trace, from the class neuron down, along the layers that truly feed each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spade_core.images import Picture
from spade_core.tracing import Trace
from spade_core.wiring import PICTURE, Node, wire

__all__ = ["Edge", "End", "Paths", "paths"]


@dataclass(frozen=True)
class Edge:
    """What one channel of ``source`` gives to the class through one channel of ``sink``, which reads it directly.

    Attributes:
        source, sink: names of layers, as in the report; a weight used several times has the number of the call.
        strength: of the source channel its value (after its batch normalization, where one follows) x the gradient of
            the class logit along this connection alone, summed over the places: its share of the linearized logit. The
            strengths of all connections of a channel add up to its own value x gradient; constants (biases, the shift
            of a normalization of several layers together) belong to no connection.
    """

    source: str
    source_channel: int
    sink: str
    sink_channel: int
    strength: float


@dataclass(frozen=True)
class End:
    """A channel whose inputs are not followed further, and why: the end of a sentence."""

    layer: str
    channel: int
    reason: str


@dataclass(frozen=True)
class Paths:
    """The strongest surviving paths.

    Attributes:
        edges: level by level, from the class neuron down.
        starts: ``(layer, channel)`` of the class neuron: where the network's output is read.
        layers: all layers of starts and edges, in the reverse order of computation.
        ends: where a path ended before the last level.
    """

    edges: tuple[Edge, ...]
    starts: tuple[tuple[str, int], ...]
    layers: tuple[str, ...]
    ends: tuple[End, ...]


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
    x = found.model.preprocessing(picture, device=found.model.device, dtype=next(iter(weights.values())).dtype)
    nodes = wire(found.module, weights, x)
    logit = torch.zeros_like(nodes[-1].value)
    logit[0, target] = 1
    gradients = _gradients(nodes, logit)
    starts = _starts(nodes[-1], logit)[:width]
    edges: list[Edge] = []
    ends: list[End] = []
    frontier, done = list(starts), set()
    for _ in range(depth):
        gains: dict[tuple[Node, int], float] = {}
        for sink, channel in frontier:
            done.add((sink, channel))
            shares = _shares(sink, _only(gradients[sink], sink.axis, channel))
            strongest = _ranked(shares)[:fan]
            if not strongest:
                ends.append(End(sink.layer, channel, _why(sink)))
            for (source, place), strength in strongest:
                edges.append(Edge(source.layer, place, sink.layer, channel, strength))
                gains[source, place] = gains.get((source, place), 0.0) + abs(strength)
        frontier = sorted(gains.keys() - done, key=lambda place: -gains[place])[:width]
    begun = tuple((node.layer, channel) for node, channel in starts)
    used = {layer for layer, _ in begun} | {name for edge in edges for name in (edge.source, edge.sink)}
    layers = dict.fromkeys(node.layer for node in reversed(nodes) if node.layer in used)
    return Paths(tuple(edges), begun, tuple(layers), tuple(ends))


def _gradients(nodes: Sequence[Node], logit: Tensor) -> dict[Node, Tensor]:
    """Return the whole gradient of the logit to every node's leaf, along all connections together."""
    found = {node: torch.zeros_like(node.leaf) for node in nodes[:-1]} | {nodes[-1]: logit}
    for node in reversed(nodes):
        for source, part in node.pull(found[node]).items():
            found[source] = found[source] + part
    return found


def _starts(output: Node, logit: Tensor) -> list[tuple[Node, int]]:
    """Return the channels that the logit is read from: of an ordinary classifier its neuron of the class alone."""
    reads = {node: node.per_channel(part.abs()) for node, part in output.pull(logit).items() if node.layer != PICTURE}
    return [place for place, _ in _ranked(reads)]


def _only(gradient: Tensor, axis: int, channel: int) -> Tensor:
    """Return ``gradient`` with all channels but one set to 0."""
    one = torch.zeros_like(gradient)
    one.select(axis, channel).copy_(gradient.select(axis, channel))
    return one


def _shares(sink: Node, cotangent: Tensor) -> dict[Node, Tensor]:
    """Return what each channel of each layer that ``sink`` reads gives to ``(value * cotangent).sum()``."""
    found: dict[Node, Tensor] = {}
    for source, gradient in sink.pull(cotangent).items():
        if source.layer != PICTURE:
            layer = source.base or source
            share = source.per_channel(source.leaf.detach() * gradient)
            found[layer] = found[layer] + share if layer in found else share
    return found


def _ranked(shares: Mapping[Node, Tensor]) -> list[tuple[tuple[Node, int], float]]:
    """Return the channels that give anything, the strongest first."""
    if not shares:
        return []
    places = [(node, channel) for node, share in shares.items() for channel in range(len(share))]
    strengths = torch.cat(list(shares.values()))
    order = strengths.abs().argsort(descending=True, stable=True)[: int((strengths != 0).sum())]
    return [(places[index], float(strengths[index])) for index in order.tolist()]


def _why(sink: Node) -> str:
    if any(source.layer == PICTURE for source in sink.sources):
        return "reads the picture itself"
    if not sink.sources:
        return "reads nothing that a gradient leads to"
    return "has no surviving input that speaks for or against the class"
