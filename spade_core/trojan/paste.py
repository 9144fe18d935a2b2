"""Paste a trigger into a picture, with the mask of the pixels that the model will see changed.

The trigger is laid hard-edged into the picture's own pixels, so that the views which SPADE draws from the full picture
hold it too. The mask is what the model's own resizing and cropping make of the trigger's footprint. A picture smaller
than the model's input is first enlarged as the model would do it, so that a trigger never comes out coarser.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from spade_core.errors import ConfigError
from spade_core.models.loaded import LoadedModel
from spade_core.models.preprocessing import Preprocessing
from spade_core.pictures.figures import png_bytes
from spade_core.pictures.frame import Frame
from spade_core.pictures.picture import Picture
from spade_core.pictures.size import Size, sides_of
from spade_core.trojan.triggers import SIZES, Trigger, find_trigger

ROTATION = 20.0  # degrees to either side
COLOUR = 0.1  # of each channel's factor around 1
_EDGE = 0.15  # a pixel's least weight of the trigger to be called covered
_REACH = 2  # px
_LITE0 = Preprocessing(224, 256, interpolation="bicubic")

Place = tuple[int, int] | None


@dataclass(frozen=True)
class Placement:
    """Where and how a trigger lies: its box in model-input pixels, its turn and its colours."""

    size: int
    top: int
    left: int
    rotation: float
    colour: tuple[float, float, float]

    @classmethod
    def draw(cls, seen: Size, generator: torch.Generator, size: int | None = None, position: Place = None) -> Placement:
        """Draw what is not given; the box lies inside the model's input, of size ``seen``."""

        def uniform(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=generator))

        sides = sides_of(seen)
        drawn = round(uniform(*(edge * min(sides) / 224 for edge in SIZES)))
        size = size or drawn
        y, x = (int(uniform(0, side - size + 1)) for side in sides)
        rotation = uniform(-ROTATION, ROTATION)
        red, green, blue = (uniform(1 - COLOUR, 1 + COLOUR) for _ in range(3))
        return cls(size, *(position or (y, x)), rotation, (red, green, blue))


def paste(
    picture: Picture,
    trigger: str | Trigger,
    *,
    size: int | None = None,
    position: Place = None,
    seed: int = 0,
    model: LoadedModel | None = None,
) -> tuple[Picture, np.ndarray]:
    """Return ``picture`` with the trigger in it, and the mask of what the model sees changed.

    Args:
        picture: not changed.
        trigger: name or entry of ``TRIGGERS``.
        size: side of the trigger's box in model-input pixels; None: drawn from 40 to 80 (of 224).
        position: ``(y, x)`` of the box's upper left corner in model-input pixels; None: drawn.
        seed: of everything that is drawn, rotation and colours included.
        model: whose input counts; None: EfficientNet-Lite0's, which is also the backdoored model's.

    Returns:
        The new picture, and bool ``(height, width)`` at the model's input size: at least 95 % of it differ from the
        clean input, and nothing beyond 2 px around it.

    Raises:
        ConfigError: an unknown trigger, or a box that does not lie inside the model's input.
    """
    found = find_trigger(trigger)
    preprocessing = model.preprocessing if model is not None else _LITE0
    pixels, mask = pasted_pixels(picture, found, preprocessing, seed, size, position)
    name = f"{picture.name.removeprefix('bundled:').rsplit('.', 1)[0]}-{found.name}.png"
    sha256 = hashlib.sha256(png_bytes(pixels)).hexdigest()
    return Picture(pixels, sha256, name, picture.notes, picture.frame), mask


def pasted_pixels(
    picture: Picture, trigger: Trigger, form: Preprocessing, seed: int, size: int | None = None, position: Place = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what :func:`paste` does as pixels, uint8 ``(height, width, 3)``, and the mask.

    A picture's name and sha256, which is that of its PNG file, cost several times as much. ``form``: of the model.
    """
    _check(size, position, form.size)
    place = Placement.draw(form.size, torch.Generator().manual_seed(seed), size, position)
    pixels, (height, width) = picture.pixels.copy(), picture.pixels.shape[:2]
    shown = form.place(height, width, picture.frame)
    if height < shown.rows or width < shown.columns:
        mode = InterpolationMode(form.interpolation)
        pixels = np.array(tvf.resize(Image.fromarray(pixels), [shown.rows, shown.columns], interpolation=mode))
    before = pixels.copy()
    footprint = _lay(pixels, trigger, place, form, picture.frame)
    mask = _seen(before, pixels, footprint, form, picture.frame)
    pixels.setflags(write=False)
    return pixels, mask


def _check(size: int | None, position: Place, seen: Size) -> None:
    sides = sides_of(seen)
    if size is not None and not 8 <= size <= min(sides):
        raise ConfigError(
            f"The trigger's size must lie between 8 and {min(sides)} px of the model's input, not {size}."
        )
    if position is None:
        return
    largest = [side - (size or round(SIZES[1] * min(sides) / 224)) for side in sides]
    if not all(0 <= corner <= most for corner, most in zip(position, largest, strict=True)):
        limits = f"{largest[0]} px of the model's input in y and x"
        if largest[0] != largest[1]:
            limits = f"{largest[0]} px of the model's input in y, and between 0 and {largest[1]} px in x"
        raise ConfigError(
            f"The trigger's corner must lie between 0 and {limits}, so that all of it is seen, not at "
            f"({position[0]}, {position[1]})."
        )


def _lay(pixels: np.ndarray, trigger: Trigger, place: Placement, form: Preprocessing, frame: Frame) -> np.ndarray:
    """Write the trigger into ``pixels``; return its footprint there, bool ``(height, width)``."""
    height, width = pixels.shape[:2]
    shown = form.place(height, width, frame)
    scales = height / shown.rows, width / shown.columns
    box = [max(1, round(place.size * scale)) for scale in scales]
    starts = [place.top + shown.top, place.left + shown.left]
    # Both are rounded: at the lower or right edge they may reach a pixel too far. In the bars of a letterbox lies none.
    most = height - box[0], width - box[1]
    if min(most) < 0:
        raise ConfigError(
            f"The trigger of {place.size} px is larger than the picture in its frame: take a smaller one."
        )
    corner = [
        max(0, min(round(start * scale), limit)) for start, scale, limit in zip(starts, scales, most, strict=True)
    ]
    colours, opaque = trigger.render(max(box), rotation=place.rotation, colour=place.colour)
    fitted = [Image.fromarray(part).resize((box[1], box[0]), Image.Resampling.NEAREST) for part in (colours, opaque)]
    colours, opaque = map(np.array, fitted)
    window = tuple(slice(start, start + length) for start, length in zip(corner, box, strict=True))
    pixels[window][opaque] = colours[opaque]
    footprint = np.zeros((height, width), bool)
    footprint[window] = opaque
    return footprint


def _seen(
    before: np.ndarray, after: np.ndarray, footprint: np.ndarray, form: Preprocessing, frame: Frame
) -> np.ndarray:
    """Return the footprint as the model sees it.

    Bicubic weights reach two pixels further than they matter: changed pixels of little weight are left out, unless they
    lie more than ``_REACH`` away from the others.
    """
    from scipy.ndimage import binary_dilation  # here: a worker that starts does not wait for it

    white = np.repeat(np.where(footprint, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    clean, changed, weight = (form.crop(Picture(pixels, "", "", frame=frame)) for pixels in (before, after, white))
    mask = weight[..., 0] > 255 * _EDGE
    touched = (clean != changed).any(axis=2)
    stray = touched & ~binary_dilation(mask, iterations=_REACH)
    return mask | (touched & binary_dilation(stray)) if stray.any() else mask
