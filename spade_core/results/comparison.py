"""One analysis: a picture, its trace, and the maps of several methods on the dense model and on the trace.

The command line, the worker and the library all come through :func:`analyse`, so that the same configuration gives the
same bits wherever it runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spade_core.errors import ConfigError
from spade_core.models.labels import resolve_target
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.figures import figure_png, map_png
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace
from spade_core.results.config import AnalysisConfig
from spade_core.results.manifest import (
    SCHEMA_VERSION,
    Comparison,
    digest,
    environment,
    named,
    npy_bytes,
    read_manifest,
    reopened,
)
from spade_core.saliency import METHODS, shared_range
from spade_core.saliency.explanation import Explanation, explain
from spade_core.saliency.metrics import pointing_game, trojan_auc

TRACE_SHARE = 0.6  # of the progress bar; the methods share the rest


@dataclass(frozen=True)
class Pair:
    """The maps of one method: of the dense model and of its trace."""

    dense: Explanation
    spade: Explanation


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
        model, picture, config: what to do.
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
    pruned = make_trace(
        model, picture, **config.trace, target=target, seed=config.seed, progress=span(progress, 0, TRACE_SHARE)
    )
    on_trace(pruned)
    pairs = {}
    for index, slug in enumerate(methods):
        edges = [TRACE_SHARE + (1 - TRACE_SHARE) * (index + part) / len(methods) for part in (0, 0.5, 1)]
        options = {
            "method": slug,
            "target": pruned.fidelity.target,
            "seed": config.seed,
            **config.options.get(slug, {}),
        }
        dense = explain(model, picture, progress=span(progress, *edges[:2]), **options)
        spade = explain(pruned, picture, progress=span(progress, *edges[1:]), **options)
        pairs[slug] = Pair(dense, spade)
        on_pair(slug, pairs[slug])
    progress(1.0, 1.0, "done")
    return Analysis(picture, config, pruned, pairs, refused, time.perf_counter() - start)


@dataclass(frozen=True, eq=False)
class TriggerRecord:
    """What was pasted into the picture (a ``trojan.Paste`` as a dictionary), and its mask at the model's input."""

    paste: Mapping[str, Any]
    mask: np.ndarray


def manifest(analysis: Analysis, source: str | None = None, trigger: TriggerRecord | None = None) -> dict[str, Any]:
    """Return all that describes an analysis, JSON-able.

    Args:
        source: where a replay finds the picture, before a trigger was pasted.
        trigger: what was pasted; every method is then scored against its mask.
    """
    trace, model = analysis.trace, analysis.trace.model
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"name": model.name, "sha256": model.sha256, "spec": model.spec},
        "picture": {
            "name": analysis.picture.name,
            "sha256": analysis.picture.sha256,
            "notes": list(analysis.picture.notes),
            "source": source or analysis.picture.name,
            "trigger": None if trigger is None else dict(trigger.paste),
        },
        "config": analysis.config.to_dict(),
        "trace": trace.config.to_dict(),
        "target": {"index": trace.fidelity.target, "label": trace.fidelity.label},
        "prediction": named(trace.fidelity.dense_top5, model.labels),
        "trace_prediction": named(trace.fidelity.trace_top5, model.labels),
        "fidelity": trace.fidelity.to_dict(),
        "sparsity": trace.report.sparsity,
        "layers": trace.report.to_rows(),
        "methods": {slug: _describe(slug, pair, trigger) for slug, pair in analysis.pairs.items()},
        "refused": dict(analysis.refused),
        "seconds": {"trace": trace.seconds, "total": analysis.seconds},
        "environment": environment(model.device),
    }


def _describe(slug: str, pair: Any, trigger: TriggerRecord | None) -> dict[str, Any]:
    sides = {"dense": pair.dense, "spade": pair.spade}
    return {
        "title": METHODS[slug].title,
        "signed": pair.dense.signed,
        "settings": dict(pair.dense.settings),
        "range": list(shared_range(pair.dense.map, pair.spade.map, pair.dense.signed)),
        **{
            side: {
                "file": f"{side}_{slug}.npy",
                "sha256": digest(item.map),
                "seconds": item.seconds,
                "notes": list(item.notes),
                **({} if trigger is None else _scores(item.map, trigger.mask)),
            }
            for side, item in sides.items()
        },
    }


def _scores(values: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    strength = np.abs(values)  # a signed map's evidence against the class is a use of the pixel, too
    return {"trojan_auc": trojan_auc(strength, mask), "pointing_game": pointing_game(strength, mask)}


def bundle(analysis: Analysis, source: str | None = None, trigger: TriggerRecord | None = None) -> dict[str, bytes]:
    """Return all files of an analysis: manifest, arrays, map pictures, one figure of all methods, a trigger's mask."""
    described = manifest(analysis, source, trigger)
    files = {} if trigger is None else {"mask.npy": npy_bytes(trigger.mask)}
    rows = []
    for slug, pair in analysis.pairs.items():
        limits = tuple(described["methods"][slug]["range"])
        for side, item in (("dense", pair.dense), ("spade", pair.spade)):
            files[f"{side}_{slug}.npy"] = npy_bytes(item.map)
            files[f"{side}_{slug}.png"] = map_png(item.map, limits, item.signed)
        rows.append((METHODS[slug].title, pair.dense.map, pair.spade.map, limits, pair.dense.signed))
    crop = analysis.trace.model.preprocessing.crop(analysis.picture)
    fidelity = analysis.trace.fidelity
    probabilities = f"dense {fidelity.dense_probability:.2f}, trace {fidelity.trace_probability:.2f}"
    title = f"{analysis.trace.model.name}: {fidelity.label} ({probabilities})"
    files["figure.png"] = figure_png(crop, rows, title)
    files["manifest.json"] = json.dumps(described, indent=2, ensure_ascii=False).encode()
    return files


def replay(
    path: str | Path, *, image: str | Path | None = None, device: str = "auto", progress: Progress = silent
) -> tuple[Analysis, Comparison]:
    """Compute the analysis of a manifest again, with its thread count, and compare the maps bit by bit.

    Args:
        path: the manifest or its folder.
        image: where the picture lies now, if not where the manifest says.
        device: as recorded with ``auto`` where that device exists.

    Raises:
        ConfigError: the manifest, the picture or the weights are not those of the record.
    """
    described = read_manifest(path)
    with reopened(described, image=image, device=device) as (model, picture):
        analysis = analyse(model, picture, AnalysisConfig.from_dict(described["config"]), progress=progress)
    return analysis, _compare(analysis, described, Path(path))


def _compare(analysis: Analysis, described: Mapping[str, Any], path: Path) -> Comparison:
    folder = path if path.is_dir() else path.parent
    found = Comparison()
    for slug, pair in analysis.pairs.items():
        for side, item in (("dense", pair.dense), ("spade", pair.spade)):
            entry = described["methods"][slug][side]
            if digest(item.map) == entry["sha256"]:
                found[f"{side}_{slug}"] = 0.0
            else:
                file = folder / entry["file"]
                before = np.load(file, allow_pickle=False) if file.is_file() else np.full_like(item.map, np.nan)
                found[f"{side}_{slug}"] = float(np.abs(before - item.map).max()) or float("nan")
    return found
