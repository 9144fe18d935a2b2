"""From a picture to a model's input: resize the short side, crop the centre, normalise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from spade_core.errors import ModelError
from spade_core.pictures.picture import Picture

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_SIZE = 1024


@dataclass(frozen=True)
class Preprocessing:
    """A model's usual evaluation transform.

    Attributes:
        size: side of the square input, px.
        resize: short side before the centre crop, px.
        mean, std: of each channel, for values in [0, 1].
        interpolation: ``bilinear`` or ``bicubic``.
        squash: resize to a square, whatever the picture's shape (some models of timm).
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize <= 2 * MAX_SIZE or self.size > MAX_SIZE:
            raise ModelError(f"The input size must lie between 1 and {MAX_SIZE} px, not {self.size}.")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise ModelError("Mean and std take three numbers each, the std ones above 0.")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ModelError(f"The interpolation must be bilinear or bicubic, not {self.interpolation!r}.")

    def resized(self, picture: Picture) -> np.ndarray:
        """Return the picture before the centre crop, uint8 ``(height, width, 3)``."""
        return np.array(self._resize(picture))

    def crop(self, picture: Picture) -> np.ndarray:
        """Return what the model sees, uint8 ``(size, size, 3)``."""
        return np.array(tvf.center_crop(self._resize(picture), [self.size]))

    def _resize(self, picture: Picture) -> Image.Image:
        sides = [self.resize] * (2 if self.squash else 1)
        return tvf.resize(Image.fromarray(picture.pixels), sides, interpolation=InterpolationMode(self.interpolation))

    def __call__(
        self, picture: Picture, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return the model's input, ``(1, 3, size, size)``, normalised, as the usual PIL pipelines make it."""
        pixels = torch.from_numpy(self.crop(picture)).permute(2, 0, 1).unsqueeze(0).to(device)
        return self.normalize(pixels.float().div(255)).to(dtype)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise ``(n, 3, height, width)`` in [0, 1]."""
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std
