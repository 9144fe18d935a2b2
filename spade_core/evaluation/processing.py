"""What is done to a map before it is judged, the same on every arm: much of a clean map is smoothness, which is cheap.

A number without its control says nothing: a blur removes three quarters of a dense gradient's error. So arms are
compared under equal processing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Processing:
    """One way to process a map.

    Attributes:
        slug, title, help: how it is chosen and shown.
        absolute: whether the magnitudes of a pixel's channels are summed, instead of their values.
        blur: standard deviation of a Gaussian over the map's magnitudes, px of the map; 0: none.
        noisy: whether the map is the mean of the magnitudes at noisy copies of the input.
    """

    slug: str
    title: str
    help: str
    absolute: bool = False
    blur: float = 0.0
    noisy: bool = False

    def apply(self, signed: np.ndarray, absolute: np.ndarray) -> np.ndarray:
        """Return a map as it is judged, ``(height, width)``.

        Args:
            signed, absolute: sums over the channels of its values and of their magnitudes.
        """
        if self.blur:
            blurred: np.ndarray = resolve_name("scipy.ndimage:gaussian_filter")(abs(signed), self.blur)
            return blurred
        return absolute if self.absolute else signed


NOISY_COPIES = 8

_ALL = (
    Processing("raw", "As it is", "The sum over the channels, with its sign."),
    Processing("abs", "Absolute sum", "The sum of the magnitudes of the channels.", absolute=True),
    Processing("blur2", "Blur 2 px", "The magnitudes, blurred with a sigma of 2 px.", blur=2.0),
    Processing("blur4", "Blur 4 px", "The magnitudes, blurred with a sigma of 4 px.", blur=4.0),
    Processing("noise", "Equal noise", f"The mean of the magnitudes at {NOISY_COPIES} noisy copies.", noisy=True),
)
PROCESSING: dict[str, Processing] = {one.slug: one for one in _ALL}
