"""Maps of surviving weights: small enough to be looked at, in orders that show how outputs and inputs belong together.

Nothing here imports torch: a page orders the weights of the layer that it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Orders = tuple[np.ndarray, np.ndarray]


def pooled_map(mask: np.ndarray, side: int = 512) -> np.ndarray:
    """Return ``mask`` as float32 of at most ``side`` rows and columns, each cell the share of survivors under it."""
    for axis in (0, 1):
        length = mask.shape[axis]
        if length > side:
            edges = np.linspace(0, length, side + 1).round().astype(int)
            sizes = np.diff(edges)
            mask = np.add.reduceat(mask.astype(np.float32), edges[:-1], axis=axis)
            mask = mask / (sizes[:, None] if axis == 0 else sizes)
    return mask.astype(np.float32)


def fullest_first(mask: np.ndarray) -> Orders:
    """Return the order of rows and columns, int64, by how many weights survived in them, the most first."""
    return np.argsort(-mask.sum(1), kind="stable"), np.argsort(-mask.sum(0), kind="stable")


def grouped(mask: np.ndarray) -> Orders:
    """Return an order of rows and columns, int64, in which those that survived together stand together.

    It is that of the second singular vectors of the mask, whose rows and columns are divided by the roots of their
    counts (Dhillon 2001, section 4: two groups of rows and of columns with the fewest survivors between them). Empty
    rows and columns are the last.

    Args:
        mask: bool ``(rows, columns)``; where one side is below 3, the order is :func:`fullest_first`.
    """
    from scipy.sparse.linalg import svds  # here: most visits of the page do without

    if min(mask.shape) < 3 or not mask.any():
        return fullest_first(mask)
    rows, columns = (np.where(count > 0, count, np.inf) ** -0.5 for count in (mask.sum(1), mask.sum(0)))
    left, size, right = svds(rows[:, None] * mask * columns, k=2, v0=np.ones(min(mask.shape)))
    second = int(np.argmin(size))
    sides = (left[:, second], rows), (right[second], columns)
    by_side = [np.where(scale > 0, -vector * scale, np.inf) for vector, scale in sides]
    return np.argsort(by_side[0], kind="stable"), np.argsort(by_side[1], kind="stable")


ORDERS: Mapping[str, Callable[[np.ndarray], Orders] | None] = {
    "as in the model": None,
    "fullest first": fullest_first,
    "grouped": grouped,
}
"""How a map's rows and columns may be ordered, in words."""
