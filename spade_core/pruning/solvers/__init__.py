"""Pruning solvers: given a layer's weight and the second moment of its inputs, choose zeros and adapt the rest.

All share one signature, ``prune(weight, second_moment, sparsity, *, block_size=1, damping=...) -> Pruned``; one that
solves several problems at once has ``prune_many`` too, which takes and returns lists. Here is what there is to choose
from; a solver, and torch with it, is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from spade_core.pruning.solvers.common import Pruned

__all__ = ["SOLVERS", "Solver"]


@dataclass(frozen=True)
class Solver:
    """A solver as people choose it.

    Attributes:
        slug, title, help: its name in commands, its name for people, and one line.
        module: of this package.
        damping: by default, a fraction of the mean diagonal.
        function: of the module.
        cubic: whether each row costs the cube of its columns; then an output layer with many classes is solved so for
            the rows that matter to the target alone.
        side_by_side: whether the module has ``prune_many``.
    """

    slug: str
    title: str
    help: str
    module: str
    damping: float
    function: str = "prune"
    cubic: bool = False
    side_by_side: bool = False

    def prune(
        self, weight: Tensor, second_moment: Tensor, sparsity: float, *, block_size: int, damping: float
    ) -> Pruned:
        """Solve one layer, see the module."""
        solve = resolve_name(f"{__name__}.{self.module}:{self.function}")
        return solve(weight, second_moment, sparsity, block_size=block_size, damping=damping)

    def prune_many(
        self,
        weights: Sequence[Tensor],
        second_moments: Sequence[Tensor],
        sparsity: float,
        *,
        block_size: int,
        damping: float,
    ) -> list[Pruned]:
        """Solve several problems of one shape, side by side where the solver can; the same up to rounding."""
        if self.side_by_side and len(weights) > 1:
            solve = resolve_name(f"{__name__}.{self.module}:prune_many")
            return solve(weights, second_moments, sparsity, block_size=block_size, damping=damping)
        pairs = zip(weights, second_moments, strict=True)
        return [self.prune(*pair, sparsity, block_size=block_size, damping=damping) for pair in pairs]


_FAST = "SparseGPT-style: one Cholesky factor for all rows, columns fixed left to right; seconds a picture."
_EXACT = "Optimal brain surgeon: weights removed one at a time, the cheapest of a layer first; a minute a picture."
_EXACT_ROWS = "The same, but as many weights from each row of a layer."
_ADMM = "A relaxed least squares that hardens step by step (ALPS), then swaps, then solved for its mask."
_RANDOM = "Weights removed at random, whatever the picture: the baseline of baselines."
_BASELINE = "Smallest weights removed, whatever the picture: the baseline."
_SOLVERS = (
    Solver("fastspade", "FastSPADE", _FAST, "sparsegpt", 0.01, side_by_side=True),
    Solver("spade", "SPADE (exact)", _EXACT, "obs", 0.0, cubic=True),
    Solver("spade-rows", "SPADE (exact, by row)", _EXACT_ROWS, "obs", 0.0, "prune_rows", cubic=True),
    Solver("admm", "ADMM", _ADMM, "admm", 0.01),
    Solver("magnitude", "Magnitude", _BASELINE, "magnitude", 0.0),
    Solver("random", "Random", _RANDOM, "random", 0.0),
)
SOLVERS: dict[str, Solver] = {solver.slug: solver for solver in _SOLVERS}
