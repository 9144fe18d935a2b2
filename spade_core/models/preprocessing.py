"""From a picture to a model's input: resize the short side, crop, normalise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from spade_core.errors import ModelError
from spade_core.pictures.frame import CENTRE, MIDDLE, Frame
from spade_core.pictures.picture import Picture
from spade_core.pictures.size import Size, as_size, shown_size, sides_of

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
        size: of the input, px: the side of a square, or height and width.
        resize: what a picture is scaled to before the crop, px: of one number, so that it is its short side; of two, so
            that it just covers this height and width (as timm does for inputs that are not square).
        mean, std: of each channel, for values in [0, 1]; of one, the model reads the brightness of pictures.
        interpolation: ``bilinear`` or ``bicubic``.
        squash: resize to ``resize`` in height and width, whatever the picture's shape (some models of timm).
    """

    size: Size = 224
    resize: Size = 256
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            object.__setattr__(self, name, as_size(getattr(self, name)))
        pairs = list(zip(self.sides, sides_of(self.resize), strict=True))
        told, before = (one if isinstance(one, int) else shown_size(one) for one in (self.size, self.resize))
        if min(self.sides) < 1 or max(self.sides) > MAX_SIZE:
            raise ModelError(f"The input size must lie between 1 and {MAX_SIZE} px, not {told}.")
        if not all(side <= least <= 2 * MAX_SIZE for side, least in pairs):
            bounds = f"between the input's ({told}) and {2 * MAX_SIZE} px"
            raise ModelError(f"The size that pictures are resized to must lie {bounds}, not {before}.")
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

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the input, px."""
        return sides_of(self.size)

    def side(self, what: str) -> int:
        """Return the side of a square input, px.

        Raises:
            ModelError: it is none, and ``what`` needs one.
        """
        if isinstance(self.size, int):
            return self.size
        raise ModelError(f"{what} needs a model that reads squares, not {shown_size(self.size)} px: take another.")

    def place(self, height: int, width: int, frame: Frame = CENTRE) -> Place:
        """Return where the input lies in a resized picture of ``height`` x ``width`` px."""
        if frame.whole:
            scale = min(self.sides[0] / height, self.sides[1] / width)
            rows, columns = (max(1, round(side * scale)) for side in (height, width))
        else:
            rows, columns = self._resized_sides(height, width)
        ways = (MIDDLE, MIDDLE) if frame.whole else (frame.y, frame.x)
        lengths = zip((rows, columns), self.sides, ways, strict=True)
        top, left = (round((length - side) * way / 100) for length, side, way in lengths)
        return Place(rows, columns, top, left)

    def _resized_sides(self, height: int, width: int) -> tuple[int, int]:
        if self.squash:
            return sides_of(self.resize)
        if isinstance(self.resize, int):  # as torchvision rounds
            long = int(self.resize * max(height, width) / min(height, width))
            return (self.resize, long) if height <= width else (long, self.resize)
        ratio = min(height / self.resize[0], width / self.resize[1])  # as timm rounds
        return round(height / ratio), round(width / ratio)

    def with_size(self, size: Size) -> Preprocessing:
        """Return the same transform for another input, of which as large a share of a picture is seen."""
        triples = zip(sides_of(size), sides_of(self.resize), self.sides, strict=True)
        return replace(self, size=size, resize=as_size([round(side * least / own) for side, least, own in triples]))

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
        """Return what the model sees, uint8 ``(height, width, 3)``; bars have its mean grey."""
        place, pixels, (height, width) = self._place(picture), self.resized(picture), self.sides
        if picture.frame.whole:
            seen = np.empty((height, width, 3), np.uint8)
            seen[:] = np.clip(np.round(255 * np.array(self.mean)), 0, 255).astype(np.uint8)
            seen[-place.top :, -place.left :][: place.rows, : place.columns] = pixels
            return seen
        return pixels[place.top : place.top + height, place.left : place.left + width].copy()

    def told(self, picture: Picture) -> tuple[str, ...]:
        """Return what is to be known of what the model sees of a picture: what is cut off, and an enlargement."""
        height, width = picture.pixels.shape[:2]
        place, notes = self._place(picture), []
        shown = [min(side, length) for side, length in zip(self.sides, (place.rows, place.columns), strict=True)]
        seen = shown[0] * shown[1] / (place.rows * place.columns)
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
        """Return the model's input, ``(1, channels, height, width)``, normalised, as usual PIL pipelines make it."""
        pixels = torch.from_numpy(self.crop(picture)).permute(2, 0, 1).unsqueeze(0).to(device)
        return self.normalize(pixels.float().div(255)).to(dtype)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise ``(n, 3, height, width)`` in [0, 1]; for a model of grey pictures, their brightness."""
        if self.channels == 1 and images.shape[1] == 3:
            images = (images * images.new_tensor(BRIGHTNESS).view(1, 3, 1, 1)).sum(1, keepdim=True)
        mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std
