"""Magnitude pruning: the baseline that ignores the data."""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned


def prune(
    weight: Tensor, second_moment: Tensor, sparsity: float, *, block_size: int = 1, damping: float = 0.0
) -> Pruned:
    """Remove the smallest weights of the layer and keep the others as they are.

    Args:
        weight: ``(rows, cols)`` or ``(groups, rows, cols)``, any float dtype; not changed.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``; only its zero diagonal is used (dead inputs first).
        sparsity: fraction of zeros, 0 to 1; existing zeros count.
        block_size, damping: accepted for the common signature, without effect.

    Returns:
        The pruned weight; its zeros are ``round(sparsity * numel)`` or the existing ones if these are more.

    Raises:
        ValueError: shapes, dtypes or values that cannot be solved.
    """
    del block_size, damping
    problem = Problem.build(weight, second_moment, sparsity)
    if problem.zeros <= problem.existing:
        return problem.unchanged()
    # Among the forced ones existing zeros come first, so that the count is exact.
    score = torch.where(problem.forced, -1, problem.weight.abs())
    score = torch.where(problem.weight == 0, -2, score).flatten()
    # The smallest go, the first ones among equals: the same as by a stable sort, but faster.
    limit = score.kthvalue(problem.zeros).values
    gone = score < limit
    gone[(score == limit).nonzero().flatten()[: problem.zeros - int(gone.sum())]] = True
    return problem.finish(problem.weight.flatten().masked_fill(gone, 0), 0.0)
