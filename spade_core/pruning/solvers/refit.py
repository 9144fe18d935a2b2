"""A damped refit on the support, after any solver (ours): the surviving weights are solved once more, mildly.

A solver's compensation bends the surviving weights far from the dense ones, and saliency maps suffer for it. With the
mask kept, each row takes the weights that minimise ``(w - w*)^T (H + ridge mean(diag H) I) (w - w*)``: the larger the
ridge, the less they move. ``w*`` is the dense weight, or the fit of a sequential calibration.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import factorize

CHUNK = 2**24  # numbers in the systems that are solved at once


def refit(pruned: Tensor, target: Tensor, second_moment: Tensor, ridge: float) -> Tensor:
    """Solve the surviving weights of each row once more for its mask.

    Args:
        pruned: ``(groups, rows, cols)``; its zeros stay.
        target: ``w*``, the same shape.
        second_moment: ``(groups, cols, cols)``, mean of ``x x^T``, the dtype of all three; not changed.
        ridge: fraction of the mean nonzero diagonal that pulls towards ``target``, at least 0.

    Returns:
        ``(groups, rows, cols)``.
    """
    factor = factorize(second_moment, ridge)
    kept = pruned != 0
    if int(kept.sum()) * 2 <= kept.numel():
        return _on(factor.moment, kept, target @ factor.moment)
    # With few zeros it is cheaper to undo them: w = w* - C_:Z (C_ZZ)^-1 w*_Z, where C is the inverse of the moment.
    inverse = torch.cholesky_inverse(factor.cholesky)
    return (target - _on(inverse, ~kept, target) @ inverse).masked_fill_(~kept, 0)


def _on(matrix: Tensor, chosen: Tensor, right: Tensor) -> Tensor:
    """Solve ``M_SS x_S = b_S`` for each row's own ``S``; return ``x``, zero elsewhere.

    Rows with about as many chosen columns are solved together, padded by the identity.

    Args:
        matrix: ``(groups, cols, cols)``, positive definite.
        chosen: bool ``(groups, rows, cols)``; right: ``(groups, rows, cols)``.
    """
    groups, rows, cols = chosen.shape
    owner = torch.arange(groups, device=matrix.device).repeat_interleave(rows)
    chosen, right = chosen.reshape(-1, cols), right.reshape(-1, cols)
    found = torch.zeros_like(right)
    counts = chosen.sum(1)
    order = counts.argsort(descending=True)
    sizes = counts[order].tolist()
    start = 0
    while start < len(sizes) and sizes[start]:
        size = sizes[start]
        part = order[start : start + max(1, CHUNK // size**2)]
        columns = chosen[part].byte().argsort(dim=1, descending=True, stable=True)[:, :size]
        real = chosen[part].gather(1, columns)
        system = matrix[owner[part].view(-1, 1, 1), columns.unsqueeze(2), columns.unsqueeze(1)]
        system.masked_fill_(~(real.unsqueeze(2) & real.unsqueeze(1)), 0)
        system.diagonal(dim1=1, dim2=2).add_((~real).to(system.dtype))
        given = right[part].gather(1, columns).masked_fill_(~real, 0)
        solved = torch.cholesky_solve(given.unsqueeze(2), torch.linalg.cholesky(system)).squeeze(2)
        found[part] = torch.zeros_like(right[part]).scatter_(1, columns, solved)
        start += len(part)
    return found.view(groups, rows, cols)
