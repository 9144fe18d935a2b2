"""Pictures as vectors: the input of a model's classifier, the usual embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spade_core.models.loaded import LoadedModel
from spade_core.models.weight_calls import Call, WeightCalls


def embed(model: LoadedModel, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return unit vectors, float32 ``(n, features)``: what the last linear or 1x1 layer reads, averaged over places.

    Args:
        pictures: uint8 ``(height, width, 3)`` each, of any size; resized to the model's input without cropping.
    """
    weight = model.module.get_parameter(model.layers[-1].parameter)
    found: list[Tensor] = []

    def note(_name: str, x: Tensor, _weight: Tensor, call: Call) -> None:
        found.append(x.flatten(2).mean(2) if call.kind == "conv2d" else x.flatten(1, -2).mean(1) if x.dim() > 2 else x)

    for picture in pictures:
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1).unsqueeze(0).to(model.device).float().div(255)
        x = F.interpolate(pixels, model.preprocessing.sides, mode="bilinear", align_corners=False, antialias=True)
        with torch.no_grad(), WeightCalls({"classifier": weight}, note):
            model.module(model.preprocessing.normalize(x).to(weight.dtype))
    return F.normalize(torch.cat(found).float(), dim=1).cpu().numpy()


def cosine_distances(vectors: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Return ``1 - cos`` of unit vectors: of all pairs ``(pairs,)``, or against ``others`` ``(n, m)``."""
    if others is not None:
        return 1 - vectors @ others.T
    rows, columns = np.triu_indices(len(vectors), 1)
    return 1 - (vectors @ vectors.T)[rows, columns]
