"""A network as everything here takes it, and its prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from spade_core.isolation import full_precision
from spade_core.models.layers import Layer
from spade_core.models.preprocessing import Preprocessing
from spade_core.pictures.picture import Picture

if TYPE_CHECKING:
    from spade_core.pruning.trace import Trace


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready for use; read-only and shared.

    Attributes:
        module: canonical, eval mode, no gradients.
        preprocessing: from picture to input; labels: of the classes, in the order of the logits.
        device: where the module lives; sha256: of its weights (names, dtypes, shapes, bytes).
        family: of architectures that share stages and feature layouts; spec: JSON-able, for :func:`load_spec`.
        layers: prunable weights; notes: sentences about what could not be made canonical.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    device: torch.device
    sha256: str
    family: str
    spec: Mapping[str, Any]
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = field(default=())


@full_precision()
def predict(model: LoadedModel | Trace, picture: Picture) -> np.ndarray:
    """Return softmax probabilities of ``picture``, float32 ``(classes,)``; of a trace: by its pruned network."""
    dense: LoadedModel = getattr(model, "model", model)  # type: ignore[arg-type]
    x = dense.preprocessing(picture, device=dense.device, dtype=next(dense.module.parameters()).dtype)
    with torch.no_grad():
        return model.module(x)[0].double().softmax(0).float().cpu().numpy()
