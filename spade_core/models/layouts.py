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
        side: rows (= columns) of the map.
    """

    kind: str
    prefix: int
    side: int

    def to_maps(self, y: Tensor) -> Tensor:
        """Return ``(n, channels, rows, columns)``."""
        if self.kind == "channels_first":
            return y
        last = y if self.kind == "channels_last" else y[:, self.prefix :].unflatten(1, (self.side, self.side))
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


def layout_of(shape: Sequence[int]) -> Layout | None:
    """Tell how an output of this shape holds a square spatial map of more than one place, or None."""
    if len(shape) == 4 and shape[2] == shape[3] > 1:
        return Layout("channels_first", 0, shape[2])
    if len(shape) == 4 and shape[1] == shape[2] > 1:
        return Layout("channels_last", 0, shape[1])
    if len(shape) == 3 and shape[2] > 1:  # else a vector
        for prefix in (0, 1, 2, 4, 5):  # class, distillation and register tokens before the patches
            side = math.isqrt(max(0, shape[1] - prefix))
            if side > 1 and side * side == shape[1] - prefix:
                return Layout("tokens", prefix, side)
    return None
