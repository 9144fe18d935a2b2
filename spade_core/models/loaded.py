"""A network as everything here takes it, and its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from spade_core.isolation import full_precision
from spade_core.models.layers import Layer
from spade_core.models.preprocessing import Preprocessing
from spade_core.pictures.picture import Picture


class Spec(TypedDict, total=False):
    """How a model is loaded again, JSON-able: arguments of ``load_model``; ``memory``: it only lived there."""

    name: str
    memory: bool
    weights: str
    arch: str
    classes: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    size: int | None


class ModelRecord(TypedDict):
    """What records say of a model, JSON-able: see :class:`LoadedModel`."""

    name: str
    sha256: str
    spec: Spec


class Network:
    """What is predicted with and explained: a dense model, or a trace of one.

    Attributes:
        module: what computes, in eval mode, without gradients.
        model: of a trace, the dense model that it was made from.
    """

    module: nn.Module
    model: LoadedModel

    @property
    def dense(self) -> LoadedModel:
        """The dense model: itself, or the one that the trace was made from."""
        return self.model

    def input(self, picture: Picture) -> Tensor:
        """Return what the module reads of ``picture``: normalised, ``(1, 3, size, size)``, of its device and dtype."""
        return self.dense.preprocessing(picture, device=self.dense.device, dtype=self.dense.dtype)


@dataclass(frozen=True, eq=False)
class LoadedModel(Network):
    """A model ready for use; read-only and shared.

    Attributes:
        module: canonical, eval mode, no gradients.
        preprocessing: from picture to input; labels: of the classes, in the order of the logits.
        device: where the module lives; sha256: of its weights (names, dtypes, shapes, bytes).
        family: of architectures that share stages and feature layouts; spec: for :func:`load_spec`.
        layers: prunable weights; notes: sentences about what could not be made canonical.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    device: torch.device
    sha256: str
    family: str
    spec: Spec
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

    @property
    def dense(self) -> LoadedModel:
        """The model itself."""
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and of the input."""
        return next(self.module.parameters()).dtype

    def to_dict(self) -> ModelRecord:
        """Return what records say of it."""
        return {"name": self.name, "sha256": self.sha256, "spec": self.spec}

    def grey(self, side: int | None = None) -> Tensor:
        """Return the mean-grey input, zero in normalised space, ``(1, 3, side, side)``; None: of the model's size."""
        side = side or self.preprocessing.size
        return torch.zeros(1, 3, side, side, device=self.device, dtype=self.dtype)


@full_precision()
def predict(model: Network, picture: Picture) -> np.ndarray:
    """Return softmax probabilities of ``picture``, float32 ``(classes,)``; of a trace: by its pruned network."""
    with torch.no_grad():
        return model.module(model.input(picture))[0].double().softmax(0).float().cpu().numpy()
