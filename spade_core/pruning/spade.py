"""SPADE's Algorithm 1: from a dense model and one picture to its trace.

``trace`` draws random views of the picture, reads every layer's inputs, prunes each layer to what these inputs need,
and returns the pruned copy with a report per layer and its fidelity. The dense model is never changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from spade_core.config import Settings
from spade_core.errors import ConfigError, ModelError
from spade_core.isolation import full_precision
from spade_core.models.labels import resolve_target
from spade_core.models.layers import Layer, share_copy
from spade_core.models.loaded import LoadedModel, predict
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.calibration import Pruner, Recipe, Recipes, Solved, independent, sequential
from spade_core.pruning.options import TraceConfig, checked, takes_options
from spade_core.pruning.relevance import Relevance, relevance
from spade_core.pruning.report import LayerReport, Report
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.sparsity import Plan, Request, even, resolve, stage_of
from spade_core.pruning.trace import Trace, measure_fidelity
from spade_core.pruning.usage import Survey, survey
from spade_core.pruning.views import random_views

AUTO_RATIOS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
POSITIONS_PER_COLUMN = 16
BATCH = 32  # views in one pass of independent calibration
CUBIC_LIMIT = 2e11  # multiply-adds for which an output layer may be solved exactly, some ten seconds
TOP = 5  # classes whose rows are solved exactly beside the target's where not all are


@takes_options
def trace(
    model: LoadedModel,
    picture: Picture,
    *,
    target: int | str | None = None,
    progress: Progress = silent,
    **options: object,
) -> Trace:
    """Prune a copy of ``model`` to the connections that ``picture`` uses (SPADE, Algorithm 1).

    Args:
        model: read-only; the trace shares its unpruned tensors.
        target: the explained class, index or label; None: the dense model's top-1.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        options: see ``TraceOptions``.

    Raises:
        ConfigError: an option cannot be used.
        ModelError: no layer's input could be captured.
    """
    asked = checked(options)
    solvers = {"damping": SOLVERS[asked.solver].damping}
    chosen = resolve_target(model, target) if target is not None else None
    config = asked.filled(solvers)
    plan = resolve(config.preset, Request(model.name, model.family, model.layers, config.sparsity, config.stages))
    if plan is None:  # its traces never see the untouched picture, unless asked to: keeping the class means something
        return _search(model, picture, asked.filled({**solvers, "untouched": 0}), chosen, progress)
    return _trace_once(model, picture, asked.filled({**solvers, **plan.options}), plan, chosen, progress)


def _search(model: LoadedModel, picture: Picture, config: TraceConfig, target: int | None, progress: Progress) -> Trace:
    """Preset ``auto``: bisect ``AUTO_RATIOS`` for the highest even ratio whose trace keeps the class."""
    low, high, best, tried = 0, len(AUTO_RATIOS), None, 0
    steps = len(AUTO_RATIOS).bit_length()
    while low < high:
        middle = (low + high) // 2
        ratio = AUTO_RATIOS[middle]
        plan = even(Request(model.name, model.family, model.layers), ratio)
        part = span(progress, min(tried / steps, 0.95), min((tried + 1) / steps, 1.0))
        found = _trace_once(model, picture, replace(config, sparsity=ratio), plan, target, part)
        tried += 1
        if found.fidelity.keeps_class:
            best, high = found, middle
        else:
            low = middle + 1
    if best is None:
        raise ModelError(
            f"No even ratio down to {AUTO_RATIOS[-1]:.0%} keeps the class of this picture: "
            "choose the ratio yourself with the preset 'uniform', or take more views."
        )
    return best


@full_precision()
def _trace_once(
    model: LoadedModel, picture: Picture, config: TraceConfig, plan: Plan, target: int | None, progress: Progress
) -> Trace:
    start = time.perf_counter()
    settings = Settings.from_environment()
    calls = survey(model.module, model.preprocessing.size, model.device)
    if not calls.lockstep:  # the sequential calibration could not tell the views apart
        config = replace(config, calibration="independent")
    recipes, reasons = _recipes(model, plan, config, calls, settings)
    recipes |= _output_rows(model, picture, config, recipes, target)
    calibrate = independent
    if config.calibration == "sequential":
        _check_memory(calls, config.views, settings)
        calibrate = sequential
    progress(0.0, 1.0, "drawing random views")
    if config.weighting == "target":
        batches, relevant = _weighted(model, picture, config, recipes, target, span(progress, 0.0, 0.3))
    else:
        batches, relevant = views_of(model, picture, config), None
    pruner = Pruner(SOLVERS[config.solver], config.damping, ridge=config.refit)
    begun = 0.3 if relevant else 0.05
    solved = calibrate(model.module, batches, recipes, pruner, relevant=relevant, progress=span(progress, begun, 0.95))
    module = share_copy(model.module, own=solved)
    with torch.no_grad():
        for name, layer in solved.items():
            module.get_parameter(name).copy_(layer.weight)
    progress(0.95, 1.0, "comparing the predictions")
    fidelity = measure_fidelity(model, module, picture, target)
    report = _report(model, recipes, solved, reasons, calls)
    progress(1.0, 1.0, "trace ready")
    return Trace(model, module, config, report, fidelity, picture.sha256, time.perf_counter() - start)


def _weighted(
    model: LoadedModel, picture: Picture, config: TraceConfig, recipes: Recipes, target: int | None, progress: Progress
) -> tuple[list[Tensor], Relevance]:
    """Return the views, equal ones once, and what each of their positions counts."""
    untouched = min(config.untouched, config.views)
    distinct = replace(config, views=config.views - max(0, untouched - 1), untouched=min(1, untouched))
    batches = views_of(model, picture, distinct)
    explained = int(predict(model, picture).argmax()) if target is None else target
    weights = {name: model.module.get_parameter(name) for name in recipes}
    return batches, relevance(model.module, batches, weights, explained, untouched=untouched, progress=progress)


def views_of(model: LoadedModel, picture: Picture, config: TraceConfig) -> list[Tensor]:
    """Return the untouched views and the random ones, normalised, in batches."""
    untouched = min(config.untouched, config.views)
    views = [model.input(picture)] * untouched
    if config.views > untouched:
        pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)
        count, size = config.views - untouched, model.preprocessing.size
        drawn = random_views(pixels, count, size, seed=config.seed, device=model.device)
        views.append(model.preprocessing.normalize(drawn).to(model.dtype))
    return list(torch.cat(views).contiguous(memory_format=torch.channels_last).split(BATCH))


def _recipes(
    model: LoadedModel, plan: Plan, config: TraceConfig, calls: Survey, settings: Settings
) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Return what to solve (parameter -> recipe), and why each other layer stays dense (layer -> reason)."""
    recipes: dict[str, Recipe] = {}
    reasons: dict[str, str] = {}
    first = next(iter(calls.uses), None)  # it reads the picture
    for layer in model.layers:
        ratio = plan.ratios.get(layer.name, 0.0)
        weight = model.module.get_parameter(layer.parameter)
        h_bytes = layer.groups * weight[0].numel() ** 2 * weight.element_size()
        if layer.parameter not in calls.uses:
            reasons[layer.name] = calls.missing_reason(layer)
        elif layer.parameter == first and not config.first_layer:
            reasons[layer.name] = "dense by request: the first layer"
        elif ratio == 0:
            reasons[layer.name] = "dense by request"
        elif h_bytes > settings.max_h_bytes:
            size = f"{h_bytes / 2**30:.1f} GiB"
            reasons[layer.name] = f"dense: its second moment of {size} exceeds SPADE_MAX_H_BYTES"
        else:
            block = config.block_size or layer.kernel
            recipes[layer.parameter] = Recipe(layer, ratio, block, _positions(layer, config))
    if not calls.uses:
        raise ModelError(f"No layer of {model.name} could be captured: it calls neither F.conv2d nor F.linear.")
    return recipes, reasons


def _output_rows(
    model: LoadedModel, picture: Picture, config: TraceConfig, recipes: Recipes, target: int | None
) -> dict[str, Recipe]:
    """Return the output layer's recipe anew where a solver of cubic cost cannot solve all its classes in time."""
    last = recipes.get(model.layers[-1].parameter)
    if last is None or not SOLVERS[config.solver].cubic:
        return {}
    rows, columns = last.layer.shape[0], last.layer.numel // last.layer.shape[0]
    if rows != len(model.labels) or rows * columns**3 / 3 < CUBIC_LIMIT:
        return {}
    top = predict(model, picture).argsort()[::-1][:TOP].tolist()
    chosen = tuple(sorted({*top, top[0] if target is None else target}))
    return {last.layer.parameter: replace(last, rows=chosen)}


def _positions(layer: Layer, config: TraceConfig) -> int | None:
    """Return how many receptive fields a spatial kernel's second moment is taken over.

    Unfolding a 3x3 kernel copies the input nine times, yet a few thousand fields fix its few columns' moments.
    """
    if layer.kernel == 1 or not config.positions:
        return None
    return max(config.positions, POSITIONS_PER_COLUMN * (layer.numel // layer.shape[0]))


def _check_memory(calls: Survey, views: int, settings: Settings) -> None:
    needed = 2 * views * calls.bytes_per_view
    if needed > settings.max_calibration_bytes:
        most = settings.max_calibration_bytes // (2 * calls.bytes_per_view)
        raise ConfigError(
            f"Sequential calibration with {views:,} views needs about {needed / 2**30:.0f} GiB: take at most {most:,} "
            "views, the independent calibration, or raise SPADE_MAX_CALIBRATION_BYTES."
        )


def _report(
    model: LoadedModel, recipes: Recipes, solved: Mapping[str, Solved], reasons: Mapping[str, str], calls: Survey
) -> Report:
    rows = []
    for layer in model.layers:
        if layer.parameter in solved:
            result, status, requested = solved[layer.parameter], "pruned", recipes[layer.parameter].sparsity
            uses = calls.uses[layer.parameter]
            reason = f"used {uses} times, calibrated over all or on its first use" if uses > 1 else ""
            if exact := len(recipes[layer.parameter].rows):
                reason = f"exact for {exact} rows, the target's and the {TOP} likeliest classes'; FastSPADE for others"
        else:
            result, requested = Solved(model.module.get_parameter(layer.parameter), 0.0, 0.0, 0.0), 0.0
            reason = reasons.get(layer.name, "not captured: the pass over the views never used it")
            status = "not captured" if reason.startswith("not captured") else "dense"
        realised = float((result.weight == 0).sum()) / result.weight.numel()
        told = status, reason, requested, realised, result.error, result.damping, result.seconds
        rows.append(LayerReport(layer.name, stage_of(layer.name, model.family), layer.shape, *told))
    return Report(tuple(rows))
