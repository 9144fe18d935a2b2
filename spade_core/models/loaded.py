"""A network as everything here takes it, and its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypedDict

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from spade_core.errors import ModelError, PictureError, expect
from spade_core.isolation import full_precision
from spade_core.models.layers import Layer
from spade_core.models.output import log_probabilities
from spade_core.models.preprocessing import Preprocessing
from spade_core.pictures.picture import Picture
from spade_core.pictures.size import Size, sides_of


class Spec(TypedDict, total=False):
    """How a model is loaded again, JSON-able: arguments of ``load_model``; ``memory``: it only lived there."""

    name: str
    memory: bool
    weights: str
    arch: str | None
    classes: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    size: int | Sequence[int] | None
    output: str


class ModelRecord(TypedDict):
    """What records say of a model, JSON-able: see :class:`LoadedModel`."""

    name: str
    sha256: str
    spec: Spec


Pixels = Annotated[int, Field(ge=1, le=2**16)]
"""A side of a picture in a record."""


class RecordedSpec(BaseModel):
    """A :class:`Spec` as a file says it, which nobody vouches for."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str | None = None
    memory: bool | None = None
    weights: str | None = None
    arch: str | None = None
    classes: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: Pixels | tuple[Pixels, Pixels] | None = None
    output: str | None = None


class RecordedModel(BaseModel):
    """A :class:`ModelRecord` as a file says it."""

    model_config = ConfigDict(strict=True, extra="allow")
    name: str
    sha256: str
    spec: RecordedSpec


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
        """Return the module's input of ``picture``: normalised, ``(1, channels, height, width)``, of its kind."""
        expect(picture, Picture, "A picture is what load_picture gives", PictureError)
        return self.dense.preprocessing(picture, device=self.dense.device, dtype=self.dense.dtype)


@dataclass(frozen=True, eq=False)
class LoadedModel(Network):
    """A model ready for use; read-only and shared.

    Attributes:
        module: canonical, eval mode, no gradients.
        preprocessing: from picture to input; labels: of the classes, in the order of the logits.
        device: where the module lives; sha256: of its weights (names, dtypes, shapes, bytes).
        family: of architectures that share stages and feature layouts; spec: for :func:`load_spec`.
        layers: prunable weights; notes: sentences about what was left behind, converted or not made canonical.
        output: what the logits mean, a key of ``OUTPUTS``.
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
    output: str = "logits"

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

    def grey(self, size: Size | None = None) -> Tensor:
        """Return the mean-grey input, zero in normalised space, ``(1, channels, height, width)``; None: of its size."""
        height, width = self.preprocessing.sides if size is None else sides_of(size)
        return torch.zeros(1, self.preprocessing.channels, height, width, device=self.device, dtype=self.dtype)


@full_precision()
def predict(model: Network, picture: Picture) -> np.ndarray:
    """Return the probabilities of ``picture``, float32 ``(classes,)``; of a trace: by its pruned network.

    They are the softmax of the logits; where labels do not exclude each other, the sigmoid of each.

    Raises:
        ModelError: the outputs are not finite.
    """
    expect(model, Network, "A model is what load_model, wrap_model or trace gives", ModelError)
    with torch.no_grad():
        logits = finite(model.module(model.input(picture)), model.dense.name)
        return log_probabilities(logits.double(), model.dense.output)[0].exp().float().cpu().numpy()


def finite(logits: Tensor, name: str) -> Tensor:
    """Return ``logits``.

    Raises:
        ModelError: some are not finite.
    """
    if not bool(logits.isfinite().all()):
        raise ModelError(
            f"{name} gives outputs that are not finite (NaN or infinite numbers) for this picture: take another "
            "picture, or check its weights."
        )
    return logits
