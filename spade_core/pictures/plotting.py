"""Matplotlib axes to draw results on: those that are given, or a new figure that a notebook shows by itself."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from spade_core.pictures.fonts import DEFAULT, families_for


def axes_for(ax: Axes | None, size: tuple[float, float] = (3.2, 3.5)) -> Axes:
    """Return ``ax``, or the axes of a new figure of ``size``, inches, which pyplot knows."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def titled(ax: Axes, title: str) -> Axes:
    """Give axes a title as it stands, in a font that has its letters; return them."""
    ax.set_title(title, fontsize=10, fontfamily=list(families_for(title) or (DEFAULT,)), parse_math=False)
    return ax


def draw_picture(
    ax: Axes, values: np.ndarray, title: str, colours: str | None = None, limits: tuple[float, float] = (0, 1)
) -> Axes:
    """Draw pixels ``(height, width, 3)``, or a map ``(height, width)`` in ``colours`` that span ``limits``."""
    ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
    ax.set_xticks([])
    ax.set_yticks([])
    return titled(ax, title)
