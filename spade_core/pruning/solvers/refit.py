"""A damped refit on the support, after any solver (ours): the surviving weights are solved once more, mildly.

A solver's compensation bends the surviving weights far from the dense ones, and saliency maps suffer for it. With the
mask kept, each row takes the weights that minimise ``(w - w*)^T (H + ridge mean(diag H) I) (w - w*)``: the larger the
ridge, the less they move. ``w*`` is the dense weight, or the fit of a sequential calibration.

All rows are solved at once by conjugate gradients (Hestenes & Stiefel 1952), each on its own support: a step is one
product of all rows with the matrix, whatever the supports are. The ridge bounds the condition, and the moments of a few
views are a few directions beside it, so some ten steps reach the rounding of the dtype; a Cholesky factorization of
each row's own system took up to thirty times as long, and was no closer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import damped
from spade_core.pruning.solvers.fields import Fields

ROUNDINGS = 8  # a row is solved when its distance to the solution is below so many roundings of its own length
STEPS = 300  # at most; a tiny ridge leaves the system as badly conditioned as the moment itself


def refit(pruned: Tensor, target: Tensor, second_moment: Tensor, ridge: float, fields: Fields | None = None) -> Tensor:
    """Solve the surviving weights of each row once more for its mask.

    Args:
        pruned: ``(groups, rows, cols)``; its zeros stay.
        target: ``w*``, the same shape.
        second_moment: ``(groups, cols, cols)``, mean of ``x x^T``, the dtype of all three; not changed.
        ridge: fraction of the mean nonzero diagonal that pulls towards ``target``, above 0.
        fields: what the second moment is made of, where that is little; products are then taken with it.

    Returns:
        ``(groups, rows, cols)``.
    """
    multiplied, pull = _product(second_moment, ridge, fields)
    kept = (pruned != 0).to(target.dtype)
    solved = target * kept
    # The residual's length over the smallest eigenvalue, which the ridge bounds, bounds the distance to the solution.
    enough = (ROUNDINGS * torch.finfo(target.dtype).eps * pull.view(-1, 1) * solved.norm(dim=2)).square()
    residual = multiplied(target - solved).mul_(kept)
    direction, length = residual.clone(), residual.square().sum(2)
    for _ in range(STEPS):
        if bool((length <= enough).all()):
            break
        image = multiplied(direction).mul_(kept)
        step = _ratio(length, (direction * image).sum(2))
        solved.addcmul_(step, direction)
        residual.addcmul_(step, image, value=-1)
        before, length = length, residual.square().sum(2)
        direction.mul_(_ratio(length, before)).add_(residual)
    return solved


def _product(second_moment: Tensor, ridge: float, fields: Fields | None) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return how rows are multiplied with the damped second moment, and what its diagonal was raised by.

    On dead inputs the fields give 0 where the matrix has a mean: no step moves along them.
    """
    if fields is None:
        moment, pull = damped(second_moment, ridge)
        return lambda rows: rows @ moment, pull
    pull = fields.pull(ridge)
    return lambda rows: fields.moved(rows).add_(pull.view(-1, 1, 1) * rows), pull


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Return ``above / below`` as ``(groups, rows, 1)``, 0 where ``below`` is: that row is solved."""
    return torch.where(below > 0, above / below, 0).unsqueeze(2)


def least_squares(weight: Tensor, moment: Tensor, owner: Tensor, mask: Tensor, chunk: int) -> Tensor:
    """Return each row's exact least squares on its support: the kept weights are ``w_K + H_KK^-1 H_KS w_S``.

    Args:
        weight: ``(rows, cols)``, of all groups.
        moment: ``(groups, cols, cols)``, positive definite.
        owner: int64 ``(rows,)``, each row's group.
        mask: bool ``(rows, cols)``, what is gone.
        chunk: how many rows are solved at once.
    """
    solved = torch.zeros_like(weight)
    kept = (~mask).sum(1)
    for rows in kept.argsort(descending=True, stable=True).split(chunk):
        if not int(kept[rows].max()):
            break
        group = owner[rows]
        columns, real, square = on_support(moment, group, mask[rows])
        gone = weight[rows] * mask[rows]
        moved = torch.einsum("rc,rcd->rd", gone, moment[group]) if moment.shape[0] > 1 else gone @ moment[0]
        right = torch.where(real, moved.gather(1, columns), 0).unsqueeze(-1)
        change = torch.cholesky_solve(right, torch.linalg.cholesky(square)).squeeze(-1)
        adapted = weight[rows].gather(1, columns) + change
        solved[rows] = solved[rows].scatter(1, columns, torch.where(real, adapted, 0))
    return solved


def on_support(moment: Tensor, owner: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's system on what it keeps, filled up with the identity to the width of the longest.

    Args:
        moment: ``(groups, cols, cols)``; owner: int64 ``(rows,)``, each row's group.
        mask: bool ``(rows, cols)``, what is gone.

    Returns:
        which columns the places stand for, int64 ``(rows, width)``; which places are real, bool ``(rows, width)``; and
        the systems, ``(rows, width, width)``.
    """
    kept = (~mask).sum(1)
    width = int(kept.max())
    columns = mask.int().argsort(dim=1, stable=True)[:, :width]  # the kept ones first
    real = torch.arange(width, device=mask.device) < kept.unsqueeze(1)
    square = moment[owner[:, None, None], columns.unsqueeze(2), columns.unsqueeze(1)]
    eye = torch.eye(width, dtype=moment.dtype, device=moment.device)
    return columns, real, torch.where(real.unsqueeze(1) & real.unsqueeze(2), square, eye)
