"""Interventions: what happens to the prediction where a part of the network is taken out.

An ablation sets weights of the trace to 0 (as the circuits literature does with activations, here with what a trace is
made of). Necessity and sufficiency ask the same of the trace's whole mask, on the *dense* weights: if what the trace
keeps is what the prediction needs, taking out kept weights must cost more than taking out as many drawn at random, and
taking out removed ones less (cf. Wang et al. 2023, section 4, faithfulness and completeness of a circuit).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spade_core.errors import ConfigError, LayerError
from spade_core.inspection import Cut, Knockout
from spade_core.models.layers import Layer, share_copy
from spade_core.models.loaded import LoadedModel, Network, predict
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent
from spade_core.pruning.trace import Trace

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # a network breaks early: most steps lie there
DRAWS = 3


@dataclass(frozen=True, eq=False)
class Intervened(Network):
    """A network of which weights were taken out; it owns these layers and shares everything else."""

    module: nn.Module
    model: LoadedModel


def ablated(network: Network, cuts: Sequence[Cut]) -> Intervened:
    """Return the network without what is cut; the network itself is not changed.

    Args:
        network: a trace, or a dense model.

    Raises:
        LayerError: it has no such layer, or the layer no such channel.
    """
    known = {layer.name: layer for layer in network.dense.layers}
    for cut in cuts:
        if cut.layer not in known:
            raise LayerError(f"{network.dense.name} has no prunable layer {cut.layer!r}: choose one of its layers.")
        if cut.channel is not None and not 0 <= cut.channel < known[cut.layer].shape[0]:
            raise LayerError(
                f"{cut.layer} has no channel {cut.channel}: choose one from 0 to {known[cut.layer].shape[0] - 1}."
            )
    module = share_copy(network.module, own={known[cut.layer].parameter for cut in cuts})
    with torch.no_grad():
        for cut in cuts:
            rows = slice(None) if cut.channel is None else cut.channel
            module.get_parameter(known[cut.layer].parameter)[rows] = 0
    return Intervened(module, network.dense)


def knockouts(
    found: Trace,
    picture: Picture,
    *,
    shares: Sequence[float] = SHARES,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[Knockout]:
    """Yield the steps of the curves of necessity and sufficiency, see :class:`Knockout`.

    Which weights go first is drawn by ``seed``, layer by layer; each step takes out what the one before did, and more.

    Args:
        found: the trace; picture: the one it was made for.
        shares: 0 to 1, rising; draws: of random masks, at least one.

    Raises:
        ConfigError: nothing was pruned, or a number cannot be used.
    """
    if draws < 1 or not shares or min(shares) < 0 or max(shares) > 1:
        raise ConfigError("Shares must lie between 0 and 1, and at least one random mask must be drawn.")
    pruned = {row.name for row in found.report.layers if row.status == "pruned"}
    layers = [layer for layer in found.model.layers if layer.name in pruned]
    if not layers:
        raise ConfigError("No layer of this trace was pruned: there is nothing to take out.")
    masks = {layer: found.module.get_parameter(layer.parameter) != 0 for layer in layers}
    ranks = [_ranks(layers, found.model, seed + draw) for draw in range(draws + 1)]
    for step, share in enumerate(shares):
        progress(step, len(shares), "taking out weights")
        sides = []
        for side in (masks, {layer: ~mask for layer, mask in masks.items()}):
            counts = {layer: round(share * int(mask.sum())) for layer, mask in side.items()}
            own = _probability(found, picture, {one: _first(ranks[0][one], counts[one], side[one]) for one in layers})
            drawn = [
                _probability(found, picture, {one: _first(rank[one], counts[one]) for one in layers})
                for rank in ranks[1:]
            ]
            sides.append((own, (float(np.mean(drawn)), min(drawn), max(drawn))))
        (kept, random_kept), (removed, random_removed) = sides
        yield Knockout(share, kept, removed, random_kept, random_removed)


def _ranks(layers: Sequence[Layer], model: LoadedModel, seed: int) -> dict[Layer, Tensor]:
    """Return a random order of each layer's weights: the rank of each, of the weight's shape."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for layer in layers:
        weight = model.module.get_parameter(layer.parameter)
        found[layer] = torch.randperm(weight.numel(), generator=generator).view(weight.shape).to(weight.device)
    return found


def _first(rank: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """Return which weights are the ``count`` first of the order, bool; only ``among`` these."""
    order = rank if among is None else torch.where(among, rank, rank.numel())
    chosen = torch.zeros(rank.numel(), dtype=torch.bool, device=rank.device)
    chosen[order.flatten().argsort()[:count]] = True
    return chosen.view(rank.shape)


def _probability(found: Trace, picture: Picture, gone: Mapping[Layer, Tensor]) -> float:
    """Return the class's probability in the dense model where weights are gone."""
    module = share_copy(found.model.module, own={layer.parameter for layer in gone})
    with torch.no_grad():
        for layer, mask in gone.items():
            module.get_parameter(layer.parameter)[mask] = 0
    return float(predict(Intervened(module, found.model), picture)[found.fidelity.target])
