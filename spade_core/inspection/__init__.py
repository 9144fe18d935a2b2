"""What a trace holds: surviving weights, the paths through them, and how layers feed each other.

Here are the findings, which are shown without torch; what finds them is in the modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

__all__ = ["Cut", "Edge", "End", "Knockout", "Paths", "Place", "Point", "strongest_path", "within"]


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

    def channels(self) -> dict[str, list[int]]:
        """Return the channels of each layer, those first from which the others were reached."""
        ends = [((edge.sink, edge.sink_channel), (edge.source, edge.source_channel)) for edge in self.edges]
        found: dict[str, list[int]] = {layer: [] for layer in self.layers}
        for layer, channel in dict.fromkeys((*self.starts, *chain.from_iterable(ends))):
            found[layer].append(channel)
        return found


@dataclass(frozen=True)
class Place:
    """What of the input excites a channel most.

    Attributes:
        region: ``(top, left, bottom, right)`` px of the input.
    """

    layer: str
    channel: int
    region: tuple[int, int, int, int]


@dataclass(frozen=True)
class Point:
    """One trace of a fidelity curve."""

    ratio: float
    sparsity: float
    probability: float
    keeps_class: bool
    kl: float


@dataclass(frozen=True)
class Cut:
    """What is taken out of a network: an output channel of a prunable layer, or the whole layer (None).

    All weights that lead into it become 0, as if they were pruned; what it adds without its inputs (a bias, the shift
    of its normalization) stays.
    """

    layer: str
    channel: int | None = None


@dataclass(frozen=True)
class Knockout:
    """One step of the curves of necessity and sufficiency: the explained class's probability in the dense model.

    Attributes:
        share: of the weights that the trace keeps, or removes, which are set to 0 in the dense model.
        without_kept: where that share of the kept ones is gone; without_removed: of the removed ones.
        random_kept, random_removed: where as many weights are gone from each layer, drawn from all of it: the mean
            over the draws, the least and the most.
    """

    share: float
    without_kept: float
    without_removed: float
    random_kept: tuple[float, float, float]
    random_removed: tuple[float, float, float]


def within(found: Paths, nodes: int) -> Paths:
    """Return the paths of at most so many channels: those of the class neuron, and the strongest that lead to them.

    One after the other, the channel is taken that gives most, in magnitude, to those that are there.
    """
    kept = set(found.starts[:nodes])
    while len(kept) < nodes:
        gives: dict[tuple[str, int], float] = {}
        for edge in found.edges:
            source = edge.source, edge.source_channel
            if (edge.sink, edge.sink_channel) in kept and source not in kept:
                gives[source] = gives.get(source, 0.0) + abs(edge.strength)
        if not gives:
            break
        kept.add(max(gives, key=lambda place: gives[place]))
    edges = [e for e in found.edges if {(e.source, e.source_channel), (e.sink, e.sink_channel)} <= kept]
    layers = tuple(layer for layer in found.layers if layer in {name for name, _ in kept})
    ends = tuple(end for end in found.ends if (end.layer, end.channel) in kept)
    return Paths(tuple(edges), tuple(place for place in found.starts if place in kept), layers, ends)


def strongest_path(found: Paths) -> tuple[tuple[str, int], ...]:
    """Return the channels of one path from the class neuron down, by each one's input that most speaks for it."""
    inputs: dict[tuple[str, int], list[Edge]] = {}
    for edge in found.edges:
        inputs.setdefault((edge.sink, edge.sink_channel), []).append(edge)
    path, place = [], next(iter(found.starts), None)
    while place is not None:
        path.append(place)
        best = max(inputs.get(place, ()), key=lambda edge: edge.strength, default=None)
        place = None if best is None else (best.source, best.source_channel)
        place = None if place in path else place
    return tuple(path)
