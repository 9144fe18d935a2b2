"""What a dense map is multiplied with by arms that know the target's relevance and prune nothing.

A weighted trace is steered by the relevance of all layers (``pruning.relevance``). Whoever claims that it is the
pruning that helps must beat a map that has the same relevance without it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.pruning.relevance import relevance
from spade_core.pruning.views import Views

KEPT = 0.1  # of the pixels, by ``most_relevant``


def relevant(model: LoadedModel, picture: Picture, target: int) -> np.ndarray:
    """Return the relevance of the picture's places for ``target``, float32 ``(height, width)``, of mean about 1.

    It is the mean over all calls whose output is a square map of more than one place, each enlarged to the input.
    """
    x = model.input(picture)
    weights = {layer.parameter: model.module.get_parameter(layer.parameter) for layer in model.layers}
    (found,) = relevance(model.module, Views.of_one(x), weights, [target])
    maps = [_enlarged(call, x) for calls in found.values() for call in calls if _side(call) > 1]
    return torch.stack(maps).mean(0).cpu().numpy() if maps else np.ones(tuple(x.shape[-2:]), np.float32)


def most_relevant(model: LoadedModel, picture: Picture, target: int) -> np.ndarray:
    """Return 1 at the most relevant tenth of the pixels, else 0."""
    values = relevant(model, picture, target)
    return (values >= np.quantile(values, 1 - KEPT)).astype(np.float32)


def _side(call: Tensor) -> int:
    side = math.isqrt(call.numel())
    return side if side * side == call.numel() else 0


def _enlarged(call: Tensor, x: Tensor) -> Tensor:
    side = _side(call)
    return F.interpolate(call.float().view(1, 1, side, side), x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
