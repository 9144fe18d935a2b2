"""How the layers' inputs reach the solver: independent (the paper) or sequential (ours).

*Independent* (SPADE, Algorithm 1): one pass of the dense model gives every layer's second moment, and each layer is
solved on its own. Errors of early layers then reach late layers, which were solved for inputs they no longer get.

*Sequential*: the views go through the network twice side by side, as one batch whose first half is the dense model and
whose second half is the trace. When the pass reaches a prunable weight, both its inputs are at hand: ``X`` of the dense
model and ``X'`` of the partly pruned one. The layer is first fitted to the dense output, then pruned on ``X'``, and the
pass goes on with the pruned weight. So the whole calibration costs one forward pass of a doubled batch, however
deep the network is. The fit is a least squares towards the dense weight, damped like the solver:
``W* = argmin ||W X' - W0 X||^2 + damping ||W - W0||^2``.

Several traces are calibrated side by side: the dense model's part of the pass, and the views that traces share, are
computed once, and a layer's problems are solved together. Each trace is what it would be alone, up to rounding.

Traces of one picture that differ by their ratios go one after the other, and leave each other what is the same
(``Shared``). Relevance does not depend on ratios; under sequential calibration a layer depends on the recipes of the
layers before it and on nothing after it, so a trace takes all layers up to the first other recipe from the one before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError
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
from spade_core.pruning.solvers.fields import Fields
from spade_core.pruning.solvers.refit import refit
from spade_core.pruning.views import Views

ERROR_VIEWS = 4
BATCH = 32  # views in one pass of independent calibration
WORKERS = 4  # layers that are solved at a time; they hold copies of their second moments
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
        seconds: for moments, fit and solving; of traces side by side, each one's share.
    """

    weight: Tensor
    error: float
    damping: float
    seconds: float


Chain: TypeAlias = tuple[Recipe, ...]  # all that a layer depends on under sequential calibration, its own last


@dataclass(eq=False)
class Shared:
    """What traces leave to the next ones, which are of other ratios: hand the same one to each. No bit depends on it.

    Attributes:
        solved: layers of the last pass, for each of its traces, by the recipes up to the layer's own.
    """

    solved: dict[Chain, list[Solved]] = field(default_factory=dict)
    _conditions: Hashable = None
    _relevant: list[Relevance] = field(default_factory=list)

    def under(self, conditions: Hashable) -> Shared:
        """Return what is known ``conditions``, all that traces depend on but their ratios; nothing, for other ones."""
        if conditions != self._conditions:
            self._conditions, self._relevant, self.solved = conditions, [], {}
        return self

    def relevance(self, recipes: Recipes, make: Callable[[], list[Relevance]]) -> list[Relevance]:
        """Return each trace's relevance, made anew where that of a recipe's weight is not known."""
        if not self._relevant or recipes.keys() - self._relevant[0].keys():
            self._relevant = make()
        return self._relevant


@dataclass(frozen=True)
class Seen:
    """What one trace's layer is solved by.

    Attributes:
        moment: ``E[x' x'^T]`` of the inputs that the trace reads, ``(groups, cols, cols)``.
        cross: ``E[x x'^T]`` with those of the dense model; None where both are the same, or the fields tell it.
        fields: the inputs themselves, where they are few.
    """

    moment: Tensor
    cross: Tensor | None = None
    fields: Fields | None = None

    def fit(self, dense: Tensor, damping: float) -> Tensor:
        """Return the weight ``(groups, rows, cols)`` that fits the dense output best."""
        if self.fields is not None:
            return self.fields.fit(dense, damping)
        return dense if self.cross is None else fit_to_dense(dense, self.moment, self.cross, damping)


@dataclass(frozen=True)
class Pruner:
    """The solver with its options, as both calibrations apply it to one layer."""

    solver: Solver
    damping: float
    fit_damping: float = FIT_DAMPING
    ridge: float = 0.0  # of the refit on the support; 0: none

    def solve(self, recipe: Recipe, weight: Tensor, seen: Sequence[Seen]) -> list[Pruned]:
        """Fit to the dense output, where the trace's inputs are others, and prune one weight for each trace."""
        moments = [one.moment for one in seen]
        dense = grouped(weight, recipe.layer.groups).to(moments[0].dtype)
        targets = [one.fit(dense, self.fit_damping) for one in seen]
        solved = []
        for pruned, target, one in zip(self._prune(recipe, targets, moments), targets, seen, strict=True):
            last = refit(pruned.weight, target, one.moment, self.ridge, one.fields) if self.ridge else pruned.weight
            loss = None if self.ridge else pruned.loss
            solved.append(Pruned(last.reshape(weight.shape).to(weight.dtype), pruned.damping, loss))
        return solved

    def _prune(self, recipe: Recipe, targets: Sequence[Tensor], moments: Sequence[Tensor]) -> list[Pruned]:
        if recipe.rows:
            return [self._prune_rows(recipe, *both) for both in zip(targets, moments, strict=True)]
        block, damping = recipe.block_size, self.damping
        return self.solver.prune_many(targets, moments, recipe.sparsity, block_size=block, damping=damping)

    def _prune_rows(self, recipe: Recipe, target: Tensor, moment: Tensor) -> Pruned:
        """Prune the recipe's rows by the solver, and the others by FastSPADE, to the layer's ratio."""
        block, damping = recipe.block_size, self.damping
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
    views: Views,
    recipes: Recipes,
    pruner: Pruner,
    *,
    relevant: Sequence[Relevance] | None = None,
    progress: Progress = silent,
) -> list[dict[str, Solved]]:
    """Solve every layer on the dense model's inputs (SPADE, Algorithm 1).

    Args:
        module: the dense model in eval mode; not changed.
        views: of one or several traces.
        recipes: parameter name -> what to do.
        relevant: of each trace, what each position of its views counts in the moments, in batches of ``BATCH``; None:
            all alike.

    Returns:
        of each trace, parameter name -> solved layer; a weight that the pass never used is missing.
    """
    weights = {name: module.get_parameter(name) for name in recipes}
    limits = {name: recipe.positions for name, recipe in recipes.items() if recipe.positions is not None}
    count = len(views.rows)
    captured: list[dict[str, Tensor]] = []
    energies: list[dict[str, float]] = [{} for _ in range(count)]
    for trace in range(count):
        counts, part = (
            None if relevant is None else relevant[trace],
            span(progress, 0.5 * trace / count, 0.5 * (trace + 1) / count),
        )
        batches = views.of_trace(trace, BATCH)
        found = capture(
            module, batches, weights, positions=limits, relevant=counts, energies=energies[trace], progress=part
        )
        captured.append(found)

    def solve(name: str) -> list[Solved]:
        start, dense = time.perf_counter(), grouped(weights[name], recipes[name].layer.groups)
        moments = [found.pop(name) for found in captured]
        layers = pruner.solve(recipes[name], weights[name], [Seen(moment) for moment in moments])
        seconds = (time.perf_counter() - start) / count
        told = []
        for pruned, moment, known in zip(layers, moments, energies, strict=True):
            after = pruned.weight.reshape(dense.shape)
            error = relative_error(dense, after, moment, loss=pruned.loss, energy=known.get(name))
            told.append(Solved(pruned.weight, error, pruned.damping, seconds))
        return told

    names = list(captured[0])
    solved: dict[str, list[Solved]] = {}
    # The largest first: whoever comes last waits for a small one.
    largest = sorted(names, key=lambda name: captured[0][name].numel(), reverse=True)
    for name, layers in _each(solve, largest, apart=next(module.parameters()).device.type == "cpu"):
        solved[name] = layers
        progress(0.5 + 0.5 * len(solved) / len(names), 1.0, f"solved {recipes[name].layer.name}")
    return [{name: solved[name][trace] for name in names} for trace in range(count)]


def _each(
    solve: Callable[[str], list[Solved]], names: Sequence[str], *, apart: bool
) -> Iterator[tuple[str, list[Solved]]]:
    """Solve each layer; yield them as they are done.

    A solver's many small steps use one core whatever there is. So on a CPU (``apart``) that has several, some layers
    are solved at a time, with a share of the cores each.
    """
    threads = torch.get_num_threads()
    workers = min(threads, WORKERS, len(names))
    if workers < 2 or not apart:
        yield from ((name, solve(name)) for name in names)
        return
    ready = Barrier(workers + 1)

    def begin() -> None:
        torch.set_num_threads(threads // workers)
        torch.get_num_threads()  # once it has asked, a thread keeps its number
        with suppress(BrokenBarrierError):  # else the pool takes it for an error, and forgets to end the other threads
            ready.wait()

    def work(name: str) -> list[Solved]:
        with torch.no_grad():
            return solve(name)

    pool = ThreadPoolExecutor(workers, "solver", initializer=begin)
    try:
        running = {pool.submit(work, name): name for name in names}
        ready.wait()
        torch.set_num_threads(threads)
        for done in as_completed(running):
            yield running[done], done.result()
    finally:
        ready.abort()  # whoever was stopped while all begin must not wait for them for ever
        torch.set_num_threads(threads)
        pool.shutdown(cancel_futures=True)


def sequential(
    module: nn.Module,
    views: Views,
    recipes: Recipes,
    pruner: Pruner,
    *,
    relevant: Sequence[Relevance] | None = None,
    shared: Shared | None = None,
    progress: Progress = silent,
) -> list[dict[str, Solved]]:
    """Solve layer by layer on the inputs that the partly pruned trace sees, in one pass of a doubled batch.

    A weight that is used several times is solved at its first use. Arguments and result as :func:`independent`, but
    all views are held at once.

    Args:
        shared: layers that an earlier pass of the same views solved; this one's replace them.
    """
    shared = shared or Shared()
    known, shared.solved = shared.solved, {}
    weights = {name: module.get_parameter(name) for name in recipes}
    solved: list[dict[str, Solved]] = [{} for _ in views.rows]
    counts = None if relevant is None else [_first_calls(*pair) for pair in zip(relevant, views.rows, strict=True)]
    sizes = [len(views.images), *map(len, views.rows)]

    def carry(name: str, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        dense_x, *trace_x = x.split([size * len(x) // sum(sizes) for size in sizes])
        dense_y = call.output(dense_x, weight)
        chain = tuple(recipes[one] for one in (*solved[0], name))
        if name not in solved[0] and chain in known:
            keep(name, chain, known[chain])
        if name in solved[0]:
            again = [call.output(own, found[name].weight) for own, found in zip(trace_x, solved, strict=True)]
            return torch.cat([dense_y, *again])
        progress(len(solved[0]), len(recipes), f"solving {recipes[name].layer.name}")
        start = time.perf_counter()
        weighed = [None] * len(trace_x) if counts is None else [found[name] for found in counts]
        # As long as nothing is pruned, both parts are the same.
        same = [_of_views(dense_x, rows, sizes[0]) for rows in views.rows] if solved[0] else None
        layers = pruner.solve(recipes[name], weight, _seen(same, trace_x, call, recipes[name].positions, weighed))
        seconds = (time.perf_counter() - start) / len(layers)
        trace_y = [call.output(own, pruned.weight) for own, pruned in zip(trace_x, layers, strict=True)]
        errors = [
            _output_error(_of_views(dense_y, rows, sizes[0]), y, call)
            for rows, y in zip(views.rows, trace_y, strict=True)
        ]
        told = [
            Solved(pruned.weight, error, pruned.damping, seconds) for pruned, error in zip(layers, errors, strict=True)
        ]
        keep(name, chain, told)
        return torch.cat([dense_y, *trace_y])

    def keep(name: str, chain: Chain, layers: list[Solved]) -> None:
        shared.solved[chain] = layers
        for found, layer in zip(solved, layers, strict=True):
            found[name] = layer

    with torch.no_grad(), WeightCalls(weights, carry):
        module(torch.cat([views.images, *(views.images[rows] for rows in views.rows)]))
    return solved


def _first_calls(found: Relevance, rows: Tensor) -> dict[str, Tensor]:
    """Return what the positions of each weight's first call count, of all views of a trace."""
    batches = math.ceil(len(rows) / BATCH)
    return {name: torch.cat(calls[:: len(calls) // batches]) for name, calls in found.items()}


def _of_views(x: Tensor, rows: Tensor, views: int) -> Tensor:
    """Return the part of a call's input or output that belongs to ``rows`` of all ``views``."""
    return x if len(rows) == views else x.unflatten(0, (views, -1))[rows].flatten(0, 1)


def _seen(
    dense: Sequence[Tensor] | None,
    traces: Sequence[Tensor],
    call: Call,
    positions: int | None,
    counts: Sequence[Tensor | None],
) -> list[Seen]:
    """Return what each trace's layer is solved by; ``dense``: what the dense model reads, if that is another input."""
    found = []
    for x, other, count in zip(traces, [None] * len(traces) if dense is None else dense, counts, strict=True):
        moment, cross = cross_moment(x, None, call, positions, count), None
        fields = Fields.of(x, other, call, positions, count)
        if other is not None and fields is None:
            cross = cross_moment(other, x, call, positions, count)
        found.append(Seen(moment, cross, fields))
    return found


def _output_error(dense: Tensor, trace: Tensor, call: Call) -> float:
    """Return the squared error of the outputs relative to the dense output without its bias."""
    dense, trace = dense[:ERROR_VIEWS], trace[:ERROR_VIEWS]
    bias = 0 if call.bias is None else call.bias.view(-1, *[1] * (2 if call.kind == "conv2d" else 0))
    energy = float((dense - bias).square().sum(dtype=torch.float64))
    return float((trace - dense).square().sum(dtype=torch.float64)) / energy if energy > 0 else 0.0
