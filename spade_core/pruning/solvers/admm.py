"""ADMM with swaps, in the manner of ALPS (Meng et al. 2024): a relaxed least squares that slowly hardens to a mask.

With ``W0`` the dense weight, ``B`` fits the outputs and ``D`` has the zeros; a penalty ``rho`` that grows draws them
together: ``B = (H + rho I)^-1 (H W0 - V + rho D)``, ``D`` the largest of ``B + V / rho``, ``V += rho (B - D)``, where
each input is first scaled to unit energy. Then each row's mask is improved by swaps (``swaps``, ours), and the row
solved once more by least squares.

Differences: the zeros of a layer are chosen over all its rows, as by our other solvers; ``rho`` follows a fixed
schedule; swaps come after it; the last solution is exact where the authors' takes conjugate gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spade_core.pruning.solvers.common import Problem, Pruned, factorize
from spade_core.pruning.solvers.swaps import swapped

STEPS = 60
RHO = (0.03, 30.0)  # the penalty at the first and at the last step; inputs have energy 1
CHUNK_BYTES = 256 * 2**20


def prune(
    weight: Tensor, second_moment: Tensor, sparsity: float, *, block_size: int = 1, damping: float = 0.01
) -> Pruned:
    """Prune one layer by ADMM.

    Args:
        weight: ``(rows, cols)`` or ``(groups, rows, cols)``, any float dtype; not changed.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``, mean of ``x x^T``; float32 or float64, the dtype of
            the computation; not changed.
        sparsity: fraction of zeros, 0 to 1; existing zeros count.
        block_size: accepted for the common signature, without effect.
        damping: added to the diagonal, as a fraction of the mean nonzero diagonal.

    Returns:
        The pruned weight; its zeros are ``round(sparsity * numel)`` or the existing ones if these are more.

    Raises:
        ValueError: shapes, dtypes or values that cannot be solved.
    """
    del block_size
    problem = Problem.build(weight, second_moment, sparsity)
    if (settled := problem.settled()) is not None:
        return settled
    factor = factorize(problem.second_moment, damping)
    groups, rows, cols = problem.weight.shape
    gone = _split(problem, factor.moment).view(-1, cols)
    owner = torch.arange(groups, device=gone.device).repeat_interleave(rows)
    chunk = max(1, CHUNK_BYTES // (cols * cols * factor.moment.element_size()))
    dense, forced = problem.weight.view(-1, cols), problem.forced.view(-1, cols)
    return problem.finish(swapped(dense, factor.moment, owner, gone, forced, chunk), factor.damping)


def _split(problem: Problem, moment: Tensor) -> Tensor:
    """Return the mask of the last step, true where a weight goes, ``(groups, rows, cols)``."""
    scale = moment.diagonal(dim1=1, dim2=2).sqrt()
    unit = moment / (scale.unsqueeze(1) * scale.unsqueeze(2))
    values, basis = torch.linalg.eigh(unit)
    dense = problem.weight * scale.unsqueeze(1)
    wanted, sparse, dual = dense @ unit, dense, torch.zeros_like(dense)
    gone = problem.forced
    for step in range(STEPS):
        rho = RHO[0] * (RHO[1] / RHO[0]) ** (step / (STEPS - 1))
        right = (wanted - dual + rho * sparse) @ basis
        fitted = (right / (values.unsqueeze(1) + rho)) @ basis.transpose(1, 2)
        drawn = fitted + dual / rho
        gone = _smallest(drawn.abs().masked_fill(problem.forced, -1), problem.zeros)
        sparse = drawn.masked_fill(gone, 0)
        dual = dual + rho * (fitted - sparse)
    return gone


def _smallest(score: Tensor, count: int) -> Tensor:
    """Return a mask of the ``count`` smallest scores."""
    gone = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
    gone[score.flatten().topk(count, largest=False, sorted=False).indices] = True
    return gone.view(score.shape)
