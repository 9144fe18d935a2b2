"""SPADE's exact solver: optimal brain surgeon, one weight at a time (Frantar, Singh & Alistarh 2022; SPADE, 3.2).

Removing weight ``p`` of a row costs ``w_p^2 / [H^-1]_pp`` when the row's other weights adapt optimally. Each row is
eliminated greedily, which gives the losses of all its removals in their order. The layer takes the cheapest of all rows
until it has its zeros (``global``, the paper's), or as many of each row (``row``).

Each row holds the inverse over the columns that it still has. Removals are noted as vectors, and every ``RANK`` of them
are taken off the inverse in one product, which then shrinks: the columns that go are overwritten by the last ones. So
a row costs ``cols^3 / 3`` multiply-adds in matrix products. At the end each row is solved once more for its mask by
least squares, which removes the rounding of the elimination.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned, factorize
from spade_core.pruning.solvers.refit import least_squares

CHUNK_BYTES = 128 * 2**20  # of the inverses that are held at once
RANK = 48


def prune(
    weight: Tensor,
    second_moment: Tensor,
    sparsity: float,
    *,
    block_size: int = 1,
    damping: float = 0.0,
    selection: str = "global",
) -> Pruned:
    """Prune one layer with exact OBS.

    Args:
        weight: ``(rows, cols)`` or ``(groups, rows, cols)``, any float dtype; not changed.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``, mean of ``x x^T``; float32 or float64, the dtype of
            the computation; not changed.
        sparsity: fraction of zeros, 0 to 1; existing zeros count.
        block_size: accepted for the common signature, without effect: weights go one at a time.
        damping: added to the diagonal, as a fraction of the mean nonzero diagonal.
        selection: ``global`` takes the row whose next removal is cheapest; ``row`` gives all rows as many zeros, to
            within one.

    Returns:
        The pruned weight; its zeros are ``round(sparsity * numel)`` or the existing ones if these are more.

    Raises:
        ValueError: shapes, dtypes, options or values that cannot be solved.
    """
    del block_size
    if selection not in ("global", "row"):
        raise ValueError("selection must be 'global' or 'row'")
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
        _Rows(weight_rows[part], inverse[owner[part]], forced[part]).eliminate()
        for part in torch.arange(groups * rows, device=inverse.device).split(chunk)
    ]
    order, losses = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    mask = torch.zeros_like(forced).scatter_(1, order, _taken(losses, problem.zeros, selection))
    return problem.finish(least_squares(weight_rows, factor.moment, owner, mask, chunk), factor.damping)


def prune_rows(
    weight: Tensor, second_moment: Tensor, sparsity: float, *, block_size: int = 1, damping: float = 0.0
) -> Pruned:
    """Prune as :func:`prune` does, every row alike."""
    return prune(weight, second_moment, sparsity, block_size=block_size, damping=damping, selection="row")


class _Rows:
    """Rows under elimination, of any groups, all at once.

    The first ``left`` places of each row hold the columns ``columns[r]`` that it still has. Its inverse over them is
    ``inverse[r] - V^T V``, where ``V`` are the ``pending`` removals, ``vectors[r]``.
    """

    def __init__(self, weight: Tensor, inverse: Tensor, forced: Tensor) -> None:
        """Begin; ``inverse`` is ``(rows, cols, cols)``, the rows' own, and is overwritten."""
        self.weight, self.inverse, self.forced = weight.clone(), inverse, forced.clone()
        self.index = torch.arange(len(weight), device=weight.device)
        self.columns = torch.arange(weight.shape[1], device=weight.device).repeat(len(weight), 1)
        self.vectors = weight.new_empty(len(weight), RANK, weight.shape[1])
        self.left = weight.shape[1]

    def eliminate(self) -> tuple[Tensor, Tensor]:
        """Remove weight after weight; return which goes at which step and at what loss, each ``(rows, cols)``."""
        order, losses = [], []
        while self.left:
            gone = torch.zeros_like(self.forced[:, : self.left])
            diagonal = self.inverse.diagonal(dim1=1, dim2=2)[:, : self.left].clone()
            for pending in range(min(RANK, self.left)):
                place, loss = self._remove(diagonal, gone, pending)
                order.append(self.columns[self.index, place])
                losses.append(loss)
            self._shrink(gone, pending + 1)
        return torch.stack(order, 1), torch.stack(losses, 1)

    def _remove(self, diagonal: Tensor, gone: Tensor, pending: int) -> tuple[Tensor, Tensor]:
        """Remove each row's cheapest weight, adapting its others; return its place and its loss."""
        weight = self.weight[:, : self.left]
        price = (weight.square() / diagonal).masked_fill_(self.forced[:, : self.left], 0).masked_fill_(gone, torch.inf)
        loss, place = price.min(1)
        vectors = self.vectors[:, :pending, : self.left]
        direction = self.inverse[self.index, place, : self.left]
        if pending:
            direction = torch.baddbmm(
                direction.unsqueeze(1), vectors[self.index, :, place].unsqueeze(1), vectors, alpha=-1
            )
            direction = direction.squeeze(1)
        gone[self.index, place] = True
        pivot = direction[self.index, place].clamp(min=torch.finfo(direction.dtype).tiny).rsqrt().unsqueeze(1)
        direction = direction * pivot
        weight.addcmul_(direction, weight[self.index, place].unsqueeze(1) * pivot, value=-1).masked_fill_(gone, 0)
        diagonal.addcmul_(direction, direction, value=-1).masked_fill_(gone, 1)
        self.vectors[:, pending, : self.left] = direction
        return place, loss

    def _shrink(self, gone: Tensor, count: int) -> None:
        """Let the last places that remain take those that went, then take the pending removals off the inverse."""
        kept = self.left - count
        late = torch.arange(self.left, device=gone.device) >= kept
        # Where a row has fewer holes than another, a place that is cut off moves onto itself.
        hole = (gone & ~late).byte().argsort(dim=1, descending=True, stable=True)[:, :count]
        moves = gone.gather(1, hole) & (hole < kept)
        last = (~gone & late).byte().argsort(dim=1, descending=True, stable=True)[:, :count]
        hole, last = hole.where(moves, self.left - 1), last.where(moves, self.left - 1)
        for tensor in (self.weight, self.forced, self.columns):
            tensor.scatter_(1, hole, tensor.gather(1, last))
        rows = last.unsqueeze(2).expand(-1, -1, self.left), hole.unsqueeze(2).expand(-1, -1, self.left)
        inverse, vectors = self.inverse[:, : self.left, : self.left], self.vectors[:, :count, : self.left]
        inverse.scatter_(1, rows[1], inverse.gather(1, rows[0]))
        inverse.scatter_(2, rows[1].transpose(1, 2), inverse.gather(2, rows[0].transpose(1, 2)))
        wide = last.unsqueeze(1).expand(-1, count, -1), hole.unsqueeze(1).expand(-1, count, -1)
        vectors.scatter_(2, wide[1], vectors.gather(2, wide[0]))
        self.left = kept
        vectors = self.vectors[:, :count, :kept]
        self.inverse[:, :kept, :kept].baddbmm_(vectors.transpose(1, 2), vectors, alpha=-1)


def _taken(losses: Tensor, zeros: int, selection: str) -> Tensor:
    """Return how far each row's elimination is taken, bool ``(rows, steps)``, ``zeros`` steps in all."""
    rows, steps = losses.shape
    # Always taking the row whose next removal is cheapest is sorting by the largest loss met so far in the row.
    key = losses.cummax(1).values
    if selection == "row":  # all rows' first steps, then all rows' second ones ...
        key = torch.arange(steps, device=losses.device).expand(rows, -1) + key / (1 + key.max()) / 2
    counts = torch.bincount(key.flatten().argsort(stable=True)[:zeros] // steps, minlength=rows)
    return torch.arange(steps, device=losses.device) < counts.unsqueeze(1)
