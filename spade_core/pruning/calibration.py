"""How the layers' inputs reach the solver: independent (the paper) or sequential (ours).

*Independent* (SPADE, Algorithm 1): one pass of the dense model gives every layer's second moment, and each layer is
solved on its own. Errors of early layers then reach late layers, which were solved for inputs they no longer get.

*Sequential*: the views go through the network twice side by side, as one batch whose first half is the dense model and
whose second half is the trace. When the pass reaches a prunable weight, both its inputs are at hand: ``X`` of the dense
model and ``X'`` of the partly pruned one. The layer is first fitted to the dense output, then pruned on ``X'``, and the
pass goes on with the pruned weight. So the whole calibration costs one forward pass of a doubled batch, however
deep the network is. The fit is a least squares towards the dense weight, damped like the solver:
``W* = argmin ||W X' - W0 X||^2 + damping ||W - W0||^2``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from spade_core.models.layers import Layer
from spade_core.models.weight_calls import Call, WeightCalls
from spade_core.progress import Progress, silent, span
from spade_core.pruning.moments import capture, cross_moment
from spade_core.pruning.relevance import Relevance
from spade_core.pruning.solvers import SOLVERS, Solver
from spade_core.pruning.solvers.common import Pruned, factorize, relative_error
from spade_core.pruning.solvers.refit import refit

ERROR_VIEWS = 4
FIT_DAMPING = 0.3  # chosen on the tuning split: 0.01 fits the views too closely and costs faithfulness of the maps


@dataclass(frozen=True)
class Recipe:
    """What to do with one layer.

    Attributes:
        layer: which weight.
        sparsity: fraction of zeros.
        block_size: columns per mask choice.
        positions: at most how many receptive fields the second moment is taken over; None: all.
        rows: which rows the solver solves, while FastSPADE solves the others; none: all of them.
    """

    layer: Layer
    sparsity: float
    block_size: int = 1
    positions: int | None = None
    rows: tuple[int, ...] = ()


Recipes: TypeAlias = Mapping[str, Recipe]  # by the parameter's name


@dataclass(frozen=True)
class Solved:
    """One pruned weight and how it went.

    Attributes:
        weight: in the parameter's shape and dtype.
        error: ``||W X' - W0 X||^2 / ||W0 X||^2``; independent: ``X' = X``; sequential: measured
            on the first ``ERROR_VIEWS`` views.
        damping: fraction of the mean diagonal that the solver needed.
        seconds: for moments, fit and solving.
    """

    weight: Tensor
    error: float
    damping: float
    seconds: float


@dataclass(frozen=True)
class Pruner:
    """The solver with its options, as both calibrations apply it to one layer."""

    solver: Solver
    damping: float
    fit_damping: float = FIT_DAMPING
    ridge: float = 0.0  # of the refit on the support; 0: none

    def solve(
        self, recipe: Recipe, weight: Tensor, moment: Tensor, cross: Tensor | None = None
    ) -> tuple[Tensor, float]:
        """Fit (where ``cross`` is given) and prune one weight; return it and the damping that was used.

        Args:
            moment: ``E[x' x'^T]``, ``(groups, cols, cols)``.
            cross: ``E[x x'^T]`` of dense and trace inputs, or None where both are the same.
        """
        target = grouped(weight, recipe.layer.groups).to(moment.dtype)
        if cross is not None:
            target = fit_to_dense(target, moment, cross, self.fit_damping)
        pruned = self._prune(recipe, target, moment)
        solved = refit(pruned.weight, target, moment, self.ridge) if self.ridge else pruned.weight
        return solved.reshape(weight.shape).to(weight.dtype), pruned.damping

    def _prune(self, recipe: Recipe, target: Tensor, moment: Tensor) -> Pruned:
        block, damping = recipe.block_size, self.damping
        if not recipe.rows:
            return self.solver.prune(target, moment, recipe.sparsity, block_size=block, damping=damping)
        chosen = torch.zeros(target.shape[1], dtype=torch.bool, device=target.device)
        chosen[list(recipe.rows)] = True
        part = self.solver.prune(target[:, chosen], moment, recipe.sparsity, block_size=block, damping=damping)
        fast, others = SOLVERS["fastspade"], target[:, ~chosen]
        left = round(recipe.sparsity * target.numel()) - int((part.weight == 0).sum())
        ratio = min(1.0, max(0.0, left / others.numel()))
        rest = fast.prune(others, moment, ratio, block_size=block, damping=damping or fast.damping)
        whole = torch.empty_like(target)
        whole[:, chosen], whole[:, ~chosen] = part.weight, rest.weight
        return Pruned(whole, max(part.damping, rest.damping))


def grouped(weight: Tensor, groups: int) -> Tensor:
    """Return a weight as ``(groups, rows, cols)``."""
    return weight.detach().reshape(groups, weight.shape[0] // groups, -1)


def fit_to_dense(weight: Tensor, moment: Tensor, cross: Tensor, damping: float) -> Tensor:
    """Return the damped least squares fit of the trace's layer to the dense output.

    Args:
        weight: dense, ``(groups, rows, cols)``.
        moment: ``E[x' x'^T]``, ``(groups, cols, cols)``.
        cross: ``E[x x'^T]``, ``(groups, cols, cols)``.
        damping: fraction of the mean nonzero diagonal that pulls towards ``weight``.
    """
    factor = factorize(moment, damping)
    gap = weight @ (cross - moment)
    return weight + torch.cholesky_solve(gap.transpose(1, 2), factor.cholesky).transpose(1, 2)


def independent(
    module: nn.Module,
    batches: list[Tensor],
    recipes: Recipes,
    pruner: Pruner,
    *,
    relevant: Relevance | None = None,
    progress: Progress = silent,
) -> dict[str, Solved]:
    """Solve every layer on the dense model's inputs (SPADE, Algorithm 1).

    Args:
        module: the dense model in eval mode; not changed.
        batches: normalised views.
        recipes: parameter name -> what to do.
        relevant: what each position of these batches counts in the moments; None: all alike.

    Returns:
        parameter name -> solved layer; a weight that the pass never used is missing.
    """
    weights = {name: module.get_parameter(name) for name in recipes}
    limits = {name: recipe.positions for name, recipe in recipes.items() if recipe.positions is not None}
    moments = capture(module, batches, weights, positions=limits, relevant=relevant, progress=span(progress, 0, 0.5))
    solved = {}
    for index, (name, moment) in enumerate(moments.items()):
        progress(0.5 + 0.5 * index / len(moments), 1.0, f"solving {recipes[name].layer.name}")
        start = time.perf_counter()
        weight, damping = pruner.solve(recipes[name], weights[name], moment)
        groups = recipes[name].layer.groups
        error = relative_error(grouped(weights[name], groups), grouped(weight, groups), moment)
        solved[name] = Solved(weight, error, damping, time.perf_counter() - start)
    return solved


def sequential(
    module: nn.Module,
    batches: list[Tensor],
    recipes: Recipes,
    pruner: Pruner,
    *,
    relevant: Relevance | None = None,
    progress: Progress = silent,
) -> dict[str, Solved]:
    """Solve layer by layer on the inputs that the partly pruned trace sees, in one pass of a doubled batch.

    A weight that is used several times is solved at its first use. Arguments and result as :func:`independent`, but
    all views are held at once.
    """
    views = torch.cat(batches)
    weights = {name: module.get_parameter(name) for name in recipes}
    solved: dict[str, Solved] = {}
    # A weight's first call in each batch: they are batch by batch.
    counts = {name: torch.cat(calls[:: len(calls) // len(batches)]) for name, calls in (relevant or {}).items()}

    def carry(name: str, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        dense_x, trace_x = x.chunk(2)
        dense_y = call.output(dense_x, weight)
        if name in solved:
            return torch.cat([dense_y, call.output(trace_x, solved[name].weight)])
        recipe = recipes[name]
        progress(len(solved), len(recipes), f"solving {recipe.layer.name}")
        start = time.perf_counter()
        moment = cross_moment(trace_x, None, call, recipe.positions, counts.get(name))
        # As long as nothing is pruned, both halves are the same.
        cross = cross_moment(dense_x, trace_x, call, recipe.positions, counts.get(name)) if solved else None
        pruned, damping = pruner.solve(recipe, weight, moment, cross)
        seconds = time.perf_counter() - start
        trace_y = call.output(trace_x, pruned)
        solved[name] = Solved(pruned, _output_error(dense_y, trace_y, call), damping, seconds)
        return torch.cat([dense_y, trace_y])

    with torch.no_grad(), WeightCalls(weights, carry):
        module(torch.cat([views, views]))
    return solved


def _output_error(dense: Tensor, trace: Tensor, call: Call) -> float:
    """Return the squared error of the outputs relative to the dense output without its bias."""
    dense, trace = dense[:ERROR_VIEWS], trace[:ERROR_VIEWS]
    bias = 0 if call.bias is None else call.bias.view(-1, *[1] * (2 if call.kind == "conv2d" else 0))
    energy = float((dense - bias).square().sum(dtype=torch.float64))
    return float((trace - dense).square().sum(dtype=torch.float64)) / energy if energy > 0 else 0.0
