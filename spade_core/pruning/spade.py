"""SPADE's Algorithm 1: from a dense model and one picture to its trace.

``trace`` draws random views of the picture, reads every layer's inputs, prunes each layer to what these inputs need,
and returns the pruned copy with a report per layer and its fidelity. The dense model is never changed. ``trace_many``
makes several at once, of one picture or of many, and is what ``trace`` is for a single one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor, nn

from spade_core.compiler import uncompiled
from spade_core.config import Settings
from spade_core.errors import ConfigError, ModelError, PictureError, expect
from spade_core.isolation import full_precision
from spade_core.models.labels import resolve_target
from spade_core.models.layers import Layer, share_copy
from spade_core.models.loaded import LoadedModel, predict
from spade_core.models.output import log_probabilities
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.calibration import BATCH, Pruner, Recipe, Recipes, Shared, Solved, independent, sequential
from spade_core.pruning.options import TraceConfig, TraceOptions, checked, checked_bundle, takes_options
from spade_core.pruning.relevance import Relevance, relevance
from spade_core.pruning.report import LayerReport, Report
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.sparsity import Plan, Request, even, resolve, stage_of
from spade_core.pruning.trace import Bundle, Trace, measure_fidelity, outputs
from spade_core.pruning.untouched import Untouched
from spade_core.pruning.usage import Survey, survey
from spade_core.pruning.views import Views, noisy_views, random_views

AUTO_RATIOS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
POSITIONS_PER_COLUMN = 16
CUBIC_LIMIT = 2e11  # multiply-adds for which an output layer may be solved exactly, some ten seconds
TOP = 5  # classes whose rows are solved exactly beside the target's where not all are
Target: TypeAlias = int | str | None
_ALONE: Mapping[str, Any] = {"calibration": "independent"}
SIDE_BY_SIDE = {"cpu": 8, "cuda": 32}  # traces in one pass; more gain nothing and need memory


@dataclass(frozen=True)
class Wanted:
    """A trace to make: of a picture, for a class (None: the dense top-1), with these options.

    ``steered_by``: the model whose relevance weighs its receptive fields; None: the one that is pruned.
    """

    picture: Picture
    target: int | None
    config: TraceConfig
    steered_by: LoadedModel | None = None


@takes_options
def trace(
    model: LoadedModel,
    picture: Picture,
    *,
    target: int | str | None = None,
    shared: Shared | None = None,
    progress: Progress = silent,
    **options: object,
) -> Trace:
    """Prune a copy of ``model`` to the connections that ``picture`` uses (SPADE, Algorithm 1).

    Args:
        model: read-only; the trace shares its unpruned tensors.
        target: the explained class, index or label; None: the dense model's top-1.
        shared: what earlier traces left, see ``Shared``: give the same one to several that differ by their ratios.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        options: see ``TraceOptions``.

    Raises:
        ConfigError: an option cannot be used.
        ModelError: no layer's input could be captured.
    """
    return _make(model, [picture], [target], [0], options, progress, shared)[0]


@overload
def trace_many(
    model: LoadedModel,
    pictures: Picture,
    *,
    traces: int = 1,
    target: Target = None,
    steered_by: LoadedModel | None = None,
    shared: Shared | None = None,
    progress: Progress = silent,
    **options: object,
) -> Bundle: ...


@overload
def trace_many(
    model: LoadedModel,
    pictures: Sequence[Picture],
    *,
    traces: int = 1,
    target: Target | Sequence[Target] = None,
    steered_by: LoadedModel | None = None,
    shared: Shared | None = None,
    progress: Progress = silent,
    **options: object,
) -> tuple[Trace, ...]: ...


@takes_options
def trace_many(
    model: LoadedModel,
    pictures: Picture | Sequence[Picture],
    *,
    traces: int = 1,
    target: Target | Sequence[Target] = None,
    steered_by: LoadedModel | None = None,
    shared: Shared | None = None,
    progress: Progress = silent,
    **options: object,
) -> Bundle | tuple[Trace, ...]:
    """Make several traces at once: of one picture with different seeds, or of several pictures.

    Each is what :func:`trace` makes alone, up to rounding; what they share is computed once: the dense model's pass,
    untouched views and their relevance, and the steps of a solver that works on several problems side by side.

    Args:
        model: read-only; the traces share its unpruned tensors.
        pictures: one, or several.
        traces: how many of a single picture; their seeds are ``seed``, ``seed + 1``, ... Several have one each.
        target: the explained class, index or label; None: the dense model's top-1; of several pictures one for all,
            or as many as there are pictures.
        steered_by: a model of the same architecture whose relevance the weighting ``target`` takes; None: ``model``'s.
            Only a sanity check asks for another one.
        shared: as for :func:`trace`.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        options: see ``TraceOptions``.

    Returns:
        a :class:`Bundle` of one picture's traces, or a trace for each picture.

    Raises:
        ConfigError: an option cannot be used.
        ModelError: no layer's input could be captured.
    """
    count = checked_bundle({"traces": traces}).traces
    if isinstance(pictures, Picture):
        targets = _targets(target, 1) * count
        made = _make(model, [pictures] * count, targets, range(count), options, progress, shared, steered_by)
        return Bundle(tuple(made))
    if not isinstance(pictures, Sequence):
        raise PictureError("Pictures are one that load_picture gives, or a list of them: give one or the other.")
    if count > 1:
        raise ConfigError("Several pictures have one trace each: leave the number of traces out, or give one picture.")
    later = [0] * len(pictures)
    each = _targets(target, len(pictures))
    return tuple(_make(model, pictures, each, later, options, progress, shared, steered_by))


def _targets(given: Target | Sequence[Target], count: int) -> list[Target]:
    if given is None or isinstance(given, int | str):
        return [given] * count
    if len(given) != count:
        raise ConfigError(f"There are {count} pictures, but {len(given)} targets: give one for each.")
    return list(given)


def _make(
    model: LoadedModel,
    pictures: Sequence[Picture],
    targets: Sequence[Target],
    later: Sequence[int],
    options: Mapping[str, object],
    progress: Progress,
    shared: Shared | None,
    steered_by: LoadedModel | None = None,
) -> list[Trace]:
    """Make a trace of each picture, whose seed is so much ``later`` than the one that is asked for."""
    expect(model, LoadedModel, "A trace is made of a model that load_model or wrap_model gives", ModelError)
    for picture in pictures:
        expect(picture, Picture, "A trace is made for a picture that load_picture gives", PictureError)
    chosen = [None if target is None else resolve_target(model, target) for target in targets]
    config, plan = _asked(model, options)
    seeds = [replace(config, seed=config.seed + offset) for offset in later]
    wanted = [Wanted(*one, steered_by) for one in zip(pictures, chosen, seeds, strict=True)]
    if plan is not None:
        return _traces(model, wanted, plan, progress, shared or Shared())
    edges = [index / max(1, len(wanted)) for index in range(len(wanted) + 1)]
    return [_search(model, one, span(progress, *edges[at : at + 2])) for at, one in enumerate(wanted)]


def _asked(model: LoadedModel, options: Mapping[str, object]) -> tuple[TraceConfig, Plan | None]:
    """Return all options, filled in by the preset, and its plan; None: the preset searches for one."""
    asked = checked(options)
    solvers = {"damping": SOLVERS[asked.solver].damping}
    plan = resolve(asked.filled(solvers).preset, request_of(model, asked))
    # A search's traces never see the untouched picture, unless asked to: keeping the class means something.
    return asked.filled({**solvers, **({"untouched": 0} if plan is None else plan.options)}), plan


def request_of(model: LoadedModel, asked: TraceOptions) -> Request:
    """Return what a preset may look at of a model and of what is asked for."""
    return Request(model.name, model.family, model.layers, asked.sparsity, asked.stages, asked.table)


def _search(model: LoadedModel, wanted: Wanted, progress: Progress) -> Trace:
    """Preset ``auto``: bisect ``AUTO_RATIOS`` for the highest even ratio whose trace keeps the class."""
    low, high, best, tried = 0, len(AUTO_RATIOS), None, 0
    steps, shared = len(AUTO_RATIOS).bit_length(), Shared()
    while low < high:
        middle = (low + high) // 2
        ratio = AUTO_RATIOS[middle]
        plan = even(Request(model.name, model.family, model.layers), ratio)
        part = span(progress, min(tried / steps, 0.95), min((tried + 1) / steps, 1.0))
        tables = [replace(wanted, config=replace(wanted.config, sparsity=ratio))]
        (found,) = _traces(model, tables, plan, part, shared)
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
def _traces(
    model: LoadedModel, wanted: Sequence[Wanted], plan: Plan, progress: Progress, shared: Shared
) -> list[Trace]:
    """Make traces whose options differ by their seeds alone, as many at once as fit into the memory."""
    if not wanted:
        return []
    settings = Settings.from_environment()
    calls = _calls(model)
    if not calls.lockstep:  # the sequential calibration could not tell the views apart
        wanted = [replace(one, config=replace(one.config, **_ALONE)) for one in wanted]
    recipes, reasons = _recipes(model, plan, wanted[0].config, calls, settings)
    alone = SOLVERS[wanted[0].config.solver].cubic or not calls.lockstep
    most = 1 if alone else _at_once(model, wanted[0].config, recipes, calls, settings)
    made: list[Trace] = []
    while len(made) < len(wanted):
        part = wanted[len(made) : len(made) + most]
        edges = [done / len(wanted) for done in (len(made), len(made) + len(part))]
        own = {**recipes, **_output_rows(model, part[0], recipes)}
        with uncompiled():  # what is compiled inside would be compiled with what listens to it
            made += _side_by_side(model, part, own, reasons, calls, span(progress, *edges), shared)
    return made


def _side_by_side(
    model: LoadedModel,
    wanted: Sequence[Wanted],
    recipes: Recipes,
    reasons: Mapping[str, str],
    calls: Survey,
    progress: Progress,
    shared: Shared,
) -> list[Trace]:
    start, config = time.perf_counter(), wanted[0].config
    known = shared.under(_conditions(model, wanted))
    progress(0.0, 1.0, "drawing random views")
    views, relevant = views_of(model, wanted), None
    dense = {one.picture: outputs(model, model.module, one.picture) for one in wanted}
    begun = 0.05
    if recipes and config.weighting == "target":
        begun = 0.3
        likeliest = {picture: log_probabilities(one, model.output)[0].argmax() for picture, one in dense.items()}
        targets = [int(likeliest[one.picture]) if one.target is None else one.target for one in wanted]
        steering, part = wanted[0].steered_by or model, span(progress, 0.0, begun)
        relevant = known.relevance(recipes, lambda: _relevant(steering, views, config, recipes, targets, part))
    untouched = Untouched(model.module)
    solved = _solved(model, views, config, recipes, relevant, span(progress, begun, 0.95), known)
    progress(0.95, 1.0, "comparing the predictions")
    found = []
    for one, layers in zip(wanted, solved, strict=True):
        module = _pruned(model, layers)
        untouched.check(module, layers)
        fidelity = measure_fidelity(model, module, one.picture, one.target, dense[one.picture])
        found.append(
            (module, one.config, _report(model, recipes, layers, reasons, calls), fidelity, one.picture.sha256)
        )
    progress(1.0, 1.0, "trace ready" if len(found) == 1 else "traces ready")
    seconds = (time.perf_counter() - start) / len(found)
    return [Trace(model, *parts, seconds) for parts in found]


def _conditions(model: LoadedModel, wanted: Sequence[Wanted]) -> Hashable:
    """Return all that the relevance and the layers of traces depend on but their ratios."""
    options = [replace(one.config, preset="custom", sparsity=None, stages={}, table=None) for one in wanted]
    pictures = tuple((one.picture.sha256, one.target) for one in wanted)
    return model, wanted[0].steered_by, pictures, json.dumps([one.to_dict() for one in options])


def _solved(
    model: LoadedModel,
    views: Views,
    config: TraceConfig,
    recipes: Recipes,
    relevant: Sequence[Relevance] | None,
    progress: Progress,
    shared: Shared,
) -> list[dict[str, Solved]]:
    """Return the solved layers of each trace."""
    if not recipes:  # a table may leave all dense
        return [{} for _ in views.rows]
    pruner = Pruner(SOLVERS[config.solver], config.damping, ridge=config.refit)
    given = model.module, views, recipes, pruner
    if config.calibration == "independent":
        return independent(*given, relevant=relevant, progress=progress)
    return sequential(*given, relevant=relevant, shared=shared, progress=progress)


@takes_options
@full_precision()
def prune_globally(
    model: LoadedModel,
    pictures: Sequence[Picture],
    *,
    targets: Sequence[int] | None = None,
    progress: Progress = silent,
    **options: object,
) -> tuple[nn.Module, Report]:
    """Prune a copy of ``model`` once for all of several pictures: what a trace is compared with.

    The second moments are means over the pictures, each seen once as the model sees it; so views, untouched ones and
    the seed have no meaning here. All else is done as for a trace.

    Args:
        model: read-only; the copy shares its unpruned tensors.
        pictures: at least one.
        targets: the class of each that the weighting ``target`` asks about; None: the dense model's top-1.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        options: see ``TraceOptions``.

    Returns:
        the pruned network, and its layers.

    Raises:
        ConfigError: an option cannot be used, there are no pictures, or too many for the memory.
        ModelError: no layer's input could be captured.
    """
    config, plan = _asked(model, options)
    if plan is None or not pictures:
        raise ConfigError(
            "One pruning for all pictures needs pictures, and a preset that searches nothing: give these."
        )
    settings, calls = Settings.from_environment(), _calls(model)
    config = replace(config, views=len(pictures), untouched=1, noisy=0, **({} if calls.lockstep else _ALONE))
    recipes, reasons = _recipes(model, plan, config, calls, settings)
    _at_once(model, config, recipes, calls, settings)
    views, relevant = Views.of_one(torch.cat([model.input(picture) for picture in pictures])), None
    if config.weighting == "target":
        asked = targets or [int(predict(model, picture).argmax()) for picture in pictures]
        weights = {name: model.module.get_parameter(name) for name in recipes}
        each = torch.tensor(asked, device=model.device)
        part, meant = span(progress, 0.0, 0.3), model.output
        relevant = relevance(model.module, views, weights, [each], output=meant, batch=BATCH, progress=part)
    untouched = Untouched(model.module)
    (solved,) = _solved(model, views, config, recipes, relevant, span(progress, 0.3, 1.0), Shared())
    untouched.check(module := _pruned(model, solved), solved)
    return module, _report(model, recipes, solved, reasons, calls)


def _relevant(
    model: LoadedModel, views: Views, config: TraceConfig, recipes: Recipes, targets: list[int], progress: Progress
) -> list[Relevance]:
    """Return what the positions of each trace's views count."""
    weights = {name: model.module.get_parameter(name) for name in recipes}
    untouched = min(config.untouched, config.views)
    # On a CPU a larger batch is no faster, and rounds otherwise: a trace's bits would depend on what is made beside it.
    together = model.device.type != "cpu"
    passes = [(views, targets)] if together else [(one, [t]) for one, t in zip(views.singly(), targets, strict=True)]
    found: list[Relevance] = []
    ask = partial(relevance, model.module, output=model.output, untouched=untouched, batch=BATCH)
    for index, (part, asked) in enumerate(passes):
        share = span(progress, index / len(passes), (index + 1) / len(passes))
        found += ask(part, weights, asked, progress=share)
    return found


def _pruned(model: LoadedModel, solved: Mapping[str, Solved]) -> nn.Module:
    """Return a copy of the network that owns the solved weights."""
    module = share_copy(model.module, own=solved)
    with torch.no_grad():
        for name, layer in solved.items():
            module.get_parameter(name).copy_(layer.weight)
    return module


def views_of(model: LoadedModel, wanted: Sequence[Wanted]) -> Views:
    """Return the views of each trace, normalised: the untouched ones, which a picture's traces share, those under noise
    and the random ones.

    Where relevance weighs them, equal views stand once: one then counts as several.
    """
    held: list[Tensor] = []
    shared: dict[tuple[Picture, int | None], range] = {}
    rows: list[Tensor] = []

    def place(images: Tensor) -> range:
        start = sum(map(len, held))
        held.append(images)
        return range(start, start + len(images))

    for one in wanted:
        untouched = min(one.config.untouched, one.config.views)
        subject = one.picture, one.target
        if subject not in shared:
            copies = min(1, untouched) if one.config.weighting == "target" else untouched
            shared[subject] = place(model.input(one.picture).expand(copies, -1, -1, -1))
        left = one.config.views - untouched
        noisy = min(one.config.noisy, left)
        own = [*place(noisy_views(model.input(one.picture), noisy, seed=one.config.seed))] if noisy else []
        own += place(_drawn(model, one.picture, left - noisy, one.config.seed))
        rows.append(torch.tensor([*shared[subject], *own], device=model.device))
    return Views(torch.cat(held).contiguous(memory_format=torch.channels_last), tuple(rows))


def _calls(model: LoadedModel) -> Survey:
    reads = model.preprocessing
    return survey(model.module, reads.size, model.device, channels=reads.channels)


def _drawn(model: LoadedModel, picture: Picture, count: int, seed: int) -> Tensor:
    reads = model.preprocessing
    if not count:
        return torch.empty(0, reads.channels, *reads.sides, device=model.device, dtype=model.dtype)
    pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)
    drawn = random_views(pixels, count, reads.size, seed=seed, device=model.device)
    return reads.normalize(drawn).to(model.dtype)


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
        h_bytes = _moment_bytes(layer, weight)
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
        raise ModelError(
            f"No layer of {model.name} could be captured, as it calls neither F.conv2d nor F.linear: let it call one."
        )
    return recipes, reasons


def _output_rows(model: LoadedModel, wanted: Wanted, recipes: Recipes) -> dict[str, Recipe]:
    """Return the output layer's recipe anew where a solver of cubic cost cannot solve all its classes in time."""
    last = recipes.get(model.layers[-1].parameter)
    if last is None or not SOLVERS[wanted.config.solver].cubic:
        return {}
    rows, columns = last.layer.shape[0], last.layer.numel // last.layer.shape[0]
    if rows != len(model.labels) or rows * columns**3 / 3 < CUBIC_LIMIT:
        return {}
    top = predict(model, wanted.picture).argsort()[::-1][:TOP].tolist()
    chosen = tuple(sorted({*top, top[0] if wanted.target is None else wanted.target}))
    return {last.layer.parameter: replace(last, rows=chosen)}


def _positions(layer: Layer, config: TraceConfig) -> int | None:
    """Return how many receptive fields a spatial kernel's second moment is taken over.

    Unfolding a 3x3 kernel copies the input nine times, yet a few thousand fields fix its few columns' moments.
    """
    if layer.kernel == 1 or not config.positions:
        return None
    return max(config.positions, POSITIONS_PER_COLUMN * (layer.numel // layer.shape[0]))


def _at_once(model: LoadedModel, config: TraceConfig, recipes: Recipes, calls: Survey, settings: Settings) -> int:
    """Return how many traces are made side by side: at most as many as fit into the memory for a calibration.

    Raises:
        ConfigError: not even one does.
    """
    room, most = settings.max_calibration_bytes, SIDE_BY_SIDE.get(model.device.type, 1)
    if config.calibration == "independent":  # all second moments of all traces are held at once
        weights = (model.module.get_parameter(name) for name in recipes)
        needed = sum(
            _moment_bytes(recipe.layer, weight) for recipe, weight in zip(recipes.values(), weights, strict=True)
        )
        return max(1, min(most, room // max(1, needed)))
    needed = 2 * config.views * calls.bytes_per_view
    if needed > room:
        fitting = room // (2 * calls.bytes_per_view)
        raise ConfigError(
            f"Sequential calibration with {config.views:,} views needs about {needed / 2**30:.0f} GiB: take at most "
            f"{fitting:,} views, the independent calibration, or raise SPADE_MAX_CALIBRATION_BYTES."
        )
    return max(1, min(most, room // max(1, needed)))


def _moment_bytes(layer: Layer, weight: Tensor) -> int:
    """Return the size of a layer's second moment."""
    return layer.groups * weight[0].numel() ** 2 * weight.element_size()


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
