"""One analysis: a picture, its trace, and the maps of several methods on the dense model and on the trace.

The command line, the worker and the library all come through :func:`analyse`, so that the same configuration gives the
same bits wherever it runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from spade_core.errors import ConfigError
from spade_core.models.labels import resolve_target
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.figures import colorize, figure_png, png_bytes
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace
from spade_core.results import manifest
from spade_core.results.config import AnalysisConfig
from spade_core.saliency import METHODS, colour_limits, top_of
from spade_core.saliency.explanation import Explanation, explain
from spade_core.saliency.metrics import pointing_game, trojan_auc

TRACE_SHARE = 0.6  # of the progress bar; the methods share the rest


@dataclass(frozen=True)
class Pair:
    """The maps of one method: of the dense model and of its trace."""

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


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result of :func:`analyse`.

    Attributes:
        trace: with its report and fidelity.
        pairs: method slug -> maps; a method that this model does not support is in ``refused`` with the reason.
        seconds: of the whole analysis, without loading the model.
    """

    picture: Picture
    config: AnalysisConfig
    trace: Trace
    pairs: Mapping[str, Pair]
    refused: Mapping[str, str]
    seconds: float


def analyse(
    model: LoadedModel,
    picture: Picture,
    config: AnalysisConfig,
    *,
    make_trace: Callable[..., Trace] = trace,
    progress: Progress = silent,
    on_trace: Callable[[Trace], None] = lambda _: None,
    on_pair: Callable[[str, Pair], None] = lambda *_: None,
) -> Analysis:
    """Make the trace of ``picture`` and explain dense model and trace with every method.

    Args:
        make_trace: called like ``spade_core.trace``; another one may keep traces.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        on_trace, on_pair: called as soon as the trace and each method's two maps are there.

    Raises:
        LayerError: no chosen method supports this model.
        SpadeError: an option cannot be used.
    """
    start = time.perf_counter()
    refused = {slug: reason for slug in config.methods if (reason := METHODS[slug].unsupported(model))}
    methods = [slug for slug in config.methods if slug not in refused]
    if not methods:
        raise ConfigError(next(iter(refused.values())))
    target = None if config.target is None else resolve_target(model, config.target)
    part = span(progress, 0, TRACE_SHARE)
    pruned = make_trace(model, picture, **config.trace, target=target, seed=config.seed, progress=part)
    on_trace(pruned)
    pairs = {}
    for index, slug in enumerate(methods):
        edges = [TRACE_SHARE + (1 - TRACE_SHARE) * (index + half) / len(methods) for half in (0, 0.5, 1)]
        options = {"target": pruned.fidelity.target, "seed": config.seed, **config.options.get(slug, {})}
        dense = explain(model, picture, method=slug, progress=span(progress, *edges[:2]), **options)
        spade = explain(pruned, picture, method=slug, progress=span(progress, *edges[1:]), **options)
        pairs[slug] = Pair(dense, spade)
        on_pair(slug, pairs[slug])
    progress(1.0, 1.0, "done")
    return Analysis(picture, config, pruned, pairs, refused, time.perf_counter() - start)


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
        "picture": manifest.picture_record(analysis.picture, source, None if trigger is None else trigger.paste),
        "config": analysis.config.to_dict(),
        "trace": trace.config.to_dict(),
        **manifest.outcome(trace),
        "layers": trace.report.to_rows(),
        "methods": {slug: _describe(slug, pair, trigger) for slug, pair in analysis.pairs.items()},
        "refused": dict(analysis.refused),
        "seconds": {"trace": trace.seconds, "total": analysis.seconds},
    }
    return manifest.manifest(trace.model, own)


def _describe(slug: str, pair: Pair, trigger: TriggerRecord | None) -> dict[str, object]:
    return {
        "title": METHODS[slug].title,
        "signed": pair.dense.signed,
        "settings": dict(pair.dense.settings),
        **{
            side: {
                "file": f"{side}_{slug}.npy",
                "sha256": manifest.digest(item.map),
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
        for side, item in pair.sides.items():
            files[f"{side}_{slug}.npy"] = manifest.npy_bytes(item.map)
            files[f"{side}_{slug}.png"] = png_bytes(colorize(pair.shown[side], colour_limits(item.signed), item.signed))
        signed, shown = pair.dense.signed, pair.shown
        rows.append((METHODS[slug].title, shown["dense"], shown["spade"], colour_limits(signed), signed))
    crop = analysis.trace.model.preprocessing.crop(analysis.picture)
    fidelity = analysis.trace.fidelity
    probabilities = f"dense {fidelity.dense_probability:.2f}, trace {fidelity.trace_probability:.2f}"
    title = f"{analysis.trace.model.name}: {fidelity.label} ({probabilities})"
    files["figure.png"] = figure_png(crop, rows, title)
    files["manifest.json"] = json.dumps(describe(analysis, source, trigger), indent=2, ensure_ascii=False).encode()
    return files


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
        for side, item in pair.sides.items():
            entry = described["methods"][slug][side]
            if manifest.digest(item.map) == entry["sha256"]:
                found[f"{side}_{slug}"] = 0.0
            else:
                file = folder / entry["file"]
                before = np.load(file, allow_pickle=False) if file.is_file() else np.full_like(item.map, np.nan)
                found[f"{side}_{slug}"] = float(np.abs(before - item.map).max()) or float("nan")
    return analysis, found
