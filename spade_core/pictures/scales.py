"""What the colours of a map say: one scale a meaning, on the pages as in figures, and none that needs red beside green.

Diverging scales are ColorBrewer's, which it lists as safe for the colour blind; magma and cividis grow evenly in
lightness, so that they keep their order in grey, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name

import numpy as np

LEVELS = 256
TOP_PERCENTILE = 99.5  # of |values|: a single hot pixel must not leave the rest of the map pale


@dataclass(frozen=True)
class Scale:
    """One scale of colours.

    Attributes:
        colours: matplotlib's name of it.
        title: what is shown in it; low, high: what its two ends mean.
        centred: whether its middle is 0.
    """

    colours: str
    title: str
    low: str
    high: str
    centred: bool = False

    def palette(self) -> bytes:
        """Return its ``LEVELS`` colours, from low to high, as uint8 of red, green and blue."""
        return _palette(self.colours)


MAGNITUDE = Scale("magma", "Strength", "0", "top")
SIGNED = Scale("RdBu_r", "Evidence", "against the class", "for it", centred=True)
DIFFERENCE = Scale("PuOr_r", "Difference: more in", "dense", "SPADE", centred=True)
SPREAD = Scale("cividis", "Spread of the traces", "0", "much")


def scale_of(signed: bool) -> Scale:
    """Return the scale of a map with signs, or without."""
    return SIGNED if signed else MAGNITUDE


def top_of(values: np.ndarray) -> float:
    """Return the unit in which a map is shown, its own: nearly its largest magnitude, and never 0.

    The values of a sparse trace are as a whole smaller than the dense model's, or larger; what is compared is where
    they lie. On one scale for both the fainter map would look empty.
    """
    strength = np.abs(values)
    return float(np.percentile(strength, TOP_PERCENTILE)) or float(strength.max()) or 1.0


@cache
def _palette(colours: str) -> bytes:
    levels = resolve_name("matplotlib:colormaps")[colours](np.linspace(0, 1, LEVELS))[:, :3]
    return (255 * levels).round().astype(np.uint8).tobytes()
