"""Pruning solvers: given a layer's weight and the second moment of its inputs, choose zeros and adapt the rest.

All share one signature, ``prune(weight, second_moment, sparsity, *, block_size=1, damping=...) -> Pruned``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spade_core.pruning.solvers import magnitude, obs, sparsegpt
from spade_core.pruning.solvers.common import Pruned, relative_error

__all__ = ["SOLVERS", "Pruned", "Solver", "magnitude", "obs", "relative_error", "sparsegpt"]


@dataclass(frozen=True)
class Solver:
    """A solver as people choose it: its slug, title, one line of help, and default damping."""

    slug: str
    title: str
    help: str
    prune: Callable[..., Pruned]
    damping: float


SOLVERS: dict[str, Solver] = {
    solver.slug: solver
    for solver in (
        Solver(
            "fastspade",
            "FastSPADE",
            "SparseGPT-style: one Cholesky factor for all rows, columns fixed left to right; seconds a picture.",
            sparsegpt.prune,
            0.01,
        ),
        Solver(
            "spade",
            "SPADE (exact)",
            "Optimal brain surgeon: weights removed one at a time, the cheapest first; minutes a picture.",
            obs.prune,
            0.0,
        ),
        Solver(
            "magnitude",
            "Magnitude",
            "Smallest weights removed, whatever the picture: the baseline.",
            magnitude.prune,
            0.0,
        ),
    )
}
