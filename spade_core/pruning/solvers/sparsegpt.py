"""FastSPADE: one pass over the columns with one Cholesky factor for all rows (Frantar & Alistarh 2023; SPADE, 3.2).

With ``U`` the upper Cholesky factor of ``H^-1``, row ``j`` of ``U`` holds what the columns right of ``j`` must absorb
when column ``j`` is changed, and ``U_jj`` the price: removing ``w_j`` costs ``(w_j / U_jj)^2``. For each block of
``block_size`` columns the cheapest weights are chosen, then the block's columns are fixed from left to right.

``U`` is never formed. It is the inverse of ``V``, upper triangular with ``H = V V^T``; what the columns ``B`` absorb of
all changes ``D`` left of them is ``D V_:B V_BB^-1``, so only small diagonal blocks are inverted.

Differences from the authors' code: the number of zeros is exact (the rounding is carried from block to block), existing
zeros and dead inputs go first, and the groups of a grouped convolution are solved at once and compete for the zeros.
One weight under several second moments, as the traces of a bundle ask for it, is swept in one go.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned, factorize_upper

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
    return prune_many([weight], [second_moment], sparsity, block_size=block_size, damping=damping)[0]


def prune_many(
    weights: Sequence[Tensor],
    second_moments: Sequence[Tensor],
    sparsity: float,
    *,
    block_size: int = 1,
    damping: float = 0.01,
) -> list[Pruned]:
    """Prune several problems of one shape; what each gets is what :func:`prune` gives, up to rounding.

    They are swept side by side: the columns are walked through once, and a step works on all problems.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, not {block_size}")
    problems = [Problem.build(*given, sparsity) for given in zip(weights, second_moments, strict=True)]
    found = [one.settled() for one in problems]
    unsettled = [one for one, settled in zip(problems, found, strict=True) if settled is None]
    if unsettled:
        factors = [factorize_upper(one.second_moment, damping) for one in unsettled]
        swept = _sweep(unsettled, _joined([factor for factor, _ in factors]), block_size)
        pairs = zip(unsettled, factors, swept, strict=True)
        solved = iter([_finished(one, *of_one, used) for one, (_, used), of_one in pairs])
        return [next(solved) if settled is None else settled for settled in found]
    return [settled for settled in found if settled is not None]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _finished(problem: Problem, weight: Tensor, price: Tensor, damping: float) -> Pruned:
    """Return the solved layer and its loss: the price of all removals, less what the damping added to it."""
    diagonal = problem.second_moment.diagonal(dim1=1, dim2=2).double()
    alive = diagonal != 0
    mean = diagonal.sum(1) / alive.sum(1).clamp(min=1)
    change = (weight - problem.weight).square().sum(1, dtype=torch.float64)
    loss = float((price - damping * mean * (change * alive).sum(1)).sum())
    return problem.finish(weight, damping, max(0.0, loss))


def _sweep(problems: Sequence[Problem], upper: Tensor, block_size: int) -> list[tuple[Tensor, Tensor]]:
    """Fix all columns from left to right; return each problem's weight, and what its removals cost, ``(groups,)``.

    The cost is that of the damped moment, float64; weights on dead inputs cost nothing.

    The work is done on the transposed weights, so that a column is contiguous.

    Args:
        upper: ``V``, ``(problems * groups, cols, cols)``; what lies below its diagonal is not read.
    """
    columns = _joined([one.weight for one in problems]).transpose(1, 2).clone(memory_format=torch.contiguous_format)
    forced = _joined([one.forced for one in problems]).permute(2, 0, 1).contiguous()
    alive = _joined([one.second_moment.diagonal(dim1=1, dim2=2) != 0 for one in problems])
    prices = torch.zeros(len(columns), dtype=torch.float64, device=columns.device)
    changed = torch.empty_like(columns)
    quotas, cols = list(zip(*(_quotas(one, block_size) for one in problems), strict=True)), columns.shape[1]
    span = max(block_size, LAZY // block_size * block_size)
    eye = torch.eye(min(span, cols), dtype=columns.dtype, device=columns.device).expand(len(columns), -1, -1)
    for start in range(0, cols, span):
        part = slice(start, min(start + span, cols))
        few, size = columns[:, part], part.stop - start
        changed[:, part] = few
        inverse = torch.linalg.solve_triangular(upper[:, part, part], eye[:, :size, :size], upper=True)
        if start:
            few.baddbmm_(inverse.transpose(1, 2), upper[:, :start, part].transpose(1, 2) @ changed[:, :start])
        counts = quotas[start // block_size : -(-part.stop // block_size)]
        stretch = _Stretch(few, inverse, forced[part], block_size, counts)
        stretch.choose(0, size)
        prices += (stretch.prices() * alive[:, part]).sum(1)
        changed[:, part] -= few
    weights = columns.transpose(1, 2).contiguous().chunk(len(problems))
    return list(zip(weights, prices.chunk(len(problems)), strict=True))


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
        columns: ``(problems * groups, n, rows)``, changed in place.
        inverse: the stretch's part of ``U``, ``(problems * groups, n, n)``.
        forced: bool ``(n, problems * groups, rows)``, what goes in any case.
        counts: how many weights of each problem, beside the forced ones, go in each block of ``block_size`` columns.
    """

    def __init__(
        self, columns: Tensor, inverse: Tensor, forced: Tensor, block_size: int, counts: list[tuple[int, ...]]
    ) -> None:
        price = inverse.diagonal(dim1=1, dim2=2).unsqueeze(2)
        self.columns, self.block, self.counts, self.problems = columns, block_size, counts, len(counts[0])
        self.forced, self.mask = forced if bool(forced.any()) else None, forced.to(columns.dtype)
        self.worth, self.share = price.reciprocal(), (inverse / price).transpose(1, 2).contiguous()
        self.removed = torch.zeros_like(columns)
        # Taken apart once: there are tens of thousands of steps, and each view costs as much as its product.
        self._whole = list(zip(columns.unbind(), self.share.unbind(), self.removed.unbind(), strict=True))
        # Columns that are chosen one by one need no mask where each problem gives up as many weights: a dead input in
        # another stretch makes one of them give up others here.
        alike = all(min(count) == max(count) for count in counts)
        lone = block_size == 1 and len(columns) == self.problems and self.forced is None and alike
        self._lone = (
            list(zip(*(one.unbind(1) for one in (columns, self.worth, self.removed)), strict=True)) if lone else []
        )
        self._single = (
            [] if lone else list(zip(columns.unbind(1), self.mask.unbind(0), self.removed.unbind(1), strict=True))
        )
        # One matrix a problem: less overhead, and the same bits alone and beside others.
        self._apart = len(columns) == 1 or (len(columns) == self.problems and columns.device.type == "cpu")

    def choose(self, left: int, right: int) -> None:
        """Choose what goes, block by block, and fix the columns from ``left`` to before ``right``."""
        if right - left > self.block:
            middle = left + -(-(right - left) // (2 * self.block)) * self.block
            self.choose(left, middle)
            self._absorb(left, middle, right)
            self.choose(middle, right)
            return
        if not max(counts := self.counts[left // self.block]) and self.forced is None:
            return
        if self._lone:
            column, worth, removed = self._lone[left]
            lowest = column.abs().mul_(worth).topk(counts[0], largest=False, sorted=False).indices
            removed.scatter_(1, lowest, column.gather(1, lowest))
            column.scatter_(1, lowest, 0)
            return
        if max(counts):
            score = self.columns[:, left:right].abs().mul_(self.worth[:, left:right]).transpose(0, 1)
            score = score if self.forced is None else score.masked_fill_(self.forced[left:right], torch.inf)
            _mark(self.mask[left:right], score, counts)
        self._fix(left, right)
        self.columns[:, left:right] -= self.removed[:, left:right]

    def prices(self) -> Tensor:
        """Return what the removals of each column cost, float64 ``(problems * groups, n)``."""
        return (self.removed * self.worth).square().sum(2, dtype=torch.float64)

    def _fix(self, left: int, right: int) -> None:
        if right - left == 1:
            column, mask, removed = self._single[left]
            torch.mul(column, mask, out=removed)
            return
        middle = (left + right + 1) // 2
        self._fix(left, middle)
        self._absorb(left, middle, right)
        self._fix(middle, right)

    def _absorb(self, left: int, middle: int, right: int) -> None:
        """Let the columns from ``middle`` on absorb what those before gave up."""
        if self._apart:
            for own, share, removed in self._whole:
                own[middle:right].addmm_(share[middle:right, left:middle], removed[left:middle], alpha=-1)
        else:
            share, removed = self.share[:, middle:right, left:middle], self.removed[:, left:middle]
            self.columns[:, middle:right].baddbmm_(share, removed, alpha=-1)


def _mark(mask: Tensor, score: Tensor, counts: Sequence[int]) -> None:
    """Set ``mask`` to 1 at each problem's lowest scores, as many as it ``counts``.

    Args:
        mask, score: ``(columns, problems * groups, rows)``.
    """
    if len(counts) == 1:
        mask.view(-1).index_fill_(0, score.flatten().topk(counts[0], largest=False, sorted=False).indices, 1)
        return
    score, own = (one.unflatten(1, (len(counts), -1)).transpose(0, 1) for one in (score, mask))
    even, apart = min(counts) == max(counts), score.flatten(1)
    lowest = apart.topk(max(counts), largest=False, sorted=not even).indices
    marked = torch.zeros_like(apart, dtype=torch.bool)
    if even:
        marked.scatter_(1, lowest, True)
    else:
        for flat, order, count in zip(marked, lowest, counts, strict=True):
            flat[order[:count]] = True
    own.masked_fill_(marked.view_as(own), 1)
