"""FastSPADE: one pass over the columns with one Cholesky factor for all rows (Frantar & Alistarh 2023; SPADE, 3.2).

With ``U`` the upper Cholesky factor of ``H^-1``, row ``j`` of ``U`` holds what the columns right of ``j`` must absorb
when column ``j`` is changed, and ``U_jj`` the price: removing ``w_j`` costs ``(w_j / U_jj)^2``. For each block of
``block_size`` columns the cheapest weights are chosen, then the block's columns are fixed from left to right.

Differences from the authors' code: the number of zeros is exact (the rounding is carried from block to block), existing
zeros and dead inputs go first, and the groups of a grouped convolution are solved at once and compete for the zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.solvers.common import Problem, Pruned, factorize

__all__ = ["prune"]

LAZY = 128  # columns whose updates of the columns to their right are applied in one product


def prune(
    weight: Tensor, second_moment: Tensor, sparsity: float, *, block_size: int = 1, damping: float = 0.01
) -> Pruned:
    """Prune one layer with FastSPADE.

    Args:
        weight: ``(rows, cols)`` or ``(groups, rows, cols)``, any float dtype; not changed.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``, mean of ``x x^T``; float32 or float64, the dtype of
            the computation; not changed.
        sparsity: fraction of zeros, 0 to 1; existing zeros count.
        block_size: columns per mask choice; the authors use kh x kw for convolutions and 1 for linear layers.
        damping: added to the diagonal, as a fraction of the mean nonzero diagonal.

    Returns:
        The pruned weight; its zeros are ``round(sparsity * numel)`` or the existing ones if these are more.

    Raises:
        ValueError: shapes, dtypes or values that cannot be solved.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, not {block_size}")
    problem = Problem.build(weight, second_moment, sparsity)
    if problem.zeros <= problem.existing:
        return problem.unchanged()
    spent = problem.spent_on_forced()
    if spent is not None:
        return problem.finish(spent, 0.0)
    factor = factorize(problem.second_moment, damping)
    solved = _sweep(problem, factor.inverse_upper(), block_size)
    return problem.finish(solved, factor.damping)


def _sweep(problem: Problem, upper: Tensor, block_size: int) -> Tensor:
    weight, cols = problem.weight, problem.weight.shape[-1]
    quota = _quotas(problem, block_size)
    span = max(block_size, LAZY // block_size * block_size)
    for start in range(0, cols, span):
        stop = min(start + span, cols)
        errors = torch.empty_like(weight[..., start:stop])
        for left in range(start, stop, block_size):
            right = min(left + block_size, stop)
            mask = _choose(problem, upper, left, right, quota[left // block_size])
            _fix_block(weight, upper, mask, errors, (start, left, right, stop))
        weight[..., stop:] -= errors @ upper[:, start:stop, stop:]
    return weight


def _quotas(problem: Problem, block_size: int) -> list[int]:
    """Return how many unforced weights each block gives up, rounding carried from block to block."""
    free = (~problem.forced).sum(dim=(0, 1)).double()
    wanted = problem.zeros - int(problem.forced.sum())
    cumulative = free.cumsum(0) * (wanted / float(free.sum()))
    ends = [min(end, len(free)) - 1 for end in range(block_size, len(free) + block_size, block_size)]
    reached = cumulative.round().long()[ends].tolist()
    return [after - before for before, after in zip([0, *reached], reached, strict=False)]


def _choose(problem: Problem, upper: Tensor, left: int, right: int, count: int) -> Tensor:
    """Return the block's mask, ``(groups, rows, right - left)``: the forced weights and the ``count`` cheapest."""
    forced = problem.forced[..., left:right]
    if count == 0:
        return forced.clone()
    price = upper.diagonal(dim1=1, dim2=2)[:, None, left:right]
    score = (problem.weight[..., left:right] / price).square().masked_fill_(forced, torch.inf).flatten()
    mask = forced.flatten().clone()
    mask[score.topk(count, largest=False).indices] = True
    return mask.view_as(forced)


def _fix_block(weight: Tensor, upper: Tensor, mask: Tensor, errors: Tensor, bounds: tuple[int, int, int, int]) -> None:
    """Fix the columns ``left..right``; pass their errors on to the columns up to ``stop``, and note them for later."""
    start, left, right, stop = bounds
    for column in range(left, right):
        removed = torch.where(mask[..., column - left], weight[..., column], 0)
        error = removed / upper[:, None, column, column]
        weight[..., column + 1 : stop] -= error.unsqueeze(-1) * upper[:, None, column, column + 1 : stop]
        weight[..., column].masked_fill_(mask[..., column - left], 0)
        errors[..., column - start] = error
