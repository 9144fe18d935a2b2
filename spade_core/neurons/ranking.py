"""Which neuron of a layer is worth a look, for the picture at hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.models.layers import share_copy
from spade_core.models.layouts import Layout
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import LOGITS, RANKINGS, Neuron, Seen
from spade_core.neurons.layer_values import as_maps, maps_of, read_layers
from spade_core.pictures.picture import Picture
from spade_core.pictures.size import Size, sides_of
from spade_core.pruning.kinds import OneOf
from spade_core.pruning.trace import Trace

REGION = 2 / 7  # side of the shown region, as a share of the input's short one


def activation(seen: Seen) -> Tensor:
    """Return of each channel its mean value, dense model."""
    return seen.dense.mean((1, 2))


def gradient(seen: Seen) -> Tensor:
    """Return of each channel its share of the linearized logit, dense model."""
    return (seen.dense * seen.gradient).sum((1, 2))


def kept(seen: Seen) -> Tensor:
    """Return of each channel its share of the linearized logit, trace."""
    return (seen.spade * seen.spade_gradient).sum((1, 2))


def change(seen: Seen) -> Tensor:
    """Return of each channel its relative change by pruning."""
    gap = (seen.spade - seen.dense).flatten(1).norm(dim=1)
    return gap / seen.dense.flatten(1).norm(dim=1).clamp(min=1e-12)


@dataclass(frozen=True)
class Score:
    """One channel of a ranking.

    Attributes:
        score: that it is ranked by.
        place: ``(row, column)`` of its largest dense value; region: what of the input belongs to it, ``(top, left,
            bottom, right)`` px.
        dense, spade: its share of the linearized logit in either network.
    """

    channel: int
    score: float
    place: tuple[int, int]
    region: tuple[int, int, int, int]
    dense: float
    spade: float


def rank_channels(
    trace: Trace, picture: Picture, layer: str, *, by: str = "activation", top: int | None = 10
) -> list[Score]:
    """Rank a layer's channels on ``picture``, highest first.

    Args:
        trace: of the picture, with its dense model; the gradient is that of the trace's target.
        layer: name of a module, or ``logits``.
        by: a slug of ``RANKINGS``.
        top: how many; None: all.

    Raises:
        LayerError: there is no such layer.
        ConfigError: there is no such ranking.
    """
    ranking = RANKINGS[OneOf("ranking", RANKINGS).check(by)]
    x = trace.input(picture)
    dense, own = _maps(trace.dense.module, x, layer, trace.fidelity.target)
    spade, its = _maps(trace.module, x, layer, trace.fidelity.target)
    seen = Seen(dense, spade, own, its)
    scores, shares, left = ranking.score(seen), gradient(seen), kept(seen)
    order = scores.argsort(descending=True)[: len(scores) if top is None else top].tolist()
    (rows, columns), size = dense.shape[1:], trace.dense.preprocessing.size
    places = {channel: divmod(int(dense[channel].argmax()), columns) for channel in order}
    regions = {channel: region_around(place, (rows, columns), size) for channel, place in places.items()}
    return [
        Score(one, float(scores[one]), places[one], regions[one], float(shares[one]), float(left[one])) for one in order
    ]


def _maps(network: nn.Module, x: Tensor, layer: str, target: int) -> tuple[Tensor, Tensor]:
    module, forms = share_copy(network), list[tuple[Layout | None, int | None]]()

    def whole(value: Tensor, layout: Layout | None, token: int | None) -> Tensor:
        forms.append((layout, token))
        return value

    # The gradient is that to the value itself: maps of tokens are made from it, and lead nowhere.
    with torch.enable_grad(), read_layers(module, [layer], form=whole) as seen:
        module(x.clone().requires_grad_())
        value, logits = seen[layer], seen[LOGITS]
        (gradient,) = torch.autograd.grad(logits[0, target].sum(), value, allow_unused=True)
    gradient = torch.zeros_like(value) if gradient is None else gradient
    return as_maps(value.detach(), *forms[0])[0], as_maps(gradient, *forms[0])[0]


def most_active_region(model: LoadedModel, picture: Picture, neuron: Neuron) -> tuple[tuple[int, int, int, int], float]:
    """Return where the picture excites a neuron most: ``(top, left, bottom, right)`` px of the input, and the value."""
    x = model.input(picture)
    return region_of(maps_of(model.module, x, neuron.layer), neuron, model.preprocessing.size)


def region_of(maps: Tensor, neuron: Neuron, size: Size) -> tuple[tuple[int, int, int, int], float]:
    """Return the region of an input of ``size`` that belongs to the neuron's place, and the value there.

    The place is the neuron's own position, or where its channel is largest, or where the cosine with its direction is.
    The region is a square of two sevenths of the short side around it; of a vector, the whole input.

    Args:
        maps: ``(channels, rows, columns)``, of the neuron's layer.
    """
    neuron.check((maps.shape[0], maps.shape[1], maps.shape[2]))
    if neuron.direction is None:
        values = maps[neuron.channel]
    else:
        vector = torch.tensor(neuron.direction, device=maps.device, dtype=maps.dtype)
        values = torch.cosine_similarity(vector[:, None, None], maps, dim=0)
    row, column = neuron.position or divmod(int(values.argmax()), values.shape[1])
    return region_around((row, column), (values.shape[0], values.shape[1]), size), float(values[row, column])


def region_around(place: tuple[int, int], grid: tuple[int, int], size: Size) -> tuple[int, int, int, int]:
    """Return the region of an input of ``size`` that belongs to a place of a map of ``grid`` rows and columns."""
    if grid == (1, 1):
        return (0, 0, *sides_of(size))
    extent = round(min(sides_of(size)) * REGION)
    axes = zip(place, grid, sides_of(size), strict=True)
    centres = [((index + 0.5) * side / count, side) for index, count, side in axes]
    top, left = (min(max(0, round(centre - extent / 2)), side - extent) for centre, side in centres)
    return (top, left, top + extent, left + extent)
