"""A random mask: the baseline that ignores data and weights."""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned

SEED = 0


def prune(
    weight: Tensor, second_moment: Tensor, sparsity: float, *, block_size: int = 1, damping: float = 0.0
) -> Pruned:
    """Remove weights of the layer at random and keep the others as they are.

    Args:
        weight: ``(rows, cols)`` or ``(groups, rows, cols)``, any float dtype; not changed.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``; only its zero diagonal is used (dead inputs first).
        sparsity: fraction of zeros, 0 to 1; existing zeros count.
        block_size, damping: accepted for the common signature, without effect.

    Returns:
        The pruned weight; its zeros are ``round(sparsity * numel)`` or the existing ones if these are more. Layers of
        one shape lose weights at the same places, in every trace and on every device.

    Raises:
        ValueError: shapes, dtypes or values that cannot be solved.
    """
    del block_size, damping
    problem = Problem.build(weight, second_moment, sparsity)
    generator = torch.Generator().manual_seed(SEED)
    score = torch.rand(problem.weight.shape, generator=generator, dtype=torch.float64)
    return problem.without_smallest(score.to(weight.device))
