"""How a layer's output holds its spatial map, whatever the architecture.

Convolutional networks give maps ``(n, channels, rows, columns)``, Swin ``(n, rows, columns, channels)``, ViT tokens
``(n, prefix + rows * columns, channels)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.models.layers import share_copy


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

    Where a shape allows both, channels come first: :class:`Layouts` finds out.

    Args:
        sides: height and width of the network's input, whose shape a map has.
    """
    if len(shape) == 4 and _like(shape[2:], sides):
        return Layout("channels_first", 0, *shape[2:])
    if len(shape) == 4 and _like(shape[1:3], sides):
        return _channels_last(shape)
    if len(shape) == 3 and shape[2] > 1:  # else a vector
        # Class, distillation and register tokens before the patches.
        grids = [(prefix, grid) for prefix in (0, 1, 2, 4, 5) if (grid := grid_of(shape[1] - prefix, sides))]
        if grids:
            prefix, grid = min(grids, key=lambda one: _misfit(one[1], sides))  # the first of those that fit alike
            return Layout("tokens", prefix, *grid)
    return None


class Layouts:
    """How the outputs of one network hold their maps, told by trial where the shape allows two readings.

    As many channels as rows, or twice as many as the columns of an input of 1:2, leave the order open. Then the network
    is asked: what changes on the left and on the right of its input moves its answer along the columns of a map.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._last: dict[str, bool] = {}

    def of(self, name: str, shape: Sequence[int], x: Tensor) -> Layout | None:
        """Tell how an output of this shape holds a spatial map of more than one place, or None.

        Args:
            name: of the module that put it out.
            x: the network's input, ``(n, channels, height, width)``.
        """
        sides = (x.shape[-2], x.shape[-1]) if x.dim() == 4 else (1, 1)
        layout = layout_of(shape, sides)
        if layout is None or layout.kind != "channels_first" or not _like(shape[1:3], sides):
            return layout
        if name not in self._last:
            self._last[name] = _puts_channels_last(self._module, name, x)
        return _channels_last(shape) if self._last[name] else layout


@torch.no_grad()
def _puts_channels_last(module: nn.Module, name: str, x: Tensor) -> bool:
    """Whether the columns of the input are the second of the last three axes of a module's output, not the third."""
    twin, seen = share_copy(module), list[Tensor]()
    twin.get_submodule(name).register_forward_hook(lambda _child, _args, y: seen.append(y.float()))
    noise = torch.randn(2, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
    edge = max(1, x.shape[-1] // 4)
    outputs = []
    for start in (None, 0, x.shape[-1] - edge):
        given = noise[:1].clone()
        if start is not None:
            given[..., start : start + edge] = noise[1:, ..., start : start + edge]
        twin(given)
        outputs.append(seen[-1])  # of several calls the last counts
    left, right = ((output - outputs[0]).abs() for output in outputs[1:])
    return _shift(left, right, 2) > _shift(left, right, 3)


def _shift(left: Tensor, right: Tensor, axis: int) -> float:
    """Return how far the middle of ``right`` lies after that of ``left`` on an axis, as a share of the axis."""
    places = torch.linspace(0, 1, left.shape[axis], device=left.device)
    profiles = (change.movedim(axis, 0).flatten(1).sum(1) for change in (left, right))
    first, second = (float(profile @ places / profile.sum().clamp_min(1e-30)) for profile in profiles)
    return second - first


def _channels_last(shape: Sequence[int]) -> Layout:
    return Layout("channels_last", 0, shape[1], shape[2])


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
