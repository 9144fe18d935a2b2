"""Swaps: a mask made better weight by weight, whatever solver chose it.

With each row solved by least squares on its support ``S``, removing a kept weight costs ``w_j^2 / [H_SS^-1]_jj``, and
letting a removed one in gains ``r_q^2 / (H_qq - H_qS H_SS^-1 H_Sq)``, where ``r = H (w0 - w)``. A row exchanges its
cheapest for its most useful weights as long as that pays, several at once; what the others gain or lose meanwhile is
not foreseen, so a row is solved again and keeps the exchange only if its error fell, else it tries half as many. So no
row's error ever rises, and each keeps its number of zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.refit import least_squares, on_support

ROUNDS = 3
SHARE = 8  # of a row's kept weights, one in so many is exchanged at once at first


def swapped(
    weight: Tensor, moment: Tensor, owner: Tensor, mask: Tensor, fixed: Tensor, chunk: int, rounds: int = ROUNDS
) -> Tensor:
    """Return each row's least squares on the support that swaps lead to.

    Args:
        weight: dense, ``(rows, cols)``, of all groups.
        moment: ``(groups, cols, cols)``, positive definite.
        owner: int64 ``(rows,)``, each row's group.
        mask: bool ``(rows, cols)``, what is gone at first; not changed.
        fixed: bool ``(rows, cols)``, what has to stay gone.
        chunk: how many rows are solved at once.
        rounds: at most so many times each row tries.
    """
    mask, solved = mask.clone(), least_squares(weight, moment, owner, mask, chunk)
    error = _error(weight - solved, moment, owner)
    most = ((~mask).sum(1) / SHARE).ceil().long()
    for _ in range(rounds):
        rows = most.nonzero().flatten()
        if not len(rows):
            break
        parts = []
        for part in rows.split(chunk):
            prices = _prices(weight[part], solved[part], moment, owner[part], mask[part])
            parts.append(_exchanged(mask[part], *prices, fixed[part], most[part]))
        tried = torch.cat(parts)
        again = least_squares(weight[rows], moment, owner[rows], tried, chunk)
        found = _error(weight[rows] - again, moment, owner[rows])
        better = found < error[rows]
        taken = rows[better]
        mask[taken], solved[taken], error[taken] = tried[better], again[better], found[better]
        most[rows[~better]] //= 2
    return solved


def _prices(weight: Tensor, solved: Tensor, moment: Tensor, owner: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each kept weight costs and each removed one gains, ``(rows, cols)``; else infinity, and 0."""
    columns, real, square = on_support(moment, owner, mask)
    factor = torch.linalg.cholesky(square)
    price = torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2)
    costs = torch.where(real, solved.gather(1, columns).square() / price, torch.inf)
    loss = torch.full_like(weight, torch.inf).scatter(1, columns, costs).masked_fill(mask, torch.inf)
    cross = moment[owner[:, None, None], columns.unsqueeze(2), torch.arange(weight.shape[1], device=weight.device)]
    explained = torch.linalg.solve_triangular(factor, cross * real.unsqueeze(2), upper=False).square().sum(1)
    diagonal = moment.diagonal(dim1=1, dim2=2)[owner]
    left = (diagonal - explained).clamp(min=torch.finfo(weight.dtype).eps * diagonal)
    gain = _times(weight - solved, moment, owner).square() / left
    return loss, gain.masked_fill(~mask, 0)


def _exchanged(mask: Tensor, loss: Tensor, gain: Tensor, fixed: Tensor, most: Tensor) -> Tensor:
    """Return the mask after each row's cheapest weights went for its most useful ones, at most ``most`` of them."""
    low, out = loss.sort(dim=1, stable=True)
    high, into = gain.masked_fill(fixed, 0).sort(dim=1, descending=True, stable=True)
    pays = (high > low) & (torch.arange(mask.shape[1], device=mask.device) < most.unsqueeze(1))
    after = mask.scatter(1, out, mask.gather(1, out) | pays)
    return after.scatter(1, into, after.gather(1, into) & ~pays)


def _times(rows: Tensor, moment: Tensor, owner: Tensor) -> Tensor:
    """Return each row times its group's moment."""
    return torch.einsum("rc,rcd->rd", rows, moment[owner]) if len(moment) > 1 else rows @ moment[0]


def _error(gap: Tensor, moment: Tensor, owner: Tensor) -> Tensor:
    return (_times(gap, moment, owner) * gap).sum(1)
