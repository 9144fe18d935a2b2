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

from spade_core.pruning.solvers.common import Problem, Pruned, factorize

LAZY = 128  # columns whose updates of all columns to their right are applied in one product
FEW = 16  # the same within them: small enough for one thread and the processor's cache


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
    if (settled := problem.settled()) is not None:
        return settled
    factor = factorize(problem.second_moment, damping)
    return problem.finish(_sweep(problem, factor.inverse_upper(), block_size), factor.damping)


def _sweep(problem: Problem, upper: Tensor, block_size: int) -> Tensor:
    """Fix all columns from left to right, a block at a time; return the weight.

    The work is done on the transposed weight, so that a column is contiguous, and with the factor's rows divided by
    their diagonal: then a removed weight is passed on as it is, and a column costs one product and one rank-one update.
    """
    columns = problem.weight.transpose(1, 2).contiguous()
    price = upper.diagonal(dim1=1, dim2=2)
    share = upper / price.unsqueeze(2)
    quota = _quotas(problem, block_size)
    cols = columns.shape[1]
    span = max(block_size, LAZY // block_size * block_size)
    for start in range(0, cols, span):
        stop = min(start + span, cols)
        removed = torch.empty_like(columns[:, start:stop])
        for left in range(start, stop, block_size):
            right = min(left + block_size, stop)
            block, forced = columns[:, left:right], problem.forced[..., left:right].transpose(1, 2)
            mask = _choose(block, price[:, left:right], forced, quota[left // block_size])
            _fix_block(
                columns[:, left:stop], share[:, left:right, left:stop], mask, removed[:, left - start : right - start]
            )
            block.masked_fill_(mask, 0)
        columns[:, stop:].baddbmm_(share[:, start:stop, stop:].transpose(1, 2), removed, alpha=-1)
    return columns.transpose(1, 2).contiguous()


def _quotas(problem: Problem, block_size: int) -> list[int]:
    """Return how many unforced weights each block gives up, rounding carried from block to block."""
    free = (~problem.forced).sum(dim=(0, 1)).double()
    wanted = problem.zeros - int(problem.forced.sum())
    cumulative = free.cumsum(0) * (wanted / float(free.sum()))
    ends = [min(end, len(free)) - 1 for end in range(block_size, len(free) + block_size, block_size)]
    reached = cumulative.round().long()[ends].tolist()
    return [after - before for before, after in zip([0, *reached], reached, strict=False)]


def _choose(block: Tensor, price: Tensor, forced: Tensor, count: int) -> Tensor:
    """Return the block's mask, ``(groups, columns, rows)``: the forced weights and the ``count`` cheapest."""
    mask = forced.contiguous().clone()
    if count:
        score = (block / price.unsqueeze(2)).square().masked_fill_(mask, torch.inf)
        mask.view(-1)[score.flatten().topk(count, largest=False, sorted=False).indices] = True
    return mask


def _fix_block(columns: Tensor, share: Tensor, mask: Tensor, removed: Tensor) -> None:
    """Fix the first columns of ``columns``, one for each row of ``share``, and note in ``removed`` what each gave up.

    A few columns at a time are fixed one by one, and all later ones take their updates in one product.

    Args:
        columns: ``(groups, n, rows)``, changed in place; share: ``(groups, fixed, n)``.
        mask, removed: ``(groups, fixed, rows)``; ``removed`` is written.
    """
    fixed = share.shape[1]
    for start in range(0, fixed, FEW):
        stop = min(start + FEW, fixed)
        few, given = columns[:, start:stop], removed[:, start:stop]
        _fix_few(few, share[:, start:stop, start:stop], mask[:, start:stop], given)
        columns[:, stop:].baddbmm_(share[:, start:stop, stop:].transpose(1, 2), given, alpha=-1)


def _fix_few(columns: Tensor, share: Tensor, mask: Tensor, removed: Tensor) -> None:
    """Fix all columns, each by one product and one rank-one update of those to its right."""
    single = columns.shape[0] == 1
    for column in range(columns.shape[1]):
        torch.mul(columns[:, column], mask[:, column], out=removed[:, column])
        later = slice(column + 1, None)
        if single:
            columns[0, later].addr_(share[0, column, later], removed[0, column], alpha=-1)
        else:
            columns[:, later].baddbmm_(share[:, column, later].unsqueeze(2), removed[:, column].unsqueeze(1), alpha=-1)
