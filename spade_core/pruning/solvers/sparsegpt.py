"""FastSPADE: one pass over the columns with one Cholesky factor for all rows (Frantar & Alistarh 2023; SPADE, 3.2).

With ``U`` the upper Cholesky factor of ``H^-1``, row ``j`` of ``U`` holds what the columns right of ``j`` must absorb
when column ``j`` is changed, and ``U_jj`` the price: removing ``w_j`` costs ``(w_j / U_jj)^2``. For each block of
``block_size`` columns the cheapest weights are chosen, then the block's columns are fixed from left to right.

``U`` is never formed. It is the inverse of ``V``, upper triangular with ``H = V V^T``; what the columns ``B`` absorb of
all changes ``D`` left of them is ``D V_:B V_BB^-1``, so only small diagonal blocks are inverted.

Differences from the authors' code: the number of zeros is exact (the rounding is carried from block to block), existing
zeros and dead inputs go first, and the groups of a grouped convolution are solved at once and compete for the zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned, factorize

LAZY = 128  # columns that absorb at once what all columns to their left gave up


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
    # The factor of the reversed matrix is that of H from its lower right corner.
    factor = factorize(problem.second_moment.flip(1, 2), damping)
    return problem.finish(_sweep(problem, factor.cholesky.flip(1, 2), block_size), factor.damping)


def _sweep(problem: Problem, upper: Tensor, block_size: int) -> Tensor:
    """Fix all columns from left to right; return the weight.

    The work is done on the transposed weight, so that a column is contiguous.

    Args:
        upper: ``V``, ``(groups, cols, cols)``.
    """
    columns, forced = problem.weight.transpose(1, 2).contiguous(), problem.forced.permute(2, 0, 1).contiguous()
    changed = torch.empty_like(columns)
    quota, cols = _quotas(problem, block_size), columns.shape[1]
    span = max(block_size, LAZY // block_size * block_size)
    eye = torch.eye(min(span, cols), dtype=columns.dtype, device=columns.device).expand(len(columns), -1, -1)
    for start in range(0, cols, span):
        part = slice(start, min(start + span, cols))
        few, size = columns[:, part], part.stop - start
        changed[:, part] = few
        inverse = torch.linalg.solve_triangular(upper[:, part, part], eye[:, :size, :size], upper=True)
        if start:
            few.baddbmm_(inverse.transpose(1, 2), upper[:, :start, part].transpose(1, 2) @ changed[:, :start])
        counts = quota[start // block_size : -(-part.stop // block_size)]
        _Stretch(few, inverse, forced[part], block_size, counts).choose(0, size)
        changed[:, part] -= few
    return columns.transpose(1, 2).contiguous()


def _quotas(problem: Problem, block_size: int) -> list[int]:
    """Return how many unforced weights each block gives up, rounding carried from block to block."""
    free = (~problem.forced).sum(dim=(0, 1)).double()
    wanted = problem.zeros - int(problem.forced.sum())
    cumulative = free.cumsum(0) * (wanted / float(free.sum()))
    ends = [min(end, len(free)) - 1 for end in range(block_size, len(free) + block_size, block_size)]
    reached = cumulative.round().long()[ends].tolist()
    return [after - before for before, after in zip([0, *reached], reached, strict=False)]


class _Stretch:
    """Neighbouring columns, fixed by halves: the left half, what the right half absorbs of it, the right half.

    With the factor's rows divided by their diagonal a removed weight is passed on as it is.

    Args:
        columns: ``(groups, n, rows)``, changed in place.
        inverse: the stretch's part of ``U``, ``(groups, n, n)``.
        forced: bool ``(n, groups, rows)``, what goes in any case.
        counts: how many weights beside the forced ones go in each block of ``block_size`` columns.
    """

    def __init__(self, columns: Tensor, inverse: Tensor, forced: Tensor, block_size: int, counts: list[int]) -> None:
        price = inverse.diagonal(dim1=1, dim2=2).unsqueeze(2)
        self.columns, self.block, self.counts = columns, block_size, counts
        self.forced, self.mask = forced if bool(forced.any()) else None, forced.to(columns.dtype)
        self.worth, self.share = price.reciprocal(), (inverse / price).transpose(1, 2).contiguous()
        self.removed = torch.empty_like(columns)

    def choose(self, left: int, right: int) -> None:
        """Choose what goes, block by block, and fix the columns from ``left`` to before ``right``."""
        if right - left > self.block:
            middle = left + -(-(right - left) // (2 * self.block)) * self.block
            self.choose(left, middle)
            self._absorb(left, middle, right)
            self.choose(middle, right)
            return
        if count := self.counts[left // self.block]:
            score = self.columns[:, left:right].abs().mul_(self.worth[:, left:right]).transpose(0, 1)
            score = score if self.forced is None else score.masked_fill_(self.forced[left:right], torch.inf)
            cheapest = score.flatten().topk(count, largest=False, sorted=False).indices
            self.mask[left:right].view(-1).index_fill_(0, cheapest, 1)
        self._fix(left, right)
        self.columns[:, left:right] -= self.removed[:, left:right]

    def _fix(self, left: int, right: int) -> None:
        if right - left == 1:
            torch.mul(self.columns[:, left], self.mask[left], out=self.removed[:, left])
            return
        middle = (left + right + 1) // 2
        self._fix(left, middle)
        self._absorb(left, middle, right)
        self._fix(middle, right)

    def _absorb(self, left: int, middle: int, right: int) -> None:
        """Let the columns from ``middle`` on absorb what those before gave up."""
        share, removed = self.share[:, middle:right, left:middle], self.removed[:, left:middle]
        if len(share) == 1:  # one matrix: less overhead
            self.columns[0, middle:right].addmm_(share[0], removed[0], alpha=-1)
        else:
            self.columns[:, middle:right].baddbmm_(share, removed, alpha=-1)
