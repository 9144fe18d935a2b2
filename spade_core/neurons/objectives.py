"""What a visualization maximises, as an objective of Lucent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from lucent.optvis import objectives as lucent_objectives
from lucent.optvis.objectives import Objective
from torch import Tensor

from spade_core.neurons import Neuron

Layers = Mapping[str, Tensor]
Aims = Callable[[Layers], tuple[Tensor, Tensor]]
"""Gives each image's value without the optional terms, ``(n,)``, detached, and the loss of all, a scalar."""


def _objective(neuron: Neuron, number: int, like: Tensor) -> Objective:
    """Return Lucent's objective of one image of a batch; ``like``: of the layer's device and dtype."""
    if neuron.direction is not None:
        vector = torch.tensor(neuron.direction, device=like.device, dtype=like.dtype)
        return lucent_objectives.direction(neuron.layer, vector, batch=number)
    if neuron.position is None:
        return lucent_objectives.channel(neuron.layer, neuron.channel, batch=number)
    row, column = neuron.position
    return lucent_objectives.neuron(neuron.layer, neuron.channel, x=column, y=row, batch=number)


def build_aims(
    neurons: Sequence[Neuron], layers: Layers, *, diversity: float = 0, matching: float = 0, match: Tensor | None = None
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
    own = [_objective(neuron, number, layers[first]) for number, neuron in enumerate(neurons)]
    extra = []
    if diversity:
        extra.append(-diversity * lucent_objectives.diversity(first))
    if matching and match is not None:
        extra.append(matching * lucent_objectives.direction(first, match))

    def aims(layers: Layers) -> tuple[Tensor, Tensor]:
        losses = torch.stack([objective(layers.__getitem__) for objective in own])  # Lucent minimises: better is lower
        loss = losses.sum() + Objective.sum(extra)(layers.__getitem__) if extra else losses.sum()
        return -losses.detach(), loss

    return aims
