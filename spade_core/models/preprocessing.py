"""From a picture to a model's input: resize the short side, crop, normalise."""

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
from spade_core.pictures.frame import CENTRE, MIDDLE, Frame
from spade_core.pictures.picture import Picture

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)  # the means of these, as usual where networks are adapted to grey pictures
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue, as in Pillow's conversion to grey
MAX_SIZE = 1024
MOSTLY = 0.5  # share of a picture that must be seen, or else it is told: of a photograph of 3:2 it is 51 %
ENLARGED = 1.5  # times that a picture may be enlarged without a word


@dataclass(frozen=True)
class Place:
    """Where a model's input lies in a resized picture.

    Attributes:
        rows, columns: of the resized picture, px.
        top, left: of the input's corner in it, px; below 0: so many px of bars come first.
    """

    rows: int
    columns: int
    top: int
    left: int


@dataclass(frozen=True)
class Preprocessing:
    """A model's usual evaluation transform.

    Attributes:
        size: side of the square input, px.
        resize: short side before the crop, px.
        mean, std: of each channel, for values in [0, 1]; of one, the model reads the brightness of pictures.
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
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or not finite or min(self.std) <= 0:
            raise ModelError(
                "Mean and std take three numbers each (one, for a model of grey pictures), the std ones above 0."
            )
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ModelError(f"The interpolation must be bilinear or bicubic, not {self.interpolation!r}.")

    @property
    def channels(self) -> int:
        """Of the input: 3, or 1 for a model of grey pictures."""
        return len(self.mean)

    def place(self, height: int, width: int, frame: Frame = CENTRE) -> Place:
        """Return where the input lies in a picture of ``height`` x ``width`` px, resized as torchvision rounds."""
        if frame.whole:
            scale = self.size / max(height, width)
            rows, columns = (max(1, round(side * scale)) for side in (height, width))
        elif self.squash:
            rows = columns = self.resize
        else:
            long = int(self.resize * max(height, width) / min(height, width))
            rows, columns = (self.resize, long) if height <= width else (long, self.resize)
        ways = (MIDDLE, MIDDLE) if frame.whole else (frame.y, frame.x)
        top, left = (round((side - self.size) * way / 100) for side, way in zip((rows, columns), ways, strict=True))
        return Place(rows, columns, top, left)

    def _place(self, picture: Picture) -> Place:
        height, width, _ = picture.pixels.shape
        return self.place(height, width, picture.frame)

    def resized(self, picture: Picture) -> np.ndarray:
        """Return the picture before the crop, uint8 ``(height, width, 3)``."""
        place, image = self._place(picture), Image.fromarray(picture.pixels)
        image = image.convert("L").convert("RGB") if self.channels == 1 else image
        mode = InterpolationMode(self.interpolation)
        return np.array(tvf.resize(image, [place.rows, place.columns], interpolation=mode))

    def crop(self, picture: Picture) -> np.ndarray:
        """Return what the model sees, uint8 ``(size, size, 3)``; bars have its mean grey."""
        place, pixels = self._place(picture), self.resized(picture)
        if picture.frame.whole:
            seen = np.empty((self.size, self.size, 3), np.uint8)
            seen[:] = np.clip(np.round(255 * np.array(self.mean)), 0, 255).astype(np.uint8)
            seen[-place.top :, -place.left :][: place.rows, : place.columns] = pixels
            return seen
        return pixels[place.top : place.top + self.size, place.left : place.left + self.size].copy()

    def told(self, picture: Picture) -> tuple[str, ...]:
        """Return what is to be known of what the model sees of a picture: what is cut off, and an enlargement."""
        height, width = picture.pixels.shape[:2]
        place, notes = self._place(picture), []
        seen = min(self.size, place.rows) * min(self.size, place.columns) / (place.rows * place.columns)
        if seen < MOSTLY:
            notes.append(
                f"The model sees {seen:.0%} of the picture (as shown): another frame moves the crop or shows all of it."
            )
        factor = place.rows / height
        if factor > ENLARGED:
            notes.append(
                f"The picture has {width} x {height} pixels and is enlarged {factor:.2g} times: the model sees blur "
                "where it knows detail, and maps are no finer than these pixels. Take a larger picture if there is one."
            )
        return tuple(notes)

    def __call__(
        self, picture: Picture, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return the model's input, ``(1, channels, size, size)``, normalised, as the usual PIL pipelines make it."""
        pixels = torch.from_numpy(self.crop(picture)).permute(2, 0, 1).unsqueeze(0).to(device)
        return self.normalize(pixels.float().div(255)).to(dtype)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise ``(n, 3, height, width)`` in [0, 1]; for a model of grey pictures, their brightness."""
        if self.channels == 1 and images.shape[1] == 3:
            images = (images * images.new_tensor(BRIGHTNESS).view(1, 3, 1, 1)).sum(1, keepdim=True)
        mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std
