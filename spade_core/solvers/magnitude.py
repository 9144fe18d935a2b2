"""Magnitude pruning: the baseline that ignores the data."""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.solvers.common import Problem, Pruned

__all__ = ["prune"]


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
    score = torch.where(problem.forced, problem.weight.abs() - torch.inf, problem.weight.abs())
    score = torch.where(problem.weight == 0, -torch.inf, score).flatten()
    solved = problem.weight.flatten()
    # Among the forced ones existing zeros come first, so that the count is exact.
    order = torch.argsort(torch.where(solved == 0, 0, 1), stable=True)
    order = order[score[order].argsort(stable=True)]
    solved[order[: problem.zeros]] = 0
    return problem.finish(solved, 0.0)
