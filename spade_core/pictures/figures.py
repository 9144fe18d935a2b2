"""Maps as pictures, in the colours of :mod:`spade_core.pictures.scales`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from spade_core.pictures.fonts import DEFAULT, families_for
from spade_core.pictures.scales import DIFFERENCE, SPREAD, Scale, scale_of, top_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase


def colorize(values: np.ndarray, limits: tuple[float, float], scale: Scale) -> np.ndarray:
    """Return ``values`` ``(height, width)`` as uint8 ``(height, width, 3)``; ``limits`` span the colours."""
    low, high = limits
    scaled = (np.clip(values, low, high) - low) / (high - low)
    return (resolve_name("matplotlib:colormaps")[scale.colours](scaled)[..., :3] * 255).round().astype(np.uint8)


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
    """Return the figure of :func:`draw_figure` as the bytes of a PNG of 110 dpi."""
    figure = new_figure(rows)
    draw_figure(figure, picture, rows, title)
    return figure_bytes(figure, "png", 110)


def new_figure(rows: Sequence[FigureRow]) -> Figure:
    """Return an empty figure that has room for ``rows``."""
    from matplotlib.figure import Figure  # here: a worker that starts does not wait for it

    columns = 4 if rows[0].spread is None else 5
    return Figure(figsize=(2.75 * columns, 2.9 * len(rows) + 0.5), layout="constrained")


def figure_bytes(figure: Figure, form: Literal["png", "svg"], dpi: int) -> bytes:
    """Return a figure as the bytes of a file; the same figure gives the same bytes.

    Args:
        dpi: of a PNG; an SVG has its text as outlines and its maps pixel by pixel, which any resolution can print.
    """
    from matplotlib import rc_context

    out, still = io.BytesIO(), {"Date": None} if form == "svg" else {}
    with rc_context({"svg.hashsalt": "spade", "svg.fonttype": "path"}):
        figure.savefig(out, format=form, dpi=dpi, metadata=still)
    return out.getvalue()


def draw_figure(figure: FigureBase, picture: np.ndarray, rows: Sequence[FigureRow], title: str) -> None:
    """Draw the picture once, and in a row a method its dense map, its SPADE map, their difference, a bundle's spread.

    Args:
        picture: uint8 ``(height, width, 3)``, what the model sees.
        rows: at least one; all or none with a spread.
        title: of letters that some font has, see ``shown_name``.
    """
    names = ["picture", "dense", "SPADE", "SPADE - dense", *(["spread"] if rows[0].spread is not None else [])]
    families = list(families_for(title) or (DEFAULT,))
    figure.suptitle(title, fontsize=11, fontfamily=families, parse_math=False)
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    axes[0][0].imshow(picture)
    for line, row in zip(axes, rows, strict=True):
        line[1].set_ylabel(row.title, fontsize=10)
        _draw_row(figure, list(line[1:]), row)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for line in axes[1:]:
        line[0].set_axis_off()


def _draw_row(figure: FigureBase, axes: Sequence[Axes], row: FigureRow) -> None:
    """Draw the maps of one method, each with a bar that says what its colours mean."""
    scale, most = scale_of(row.signed), top_of(row.spade - row.dense)
    for axis, values in zip(axes[:2], (row.dense, row.spade), strict=True):
        axis.imshow(values, cmap=scale.colours, vmin=row.limits[0], vmax=row.limits[1])
    figure.colorbar(axes[1].images[0], ax=list(axes[:2]), fraction=0.05).set_label(_meaning(scale), fontsize=7)
    axes[2].imshow(row.spade - row.dense, cmap=DIFFERENCE.colours, vmin=-most, vmax=most)
    figure.colorbar(axes[2].images[0], ax=axes[2], fraction=0.05)
    if row.spread is not None:
        axes[3].imshow(row.spread, cmap=SPREAD.colours, vmin=0)
        figure.colorbar(axes[3].images[0], ax=axes[3], fraction=0.05)


def _meaning(scale: Scale) -> str:
    return f"{scale.low} ... {scale.high}" if scale.centred else "share of the map's top"
