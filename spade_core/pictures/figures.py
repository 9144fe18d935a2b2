"""Maps as pictures: one scale of colours for all, zero-centred where the method is signed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from spade_core.pictures.fonts import DEFAULT, families_for

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


@dataclass(frozen=True, eq=False)
class FigureRow:
    """One method's row of a figure, each map in its own unit.

    Attributes:
        title: of the method; dense, spade: maps ``(height, width)``.
        spread: of a bundle of traces, at each pixel, or None.
        limits: of the maps' colours; signed: whether these are zero-centred.
    """

    title: str
    dense: np.ndarray
    spade: np.ndarray
    spread: np.ndarray | None
    limits: tuple[float, float]
    signed: bool


def figure_png(picture: np.ndarray, rows: Sequence[FigureRow], title: str) -> bytes:
    """Draw picture, dense map, SPADE map and their difference, and the spread of a bundle, a row a method.

    Args:
        picture: uint8 ``(height, width, 3)``, what the model sees.
        rows: at least one; all or none with a spread.
        title: of letters that some font has, see ``shown_name``.

    Returns:
        PNG bytes.
    """
    names = ["picture", "dense", "SPADE", "SPADE - dense", *(["spread"] if rows[0].spread is not None else [])]
    figure = Figure(figsize=(2.75 * len(names), 2.9 * len(rows) + 0.5), layout="constrained", dpi=110)
    families = list(families_for(title) or (DEFAULT,))
    figure.suptitle(title, fontsize=11, fontfamily=families, parse_math=False)
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        gap = np.abs(row.spade - row.dense)
        most = float(np.percentile(gap, 99.5)) or float(gap.max()) or 1.0
        line[0].imshow(picture)
        line[0].set_ylabel(row.title, fontsize=10)
        for axis, values in zip(line[1:3], (row.dense, row.spade), strict=True):
            axis.imshow(values, cmap=DIVERGING if row.signed else SEQUENTIAL, vmin=row.limits[0], vmax=row.limits[1])
        figure.colorbar(line[2].images[0], ax=list(line[1:3]), fraction=0.05)
        difference = line[3].imshow(row.spade - row.dense, cmap=DIVERGING, vmin=-most, vmax=most)
        figure.colorbar(difference, ax=line[3], fraction=0.05)
        if row.spread is not None:
            figure.colorbar(line[4].imshow(row.spread, cmap=SEQUENTIAL, vmin=0), ax=line[4], fraction=0.05)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
