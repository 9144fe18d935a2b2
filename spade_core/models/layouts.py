"""How a layer's output holds its spatial map, whatever the architecture.

Convolutional networks give maps ``(n, channels, rows, columns)``, Swin ``(n, rows, columns, channels)``, ViT tokens
``(n, prefix + rows * columns, channels)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How a layer's output holds its spatial map.

    Attributes:
        kind: ``channels_first``, ``channels_last`` or ``tokens``.
        prefix: tokens before the patches.
        rows, columns: of the map.
    """

    kind: str
    prefix: int
    rows: int
    columns: int

    def to_maps(self, y: Tensor) -> Tensor:
        """Return ``(n, channels, rows, columns)``."""
        if self.kind == "channels_first":
            return y
        last = y if self.kind == "channels_last" else y[:, self.prefix :].unflatten(1, (self.rows, self.columns))
        return last.permute(0, 3, 1, 2)

    def from_maps(self, maps: Tensor, y: Tensor) -> Tensor:
        """Put the map back into the layout of ``y``."""
        if self.kind == "channels_first":
            return maps
        last = maps.permute(0, 2, 3, 1)
        return last if self.kind == "channels_last" else torch.cat([y[:, : self.prefix], last.flatten(1, 2)], 1)

    def patches(self, gradient: Tensor) -> Tensor:
        """Return the part of a gradient that belongs to the map."""
        return gradient[:, self.prefix :] if self.kind == "tokens" else gradient


def layout_of(shape: Sequence[int], sides: tuple[int, int]) -> Layout | None:
    """Tell how an output of this shape holds a spatial map of more than one place, or None.

    Args:
        sides: height and width of the network's input, whose shape a map has.
    """
    if len(shape) == 4 and _like(shape[2:], sides):
        return Layout("channels_first", 0, *shape[2:])
    if len(shape) == 4 and _like(shape[1:3], sides):
        return Layout("channels_last", 0, *shape[1:3])
    if len(shape) == 3 and shape[2] > 1:  # else a vector
        # Class, distillation and register tokens before the patches.
        grids = [(prefix, grid) for prefix in (0, 1, 2, 4, 5) if (grid := grid_of(shape[1] - prefix, sides))]
        if grids:
            prefix, grid = min(grids, key=lambda one: _misfit(one[1], sides))  # the first of those that fit alike
            return Layout("tokens", prefix, *grid)
    return None


def grid_of(places: int, sides: tuple[int, int]) -> tuple[int, int] | None:
    """Return rows and columns of a map of so many places, more than one, of an input of ``sides``, or None."""
    short = range(1, math.isqrt(max(0, places)) + 1)
    pairs = [(side, places // side) for side in short if places % side == 0]
    grids = [grid for pair in pairs for grid in (pair, pair[::-1]) if _like(grid, sides)]
    return min(grids, key=lambda grid: _misfit(grid, sides), default=None)


def _like(grid: Sequence[int], sides: tuple[int, int]) -> bool:
    """Whether a map has its input's shape: a square's is a square, any other's comes by one stride, but for rounding.

    Padding and its lack move each side by less than one place.
    """
    if sides[0] == sides[1] or math.prod(grid) <= 1:
        return grid[0] == grid[1] > 1
    longest = [side / max(count - 1, 1e-9) for side, count in zip(sides, grid, strict=True)]
    least = [side / (count + 1) for side, count in zip(sides, grid, strict=True)]
    return max(least) < min(longest)


def _misfit(grid: Sequence[int], sides: tuple[int, int]) -> int:
    return abs(grid[0] * sides[1] - grid[1] * sides[0])
