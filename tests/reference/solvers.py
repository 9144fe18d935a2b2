"""Solvers as their definitions read: one weight at a time, every inverse computed anew."""

from __future__ import annotations

import torch
from torch import Tensor


def damped(moment: Tensor, damping: float) -> Tensor:
    """``(cols, cols)``: dead inputs stand alone, then a fraction of the mean nonzero diagonal is added."""
    diagonal = moment.diagonal()
    alive = diagonal != 0
    mean = diagonal[alive].mean() if alive.any() else torch.ones((), dtype=moment.dtype)
    return moment + torch.diag(torch.where(alive, torch.zeros_like(diagonal), mean) + damping * mean)


def brute_force_obs(weight: Tensor, moment: Tensor, zeros: int, damping: float) -> Tensor:
    """Greedy elimination over all rows and groups; a row's inverse is recomputed after each removal.

    weight ``(groups, rows, cols)``, moment ``(groups, cols, cols)``. Existing zeros and dead inputs cost nothing.
    """
    weight = weight.clone()
    groups, rows, _ = weight.shape
    start = weight.clone()
    gone = torch.zeros_like(weight, dtype=torch.bool)
    for _ in range(zeros):
        best = (float("inf"), None)
        for g in range(groups):
            h = damped(moment[g], damping)
            for r in range(rows):
                keep = (~gone[g, r]).nonzero().flatten().tolist()
                if not keep:
                    continue
                inverse = torch.linalg.inv(h[keep][:, keep])
                prices = []
                for i, c in enumerate(keep):
                    free = start[g, r, c] == 0 or moment[g, c, c] == 0
                    prices.append(0.0 if free else float(weight[g, r, c] ** 2 / inverse[i, i]))
                i = min(range(len(keep)), key=prices.__getitem__)
                if prices[i] < best[0]:
                    best = (prices[i], (g, r, i, keep, inverse))
        g, r, i, keep, inverse = best[1]
        row = weight[g, r]
        row[keep] = row[keep] - inverse[:, i] * row[keep[i]] / inverse[i, i]
        gone[g, r, keep[i]] = True
        row[gone[g, r]] = 0
    return weight


def naive_sparsegpt(weight: Tensor, moment: Tensor, zeros: int, damping: float, block_size: int) -> Tensor:
    """Column by column; what a removal costs and moves comes from the inverse over the columns not yet fixed."""
    weight = weight.clone()
    groups, rows, cols = weight.shape
    forced = (weight == 0) | (moment.diagonal(dim1=1, dim2=2) == 0).unsqueeze(1)
    free = (~forced).sum((0, 1)).tolist()
    wanted = zeros - int(forced.sum())
    done = 0
    mask = forced.clone()
    for left in range(0, cols, block_size):
        right = min(left + block_size, cols)
        target = round(wanted * sum(free[:right]) / sum(free))
        candidates = []
        for g in range(groups):
            h = damped(moment[g], damping)
            for c in range(left, right):
                price = torch.linalg.inv(h[c:, c:])[0, 0]
                alive = [r for r in range(rows) if not forced[g, r, c]]
                candidates += [(float(weight[g, r, c] ** 2 / price), g, r, c) for r in alive]
        for _, g, r, c in sorted(candidates)[: target - done]:
            mask[g, r, c] = True
        done = target
        for g in range(groups):
            h = damped(moment[g], damping)
            for c in range(left, right):
                inverse = torch.linalg.inv(h[c:, c:])
                for r in range(rows):
                    if mask[g, r, c]:
                        weight[g, r, c:] -= inverse[0] * weight[g, r, c] / inverse[0, 0]
                        weight[g, r, c] = 0
    return weight


def best_on(row: Tensor, moment: Tensor, kept: Tensor) -> tuple[Tensor, float]:
    """Return the row's least squares on ``kept``, int64, and its error ``(row - w)^T moment (row - w)``."""
    found = torch.zeros_like(row)
    if len(kept):
        found[kept] = torch.linalg.solve(moment[kept][:, kept], (moment @ row)[kept])
    gap = row - found
    return found, float(gap @ moment @ gap)
