"""Maps as pictures: one scale of colours for all, zero-centred where the method is signed."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

DIVERGING, SEQUENTIAL = "RdBu_r", "magma"


def colorize(values: np.ndarray, limits: tuple[float, float], signed: bool) -> np.ndarray:
    """Return ``values`` ``(height, width)`` as uint8 ``(height, width, 3)``; ``limits`` span the colour map."""
    low, high = limits
    scaled = (np.clip(values, low, high) - low) / (high - low)
    return (mpl.colormaps[DIVERGING if signed else SEQUENTIAL](scaled)[..., :3] * 255).round().astype(np.uint8)


def png_bytes(pixels: np.ndarray) -> bytes:
    """Return uint8 ``(height, width, 3)`` or ``(height, width)`` as the bytes of a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def figure_png(
    picture: np.ndarray,
    rows: list[tuple[str, np.ndarray, np.ndarray, tuple[float, float], bool]],
    title: str,
) -> bytes:
    """Draw picture, dense map, SPADE map and their difference, a row a method.

    Args:
        picture: uint8 ``(height, width, 3)``, what the model sees.
        rows: (method title, dense map, SPADE map, limits of their colours, signed).

    Returns:
        PNG bytes.
    """
    figure = Figure(figsize=(11, 2.9 * len(rows) + 0.5), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for row, (name, dense, spade, limits, signed) in zip(axes, rows, strict=True):
        gap = np.abs(spade - dense)
        spread = float(np.percentile(gap, 99.5)) or float(gap.max()) or 1.0
        row[0].imshow(picture)
        row[0].set_ylabel(name, fontsize=10)
        for axis, values in zip(row[1:3], (dense, spade), strict=True):
            axis.imshow(values, cmap=DIVERGING if signed else SEQUENTIAL, vmin=limits[0], vmax=limits[1])
        figure.colorbar(row[2].images[0], ax=list(row[1:3]), fraction=0.05)
        difference = row[3].imshow(spade - dense, cmap=DIVERGING, vmin=-spread, vmax=spread)
        figure.colorbar(difference, ax=row[3], fraction=0.05)
    for axis, name in zip(axes[0], ("picture", "dense", "SPADE", "SPADE - dense"), strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
