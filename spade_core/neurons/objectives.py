"""What a visualization maximises, as plain data, and as an objective of Lucent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lucent.optvis import objectives as lucent_objectives
from lucent.optvis.objectives import Objective
from torch import Tensor

from spade_core.errors import ConfigError, LayerError
from spade_core.neurons.layer_values import LOGITS


@dataclass(frozen=True)
class Neuron:
    """What is visualized; JSON-able.

    Attributes:
        layer: name of a module, or ``logits``.
        channel: index of the channel or class; None for a direction.
        position: ``(row, column)`` of a single neuron; None: the whole channel.
        direction: weights over the channels, for a direction.
    """

    layer: str = LOGITS
    channel: int | None = None
    position: tuple[int, int] | None = None
    direction: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.channel is None) == (self.direction is None):
            raise ConfigError("Choose either a channel or a direction of the layer.")
        if self.direction is not None and self.position is not None:
            raise ConfigError("A direction is visualized over all places: leave the position out.")

    def check(self, shape: tuple[int, int, int]) -> None:
        """Check against the layer's ``(channels, rows, columns)``.

        Raises:
            LayerError: there is no such channel or place.
        """
        channels, rows, columns = shape
        if self.channel is not None and not 0 <= self.channel < channels:
            raise LayerError(f"The layer {self.layer} has the channels 0 to {channels - 1}, not {self.channel}.")
        if self.direction is not None and len(self.direction) != channels:
            raise LayerError(f"A direction of {self.layer} takes {channels} weights, not {len(self.direction)}.")
        if self.position is not None and not (0 <= self.position[0] < rows and 0 <= self.position[1] < columns):
            raise LayerError(f"The layer {self.layer} has {rows} x {columns} places, and not {self.position}.")

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Neuron:
        """Rebuild what :meth:`to_dict` gave."""
        lists = {key: tuple(values[key]) for key in ("position", "direction") if values.get(key) is not None}
        return cls(**{**values, **lists})

    def __str__(self) -> str:
        what = "direction" if self.channel is None else f"channel {self.channel}"
        place = "" if self.position is None else f" at {self.position}"
        return f"{self.layer}, {what}{place}"


def _objective(neuron: Neuron, number: int, like: Tensor) -> Objective:
    """Return Lucent's objective of one image of a batch; ``like``: of the layer's device and dtype."""
    if neuron.direction is not None:
        vector = torch.tensor(neuron.direction, device=like.device, dtype=like.dtype)
        return lucent_objectives.direction(neuron.layer, vector, batch=number)
    if neuron.position is None:
        return lucent_objectives.channel(neuron.layer, neuron.channel, batch=number)
    row, column = neuron.position
    return lucent_objectives.neuron(neuron.layer, neuron.channel, x=column, y=row, batch=number)


@dataclass(frozen=True)
class Aims:
    """What a batch of images is drawn for.

    Attributes:
        own: one objective an image; terms: the optional ones, or None. Lucent minimises, so better is lower.
    """

    own: tuple[Objective, ...]
    terms: Objective | None = None

    def __call__(self, layers: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return each image's value without the optional terms, ``(n,)``, detached, and the loss of all, a scalar."""
        losses = torch.stack([objective(layers.__getitem__) for objective in self.own])
        loss = losses.sum() if self.terms is None else losses.sum() + self.terms(layers.__getitem__)
        return -losses.detach(), loss


def build_aims(
    neurons: tuple[Neuron, ...],
    layers: Mapping[str, Tensor],
    *,
    diversity: float = 0.0,
    matching: float = 0.0,
    match: Tensor | None = None,
) -> Aims:
    """Return the aims of a batch, one image for each neuron.

    Args:
        neurons: one for each image.
        layers: name -> maps ``(n, channels, rows, columns)`` of a pass, to check the neurons against.
        diversity: weight of Lucent's diversity term in the first neuron's layer, for several images of one neuron
            (Olah et al. 2017).
        matching: weight of the cosine between the layer's mean activation and ``match`` ``(channels,)``, that of a
            picture.

    Raises:
        LayerError: there is no such channel or place.
    """
    for neuron in neurons:
        _, channels, rows, columns = layers[neuron.layer].shape
        neuron.check((channels, rows, columns))
    first = neurons[0].layer
    own = tuple(_objective(neuron, number, layers[first]) for number, neuron in enumerate(neurons))
    extra = []
    if diversity:
        extra.append(-diversity * lucent_objectives.diversity(first))
    if matching and match is not None:
        extra.append(matching * lucent_objectives.direction(first, match))
    return Aims(own, Objective.sum(extra) if extra else None)
