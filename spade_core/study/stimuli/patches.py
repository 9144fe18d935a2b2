"""Two equal patches of one picture: where a reference map is high, and where it is low but the contrast is similar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

PATCH = 2 / 7  # side of a patch, as a share of the input's: 64 of 224 px
LOW = 0.25  # the other patch lies among this share of the lowest means


@dataclass(frozen=True)
class Patches:
    """Two patches of one picture, by the upper left corner in model-input pixels.

    Attributes:
        side: of both, px; high, low: ``(top, left)`` of the patch with the highest mean and of the other one.
        means: mean of the reference map on them, relative to its mean over the picture.
        contrasts: standard deviation of their grey values, 0 to 255.
    """

    side: int
    high: tuple[int, int]
    low: tuple[int, int]
    means: tuple[float, float]
    contrasts: tuple[float, float]

    def cut(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both patches of the picture as the model sees it, uint8 ``(side, side, 3)``."""
        return tuple(pixels[top : top + self.side, left : left + self.side] for top, left in (self.high, self.low))  # type: ignore[return-value]


def choose_patches(reference: np.ndarray, pixels: np.ndarray) -> Patches:
    """Choose the patches of one picture, for a rater that knows nothing of a picture's middle.

    A study of people takes :func:`spade_core.study.stimuli.regions.choose_regions`.

    The high patch is the window with the highest mean. Of the windows that do not overlap it, those with the lowest
    quarter of the means are candidates for the low patch; the one whose contrast is nearest to the high patch's is
    taken. Of equal windows the first counts, row by row from the upper left corner. A trigger smaller than a patch lies
    whole in many windows of one mean, so that its patch is the uppermost, then leftmost, of these: the trigger touches
    the lower right of its patch wherever the picture's edges allow it, and is not in its middle.

    Args:
        reference: ``(height, width)``, such as a Score-CAM map, not negative.
        pixels: uint8 ``(height, width, 3)``, what the model sees.
    """
    side = round(PATCH * reference.shape[0])
    means, contrast = windows(reference.astype(np.float64), side), window_contrasts(pixels, side)
    high = np.unravel_index(means.argmax(), means.shape)
    rows, columns = np.indices(means.shape)
    free = (abs(rows - high[0]) >= side) | (abs(columns - high[1]) >= side)
    low_enough = free & (means <= np.quantile(means[free], LOW))
    gap = np.where(low_enough, abs(contrast - contrast[high]), np.inf)
    low = np.unravel_index(gap.argmin(), gap.shape)
    whole = float(reference.mean()) or 1.0
    return Patches(
        side,
        (int(high[0]), int(high[1])),
        (int(low[0]), int(low[1])),
        (float(means[high]) / whole, float(means[low]) / whole),
        (float(contrast[high]), float(contrast[low])),
    )


def window_contrasts(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the standard deviation of grey values in every window of ``side`` px, 0 to 255, by its corner."""
    grey = pixels.astype(np.float64).mean(2)
    return np.sqrt(np.maximum(0, windows(grey**2, side) - windows(grey, side) ** 2))


def windows(values: np.ndarray, side: int) -> np.ndarray:
    """Return the mean of every window of ``side`` px, by its upper left corner."""
    means = uniform_filter(values, side, mode="constant", origin=-(side // 2))
    return means[: values.shape[0] - side + 1, : values.shape[1] - side + 1]
