"""SPADE's exact solver: optimal brain surgeon, one weight at a time (Frantar, Singh & Alistarh 2022; SPADE, 3.2).

Removing weight ``p`` of a row costs ``w_p^2 / [H^-1]_pp`` when the row's other weights adapt optimally. Each row is
eliminated greedily; the layer always takes the row whose next removal is cheapest, until it has its zeros.

All rows start from one inverse and differ by low-rank terms: after ``t`` removals a row's inverse is ``H^-1 - V V^T``
with ``V`` of ``t`` columns. Only ``V`` is private, and rows are treated in chunks: no inverse is held for every row.
At the end each row is solved once more for its mask by least squares, which removes the rounding of the elimination.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned, factorize

CHUNK_BYTES = 256 * 2**20


def prune(
    weight: Tensor,
    second_moment: Tensor,
    sparsity: float,
    *,
    block_size: int = 1,
    damping: float = 0.0,
    selection: str = "greedy",
) -> Pruned:
    """Prune one layer with exact OBS.

    Args:
        weight: ``(rows, cols)`` or ``(groups, rows, cols)``, any float dtype; not changed.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``, mean of ``x x^T``; float32 or float64, the dtype of
            the computation; not changed.
        sparsity: fraction of zeros, 0 to 1; existing zeros count.
        block_size: neighbouring columns that are removed together; the count is then exact to one block.
        damping: added to the diagonal, as a fraction of the mean nonzero diagonal.
        selection: ``greedy`` takes the row whose next removal is cheapest; ``sorted`` sorts the losses of all removals
            and cuts each row at its own count, as the authors' code does.

    Returns:
        The pruned weight; its zeros are ``round(sparsity * numel)`` (for blocks: to within one block) or the existing
        ones if these are more.

    Raises:
        ValueError: shapes, dtypes, options or values that cannot be solved.
    """
    if block_size < 1 or selection not in ("greedy", "sorted"):
        raise ValueError("block_size must be at least 1 and selection 'greedy' or 'sorted'")
    problem = Problem.build(weight, second_moment, sparsity)
    if (settled := problem.settled()) is not None:
        return settled
    factor = factorize(problem.second_moment, damping)
    inverse = torch.cholesky_inverse(factor.cholesky)
    groups, rows, cols = problem.weight.shape
    chunk = max(1, CHUNK_BYTES // (cols * cols * inverse.element_size()))
    owner = torch.arange(groups, device=inverse.device).repeat_interleave(rows)
    weight_rows, forced = problem.weight.view(-1, cols), problem.forced.view(-1, cols)
    parts = [
        _Rows(weight_rows[part].clone(), inverse, owner[part], forced[part], block_size).eliminate()
        for part in torch.arange(groups * rows, device=inverse.device).split(chunk)
    ]
    order, losses = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    mask = _mask(order, losses, forced, problem.zeros, block_size, selection)
    return problem.finish(_refit(weight_rows, factor.moment, owner, mask, chunk), factor.damping)


class _Rows:
    """Rows under elimination, of any groups, all at once.

    ``low_rank[r, :, :used]`` is ``V`` of row ``r``: its inverse is ``inverse[owner[r]] - V V^T``, and ``diagonal[r]``
    is that matrix's diagonal.
    """

    def __init__(self, weight: Tensor, inverse: Tensor, owner: Tensor, forced: Tensor, block_size: int) -> None:
        self.weight, self.inverse, self.owner, self.forced, self.block = weight, inverse, owner, forced, block_size
        self.rows, self.cols = weight.shape
        self.index = torch.arange(self.rows, device=weight.device)
        self.diagonal = inverse.diagonal(dim1=1, dim2=2)[owner].clone()
        self.removed = torch.zeros_like(forced)
        self.low_rank = weight.new_zeros(self.rows, self.cols, self.cols)
        self.used = 0

    def eliminate(self) -> tuple[Tensor, Tensor]:
        """Remove block after block; return which goes at which step and at what loss, each ``(rows, blocks)``."""
        blocks = -(-self.cols // self.block)
        if self.block > 1:  # a block is priced as a whole: what goes first whatever its block must be gone before
            first, counts = (~self.forced).int().argsort(dim=1, stable=True), self.forced.sum(1)
            for step in range(int(counts.max())):
                self._remove(first[:, step], step < counts)
        gone = torch.zeros(self.rows, blocks, dtype=torch.bool, device=self.weight.device)
        order, losses = [], []
        for _ in range(blocks):
            loss = (self._losses() if self.block == 1 else self._block_losses(blocks)).masked_fill_(gone, torch.inf)
            chosen = loss.argmin(1)
            gone[self.index, chosen] = True
            order.append(chosen)
            losses.append(loss[self.index, chosen])
            for offset in range(self.block):
                column = chosen * self.block + offset
                self._remove(column.clamp(max=self.cols - 1), column < self.cols)
        return torch.stack(order, 1), torch.stack(losses, 1)

    def _losses(self) -> Tensor:
        return (self.weight.square() / self.diagonal).masked_fill_(self.forced, 0)

    def _block_losses(self, blocks: int) -> Tensor:
        """Return ``w_P^T ([H^-1]_PP)^-1 w_P`` of every block P, over the columns of P that are still there."""
        losses = self.weight.new_empty(self.rows, blocks)
        for block in range(blocks):
            part = slice(block * self.block, min((block + 1) * self.block, self.cols))
            terms = self.low_rank[:, part, : self.used]
            inner = self.inverse[:, part, part][self.owner] - terms @ terms.transpose(1, 2)
            there = ~self.removed[:, part]
            eye = torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
            inner = torch.where(there.unsqueeze(1) & there.unsqueeze(2), inner, eye)
            w = torch.where(there, self.weight[:, part], 0).unsqueeze(-1)
            losses[:, block] = (w * torch.linalg.solve(inner, w)).sum(dim=(1, 2))
        return losses

    def _remove(self, column: Tensor, wanted: Tensor) -> None:
        """Remove one column of every row where ``wanted``, adapting the row's other weights and its inverse."""
        wanted = wanted & ~self.removed[self.index, column]
        terms = self.low_rank[:, :, : self.used]
        direction = self.inverse[self.owner, column] - (terms @ terms[self.index, column].unsqueeze(-1)).squeeze(-1)
        direction = direction.masked_fill(self.removed, 0)
        pivot = direction[self.index, column].clamp(min=torch.finfo(direction.dtype).tiny)
        direction = direction * torch.where(wanted, pivot.rsqrt(), 0).unsqueeze(1)
        amount = self.weight[self.index, column] * torch.where(wanted, pivot.rsqrt(), 0)
        self.weight -= direction * amount.unsqueeze(1)
        self.diagonal -= direction.square()
        self.removed[self.index, column] |= wanted
        self.weight.masked_fill_(self.removed, 0)
        self.diagonal.masked_fill_(self.removed, 1)
        self.low_rank[:, :, self.used] = direction
        self.used = min(self.used + 1, self.cols - 1)


def _mask(order: Tensor, losses: Tensor, forced: Tensor, zeros: int, block_size: int, selection: str) -> Tensor:
    """Return which weights go, bool ``(rows, cols)``: the cheapest blocks of all rows until ``zeros`` are reached."""
    rows, cols = forced.shape
    blocks = torch.arange(cols, device=order.device) // block_size
    counted = forced if block_size > 1 else torch.zeros_like(forced)  # removed beforehand, block by block
    sizes = torch.zeros_like(order).index_add_(1, blocks, (~counted).long()).gather(1, order)
    # Always taking the row whose next removal is cheapest is sorting by the largest loss met so far in the row.
    key = losses.cummax(1).values if selection == "greedy" else losses
    ranked = key.flatten().argsort(stable=True)
    reached = torch.cat([sizes.new_zeros(1), sizes.flatten()[ranked].cumsum(0)]) + counted.sum()
    taken = int((reached - zeros).abs().argmin())
    counts = torch.bincount(ranked[:taken] // order.shape[1], minlength=rows)
    steps = torch.arange(order.shape[1], device=order.device) < counts.unsqueeze(1)
    return torch.zeros_like(steps).scatter_(1, order, steps)[:, blocks] | counted


def _refit(weight: Tensor, moment: Tensor, owner: Tensor, mask: Tensor, chunk: int) -> Tensor:
    """Solve each row for its mask: the kept weights are ``w_K + H_KK^-1 H_KS w_S``."""
    solved = torch.zeros_like(weight)
    kept = (~mask).sum(1)
    for rows in kept.argsort(descending=True, stable=True).split(chunk):
        width = int(kept[rows].max())
        if width == 0:
            break
        columns = mask[rows].int().argsort(dim=1, stable=True)[:, :width]  # the kept ones first
        real = torch.arange(width, device=weight.device) < kept[rows].unsqueeze(1)
        group = owner[rows]
        square = moment[group[:, None, None], columns.unsqueeze(2), columns.unsqueeze(1)]
        eye = torch.eye(width, dtype=weight.dtype, device=weight.device)
        square = torch.where(real.unsqueeze(1) & real.unsqueeze(2), square, eye)
        gone = weight[rows] * mask[rows]
        moved = torch.einsum("rc,rcd->rd", gone, moment[group]) if moment.shape[0] > 1 else gone @ moment[0]
        right = torch.where(real, moved.gather(1, columns), 0).unsqueeze(-1)
        change = torch.cholesky_solve(right, torch.linalg.cholesky(square)).squeeze(-1)
        adapted = weight[rows].gather(1, columns) + change
        solved[rows] = solved[rows].scatter(1, columns, torch.where(real, adapted, 0))
    return solved
