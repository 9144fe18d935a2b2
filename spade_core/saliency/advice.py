"""Which layers are worth reading: where class activation maps and drawings of neurons tell most, and why.

Advice rests on what a forward and a backward pass show, whatever the architecture: which outputs hold a spatial map,
and which of them the classes still depend on. The last one is what Grad-CAM reads (Selvaraju et al. 2017, section 3);
the ends of the stages before it have finer places and simpler features (Olah et al. 2017).
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spade_core.isolation import full_precision
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.models.reference import draw_pictures
from spade_core.pruning.sparsity import stage_of
from spade_core.saliency.cam import Spatial, spatial_outputs

MOST = 5  # layers that are recommended
_NUMBERED = re.compile(r"\.\d+|\.\w+_\d+|(?:layer|stage|block)\d")  # a stage, no embedding or normalization of its own


@dataclass(frozen=True)
class LayerAdvice:
    """A layer that is worth reading; JSON-able.

    Attributes:
        name: of the module, as the options ``layer`` of CAM methods and of drawings take it.
        channels, rows, columns: of its map.
        layout: how its output holds the map, see ``models.layouts``; prefix: tokens before the patches, left out.
        reason: one sentence.
    """

    name: str
    channels: int
    rows: int
    columns: int
    layout: str
    prefix: int
    reason: str

    def __str__(self) -> str:
        return f"{self.name} · {self.channels} x {self.rows} x {self.columns}: {self.reason}"


_KNOWN: weakref.WeakKeyDictionary[LoadedModel, tuple[LayerAdvice, ...]] = weakref.WeakKeyDictionary()


def advise_layers(model: LoadedModel) -> tuple[LayerAdvice, ...]:
    """Rank the layers of ``model`` that are worth reading for class activation maps and drawings, best first.

    The first is the last spatial map that the classes depend on; then come, from late to early, the ends of the
    stages, those of other resolutions before those of the same. Empty where the network has no spatial map. A model is
    asked once: it takes a forward and a backward pass.
    """
    if model not in _KNOWN:
        _KNOWN[model] = _ranked(model)
    return _KNOWN[model]


@full_precision()
def _ranked(model: LoadedModel) -> tuple[LayerAdvice, ...]:
    twin = share_copy(model.module)
    reads = model.preprocessing
    x = draw_pictures(reads.size, reads.channels)[:1].to(model.device, model.dtype).requires_grad_()
    logits, seen = spatial_outputs(twin, x)
    heard = _heard(logits.logsumexp(1).sum(), [one for one in seen if one.offered])
    if not heard:
        return ()
    last, ends = heard[-1], _ends(heard, model.family)
    grids = {_grid(one): one for one in heard} | {_grid(one): one for one in ends}
    other = [one for one in grids.values() if _grid(one) != _grid(last)]
    other.sort(key=heard.index, reverse=True)
    rest = [one for one in reversed(ends) if one not in (last, *other) and _NUMBERED.search(one.name)]
    count = min(len(rest), max(0, MOST - 1 - len(other)))
    spread = [rest[(place + 1) * len(rest) // count - 1] for place in range(count)]
    return tuple(_advice(one, last, other) for one in [last, *other, *spread][:MOST])


def _grid(one: Spatial) -> tuple[int, int]:
    return one.layout.rows, one.layout.columns


def _ends(heard: Sequence[Spatial], family: str) -> list[Spatial]:
    """Return the last output of each stage, in the order of computation, each tensor once."""
    once = {id(one.output): one for one in heard}
    ends = {stage_of(one.name, family): one for one in once.values()}
    return sorted(ends.values(), key=heard.index)


def _heard(total: torch.Tensor, offered: list[Spatial]) -> list[Spatial]:
    """Return the outputs on whose places the classes depend, in the order of computation."""
    if not offered:
        return []
    gradients = torch.autograd.grad(total, [one.output for one in offered], allow_unused=True)
    pairs = zip(offered, gradients, strict=True)
    return [one for one, slope in pairs if slope is not None and bool(one.layout.patches(slope).any())]


def _advice(one: Spatial, last: Spatial, other: Sequence[Spatial]) -> LayerAdvice:
    layout, (rows, columns) = one.layout, _grid(one)
    channels = layout.to_maps(one.output).shape[1]
    what = f"{rows} x {columns} {'patches' if layout.kind == 'tokens' else 'places'}"
    what += {0: "", 1: ", without the class token"}.get(layout.prefix, f", without the {layout.prefix} tokens before")
    if one is last:
        reason = f"The last {what}, on which the classes depend: Grad-CAM reads it by default."
    elif one in other:
        reason = f"The last {what}: finer places, and features that say less of the class."
    else:
        reason = f"An earlier stage's end, {what}: simpler features."
    return LayerAdvice(one.name, channels, rows, columns, layout.kind, layout.prefix, reason)
