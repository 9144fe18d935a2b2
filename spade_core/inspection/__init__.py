"""What a trace holds: surviving weights, the paths through them, and how layers feed each other.

Here are the findings, which are shown without torch; what finds them is in the modules.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Edge", "End", "Paths", "Point"]


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


@dataclass(frozen=True)
class Point:
    """One trace of a fidelity curve."""

    ratio: float
    sparsity: float
    probability: float
    keeps_class: bool
    kl: float
