"""What a dense map is multiplied with by arms that know the target's relevance and prune nothing.

A weighted trace is steered by the relevance of all layers (``pruning.relevance``). Whoever claims that it is the
pruning that helps must beat a map that has the same relevance without it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spade_core.models.layouts import grid_of
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.pruning.relevance import relevance
from spade_core.pruning.views import Views

KEPT = 0.1  # of the pixels, by ``most_relevant``


def relevant(model: LoadedModel, picture: Picture, target: int) -> np.ndarray:
    """Return the relevance of the picture's places for ``target``, float32 ``(height, width)``, of mean about 1.

    It is the mean over all calls whose output is a map of more than one place, each enlarged to the input.
    """
    x = model.input(picture)
    weights = {layer.parameter: model.module.get_parameter(layer.parameter) for layer in model.layers}
    (found,) = relevance(model.module, Views.of_one(x), weights, [target], output=model.output)
    sides = model.preprocessing.sides
    pairs = [(call, grid_of(call.numel(), sides)) for calls in found.values() for call in calls]
    maps = [_enlarged(call.view(1, 1, *grid), sides) for call, grid in pairs if grid is not None]
    return torch.stack(maps).mean(0).cpu().numpy() if maps else np.ones(sides, np.float32)


def most_relevant(model: LoadedModel, picture: Picture, target: int) -> np.ndarray:
    """Return 1 at the most relevant tenth of the pixels, else 0."""
    values = relevant(model, picture, target)
    return (values >= np.quantile(values, 1 - KEPT)).astype(np.float32)


def _enlarged(call: Tensor, sides: tuple[int, int]) -> Tensor:
    return F.interpolate(call.float(), sides, mode="bilinear", align_corners=False)[0, 0]
