"""One analysis: a picture, its trace or a bundle of them, and the maps of several methods on the dense model and there.

The command line, the worker and the library all come through :func:`analyse`, so that the same configuration gives the
same bits wherever it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from textwrap import shorten

import numpy as np

from spade_core.models.labels import resolve_target
from spade_core.models.loaded import LoadedModel, Network
from spade_core.pictures.figures import FigureRow, colorize, figure_png, png_bytes
from spade_core.pictures.fonts import drawable, shown_name
from spade_core.pictures.markup import beside_html, card_html, picture_html
from spade_core.pictures.picture import Picture
from spade_core.pictures.scales import SPREAD, scale_of
from spade_core.progress import Progress, silent, span
from spade_core.pruning.calibration import Shared
from spade_core.pruning.options import by_ratios
from spade_core.pruning.spade import trace_many
from spade_core.pruning.trace import Bundle, Trace
from spade_core.results import manifest
from spade_core.results.config import AnalysisConfig
from spade_core.saliency import METHODS, colour_limits, top_of
from spade_core.saliency.explanation import Explanation, explain
from spade_core.saliency.metrics import pointing_game, trojan_auc

TITLE = 80  # letters of a class's name in it
TRACE_SHARE = 0.6  # of the progress bar; the methods share the rest


@dataclass(frozen=True)
class Pair:
    """The maps of one method: of the dense model and of its trace, or of a bundle of them."""

    dense: Explanation
    spade: Explanation

    @property
    def sides(self) -> dict[str, Explanation]:
        """Either map by the name of its network."""
        return {"dense": self.dense, "spade": self.spade}

    @cached_property
    def shown(self) -> dict[str, np.ndarray]:
        """Either map in its own unit, see ``top_of``."""
        return {side: item.map / top_of(item.map) for side, item in self.sides.items()}

    @property
    def spread(self) -> np.ndarray | None:
        """A bundle's spread in the unit of its map."""
        return None if self.spade.spread is None else self.spade.spread / top_of(self.spade.map)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What is kept of it, by the name of its network; ``spread`` of a bundle."""
        spread = {} if self.spade.spread is None else {"spread": self.spade.spread}
        return {side: item.map for side, item in self.sides.items()} | spread

    @property
    def title(self) -> str:
        """What the method is called."""
        return METHODS[self.spade.method].title

    def _repr_html_(self) -> str:
        named = {"Dense": self.dense, "SPADE": self.spade}
        alts = {name: f"Saliency map by {self.title} of the class {item.label}, {name}" for name, item in named.items()}
        return card_html(
            f"{self.title}: {self.spade.label}",
            beside_html(*(picture_html(item.pixels, name, alts[name]) for name, item in named.items())),
            notes=dict.fromkeys((*self.dense.notes, *self.spade.notes)),
        )


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result of :func:`analyse`.

    Attributes:
        of_each: method slug -> the traces that its map is made of, one or as many as were asked for; methods whose
            ratios are the same share them, see ``pruning.options.by_ratios``.
        pairs: method slug -> maps; a method that this model does not support is in ``refused`` with the reason.
        seconds: of the whole analysis, without loading the model.
    """

    picture: Picture
    config: AnalysisConfig
    of_each: Mapping[str, Bundle]
    pairs: Mapping[str, Pair]
    refused: Mapping[str, str]
    seconds: float

    @property
    def distinct(self) -> tuple[tuple[Bundle, tuple[str, ...]], ...]:
        """Each bundle of traces once, with the methods whose maps are made of it."""
        bundles = dict.fromkeys(self.of_each.values())
        return tuple((one, tuple(slug for slug, own in self.of_each.items() if own is one)) for one in bundles)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """All traces."""
        return tuple(one for made, _ in self.distinct for one in made.traces)

    @property
    def trace(self) -> Trace:
        """The trace; of several pruned ones the one that gives the explained class the lowest probability."""
        return Bundle(tuple(one for one in self.traces if one.report.prunes) or self.traces).weakest

    @property
    def crop(self) -> np.ndarray:
        """What the model sees of the picture, uint8 ``(height, width, 3)``."""
        return self.trace.model.preprocessing.crop(self.picture)

    def _repr_html_(self) -> str:
        seen = picture_html(self.crop, "What the model sees", f"The picture {self.picture.name}, as the model sees it")
        pairs = (pair._repr_html_() for pair in self.pairs.values())
        return card_html(self.picture.name, beside_html(seen, self.trace._repr_html_()), *pairs)


def analyse(
    model: LoadedModel,
    picture: Picture,
    config: AnalysisConfig,
    *,
    make_traces: Callable[..., Bundle] = trace_many,
    progress: Progress = silent,
    on_trace: Callable[[Trace], None] = lambda _: None,
    on_pair: Callable[[str, Pair], None] = lambda *_: None,
) -> Analysis:
    """Make the trace of ``picture``, or several, and explain dense model and trace with every method.

    Methods with ratios of their own have traces of their own, each made just before its first method. Where the map of
    several traces is the mean of their magnitudes, the dense map is its magnitude, too.

    Args:
        make_traces: called like ``spade_core.trace_many``; another one may keep traces.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        on_trace, on_pair: called as soon as the first trace and each method's two maps are there.

    Raises:
        LayerError: no chosen method supports this model.
        SpadeError: an option cannot be used.
    """
    start = time.perf_counter()
    refused = {slug: reason for slug in config.methods if (reason := METHODS[slug].unsupported(model))}
    methods = [slug for slug in config.methods if slug not in refused]
    if not methods:
        METHODS[config.methods[0]].demand(model)
    target = None if config.target is None else resolve_target(model, config.target)
    groups = by_ratios(config.trace, model.name, methods)
    common = {"traces": config.bundle.traces, "target": target, "seed": config.seed, "shared": Shared()}
    parts = _parts(progress, [slugs for _, slugs in groups])
    bundles: dict[str, Bundle] = {}
    pairs: dict[str, Pair] = {}
    for options, slugs in groups:
        made = make_traces(model, picture, **options, **common, progress=next(parts))
        if not bundles:
            on_trace(made.weakest)
        for slug in slugs:
            bundles[slug], pairs[slug] = made, _pair(made, picture, slug, config, next(parts))
            on_pair(slug, pairs[slug])
    progress(1.0, 1.0, "done")
    of_each, pairs = {slug: bundles[slug] for slug in methods}, {slug: pairs[slug] for slug in methods}
    return Analysis(picture, config, of_each, pairs, refused, time.perf_counter() - start)


def _parts(progress: Progress, groups: Sequence[Sequence[str]]) -> Iterator[Progress]:
    """Yield the progress of each group's traces, and of its methods after them."""
    trace, method, done = TRACE_SHARE / len(groups), (1 - TRACE_SHARE) / sum(map(len, groups)), 0.0
    for group in groups:
        for share in (trace, *[method] * len(group)):
            yield span(progress, done, min(1.0, done + share))
            done += share


def _pair(made: Bundle, picture: Picture, slug: str, config: AnalysisConfig, progress: Progress) -> Pair:
    """Explain both networks by one method; a trace of which nothing was pruned is the dense model."""
    first, count = made.traces[0], len(made.traces)
    options = {"target": first.fidelity.target, "seed": config.seed, **config.options.get(slug, {})}
    half = 1 / (1 + count)
    dense = explain(first.model, picture, method=slug, progress=span(progress, 0, half), **options)
    shown = replace(dense, map=np.abs(dense.map), signed=False) if config.bundle.magnitudes else dense
    if not first.report.prunes:
        return Pair(shown, shown)
    network: Network | Bundle = made if count > 1 else first
    part, average = span(progress, half, 1), config.bundle.average
    return Pair(shown, explain(network, picture, method=slug, average=average, progress=part, **options))


@dataclass(frozen=True, eq=False)
class TriggerRecord:
    """What was pasted into the picture (a ``trojan.Paste`` as a dictionary), and its mask at the model's input."""

    paste: Mapping[str, object]
    mask: np.ndarray

    def scores(self, values: np.ndarray) -> dict[str, float | bool]:
        """Return how well a map shows it; a signed map's evidence against the class is a use of the pixel, too."""
        strength = np.abs(values)
        return {"trojan_auc": trojan_auc(strength, self.mask), "pointing_game": pointing_game(strength, self.mask)}


def describe(analysis: Analysis, source: str | None = None, trigger: TriggerRecord | None = None) -> dict[str, object]:
    """Return the manifest of an analysis, JSON-able.

    Args:
        source: where a replay finds the picture, before a trigger was pasted.
        trigger: what was pasted; every method is then scored against its mask.
    """
    trace = analysis.trace
    own = {
        "picture": manifest.picture_record(
            trace.model, analysis.picture, source, None if trigger is None else trigger.paste
        ),
        "config": analysis.config.to_dict(),
        "trace": trace.config.to_dict(),
        **manifest.outcome(trace),
        "traces": [_describe_trace(one, methods) for made, methods in analysis.distinct for one in made.traces],
        "layers": trace.report.to_rows(),
        "methods": {slug: _describe(slug, pair, trigger) for slug, pair in analysis.pairs.items()},
        "refused": dict(analysis.refused),
        "notes": [note for note in [shown_name(trace.fidelity.label, trace.fidelity.target)[1]] if note],
        "seconds": {"trace": sum(one.seconds for one in analysis.traces), "total": analysis.seconds},
    }
    return manifest.manifest(trace.model, own)


def _describe_trace(trace: Trace, methods: Sequence[str]) -> dict[str, object]:
    """Return what a manifest says of one trace: the methods of its maps, and their own ratios where they have some."""
    told = {"methods": list(methods), "seed": trace.config.seed, "pruned": trace.report.prunes}
    ratios = {} if trace.config.table is None else {"stages": trace.config.table["stages"]}
    return {**told, "sparsity": trace.report.sparsity, **ratios, "fidelity": trace.fidelity.to_dict()}


def _describe(slug: str, pair: Pair, trigger: TriggerRecord | None) -> dict[str, object]:
    files = {
        side: {"file": f"{side}_{slug}.npy", "sha256": manifest.digest(values)} for side, values in pair.arrays.items()
    }
    return {
        "title": METHODS[slug].title,
        "signed": pair.spade.signed,
        "settings": dict(pair.spade.settings),
        **({"spread": files["spread"], "agreement": pair.spade.agreement} if "spread" in files else {}),
        **{
            side: {
                **files[side],
                "top": top_of(item.map),
                "seconds": item.seconds,
                "notes": list(item.notes),
                **({} if trigger is None else trigger.scores(item.map)),
            }
            for side, item in pair.sides.items()
        },
    }


def bundle(analysis: Analysis, source: str | None = None, trigger: TriggerRecord | None = None) -> dict[str, bytes]:
    """Return all files of an analysis: manifest, arrays, map pictures, one figure of all methods, a trigger's mask."""
    files = {} if trigger is None else {"mask.npy": manifest.npy_bytes(trigger.mask)}
    rows = []
    for slug, pair in analysis.pairs.items():
        for side, values in pair.arrays.items():
            files[f"{side}_{slug}.npy"] = manifest.npy_bytes(values)
        signed, shown = pair.spade.signed, pair.shown
        for side, values in shown.items():
            files[f"{side}_{slug}.png"] = png_bytes(colorize(values, colour_limits(signed), scale_of(signed)))
        if pair.spread is not None:
            files[f"spread_{slug}.png"] = png_bytes(colorize(pair.spread, colour_limits(False), SPREAD))
        sides = shown["dense"], shown["spade"], pair.spread
        rows.append(FigureRow(METHODS[slug].title, *sides, colour_limits(signed), signed))
    files["figure.png"] = figure_png(analysis.crop, rows, _title(analysis))
    files["manifest.json"] = manifest.manifest_bytes(describe(analysis, source, trigger))
    return files


def _title(analysis: Analysis) -> str:
    """Return what stands above the figure."""
    fidelity = analysis.trace.fidelity
    kept = sorted({f"{one.fidelity.trace_probability:.2f}" for one in analysis.traces})
    traced = f"trace {kept[0]}" if len(kept) == 1 else f"traces {kept[0]} to {kept[-1]}"
    probabilities = f"dense {fidelity.dense_probability:.2f}, {traced}"
    name, _ = shown_name(fidelity.label, fidelity.target)
    return (
        f"{drawable(analysis.trace.model.name) or 'model'}: {shorten(name, TITLE, placeholder=' …')} ({probabilities})"
    )


def replay(
    path: str | Path, *, image: str | Path | None = None, device: str = "auto", progress: Progress = silent
) -> tuple[Analysis, manifest.Comparison]:
    """Compute the analysis of a manifest again, with its thread count, and compare the maps bit by bit.

    Args:
        path: the manifest or its folder.
        image: where the picture lies now, if not where the manifest says.
        device: as recorded with ``auto`` where that device exists.

    Raises:
        ConfigError: the manifest, the picture or the weights are not those of the record.
    """
    described = manifest.read_manifest(path)
    with manifest.reopened(described, image=image, device=device) as (model, picture):
        analysis = analyse(model, picture, AnalysisConfig.from_dict(described["config"]), progress=progress)
    folder, found = Path(path) if Path(path).is_dir() else Path(path).parent, manifest.Comparison()
    for slug, pair in analysis.pairs.items():
        for side, values in pair.arrays.items():
            entry = described["methods"][slug][side]
            if manifest.digest(values) == entry["sha256"]:
                found[f"{side}_{slug}"] = 0.0
            else:
                file = folder / entry["file"]
                before = np.load(file, allow_pickle=False) if file.is_file() else np.full_like(values, np.nan)
                found[f"{side}_{slug}"] = float(np.abs(before - values).max()) or float("nan")
    return analysis, found
