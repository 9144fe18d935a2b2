"""The random views of one picture (SPADE, section 3.1 and the authors' notebook).

Four augmentations in the authors' order: random resized crop (scale 0.2-1, aspect 3/4-4/3), horizontal flip,
brightness (factor 0.5-1.5) and hue (shift up to 0.3 of the circle), these two in random order. Differences: every view
has its own draw from one seed, so the first n of any number of views are the same; pictures much larger than the
model's input are first reduced to a short side of three times its longer one; and where the input is no square, the
crops' aspect counts from the input's, so that nothing is stretched more than in a square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from spade_core.pictures.size import Size, sides_of
from spade_core.pruning.options import NOISE

SCALE = (0.2, 1.0)
LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))
BRIGHTNESS = 0.5
HUE = 0.3
ATTEMPTS = 10
OVERSIZE = 3
_OTHER = 0x5ADE  # turns a seed into that of the views' noise: a map's noisy copies of the same seed are other ones


@dataclass(frozen=True)
class Views:
    """The views of several traces of one network; those that traces share stand once.

    Attributes:
        images: ``(n, 3, height, width)``, normalised.
        rows: for each trace, which of ``images`` are its views, int64 ``(views,)``; equally many for all.
    """

    images: Tensor
    rows: tuple[Tensor, ...]

    @classmethod
    def of_one(cls, images: Tensor) -> Views:
        """Return the views of a single trace."""
        return cls(images, (torch.arange(len(images), device=images.device),))

    def singly(self) -> list[Views]:
        """Return the views of each trace by themselves."""
        return [self.of_one(self.images[rows]) for rows in self.rows]

    def of_trace(self, number: int, size: int) -> list[Tensor]:
        """Return the views of a trace in batches of at most ``size``."""
        return [self.images[rows] for rows in self.rows[number].split(size)]


@dataclass(frozen=True)
class View:
    """One draw: the crop in pixels, whether it is flipped, and the colour changes in their order."""

    top: int
    left: int
    height: int
    width: int
    flip: bool
    brightness: float
    hue: float
    hue_first: bool


def random_views(pixels: Tensor, count: int, size: Size, *, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``count`` random views of one picture.

    Args:
        pixels: uint8 ``(3, height, width)``, RGB, at its full size.
        size: of the views.
        seed: of all random draws; independent of the device.

    Returns:
        float32 ``(count, 3, rows, columns)`` in [0, 1], not yet normalised.
    """
    image, sides = pixels.to(device), sides_of(size)
    if min(image.shape[-2:]) > OVERSIZE * max(sides):
        image = tvf.resize(image, [OVERSIZE * max(sides)], antialias=True)
    image = image.float().div_(255)
    height, width = image.shape[-2:]
    views = draw_views(height, width, count, seed, sides[1] / sides[0])
    return torch.stack([_render(image, view, sides) for view in views])


def noisy_views(image: Tensor, count: int, *, seed: int) -> Tensor:
    """Return ``count`` copies of a picture under normal noise, each with its own.

    Args:
        image: the model's input, float ``(1, channels, rows, columns)``, normalised.
        seed: of the noise; independent of the device. The first n of any number of copies are the same.

    Returns:
        as ``image``, ``(count, channels, rows, columns)``.
    """
    generator = torch.Generator().manual_seed(seed ^ _OTHER)
    drawn = [torch.randn(image.shape[1:], generator=generator) for _ in range(count)]
    return image + NOISE * (image.max() - image.min()) * torch.stack(drawn).to(image)


def draw_views(height: int, width: int, count: int, seed: int, aspect: float = 1.0) -> list[View]:
    """Draw the parameters of ``count`` views of a picture of ``height`` x ``width`` px.

    Args:
        aspect: width over height of what they are scaled to.
    """
    generator = torch.Generator().manual_seed(seed)
    return [_draw(height, width, aspect, generator) for _ in range(count)]


def _draw(height: int, width: int, aspect: float, generator: torch.Generator) -> View:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    crop = _draw_crop(height, width, aspect, uniform)
    flip, brightness = uniform(0, 1) < 0.5, uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    return View(*crop, flip, brightness, hue=uniform(-HUE, HUE), hue_first=uniform(0, 1) < 0.5)


def _draw_crop(
    height: int, width: int, aspect: float, uniform: Callable[[float, float], float]
) -> tuple[int, int, int, int]:
    for _ in range(ATTEMPTS):
        area = height * width * uniform(*SCALE)
        ratio = math.exp(uniform(*LOG_RATIO)) * aspect
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = min(int(uniform(0, height - crop_height + 1)), height - crop_height)
            left = min(int(uniform(0, width - crop_width + 1)), width - crop_width)
            return top, left, crop_height, crop_width
    # A very long picture admits no such crop: take the largest central one within the aspect limits.
    low, high = (math.exp(side) * aspect for side in LOG_RATIO)
    crop_width = max(1, min(width, round(height * high)))
    crop_height = max(1, min(height, round(width / low)))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def _render(image: Tensor, view: View, sides: tuple[int, int]) -> Tensor:
    out = tvf.resized_crop(image, view.top, view.left, view.height, view.width, list(sides), antialias=True)
    if view.flip:
        out = tvf.horizontal_flip(out)
    if view.hue_first:
        return tvf.adjust_brightness(tvf.adjust_hue(out, view.hue), view.brightness)
    return tvf.adjust_hue(tvf.adjust_brightness(out, view.brightness), view.hue)
