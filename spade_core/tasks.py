"""What the worker does: the kinds of jobs, from a JSON-able payload to files.

Each task takes its payload and ``emit`` (hands a partial result to whoever waits), ``progress`` (also the place where a
cancel gets in) and ``device``; it returns the result's files. Models stay loaded between jobs, a few at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from spade_core import results, sparsity
from spade_core.analysis import AnalysisConfig, Pair, analyse
from spade_core.images import Picture, load_picture
from spade_core.models import DEFAULT_MODEL, LoadedModel, load_spec, predict
from spade_core.progress import Progress
from spade_core.saliency import METHODS
from spade_core.tracing import Trace

__all__ = ["analysis", "describe", "warm_up"]

Emit = Callable[[dict[str, bytes]], None]
KEPT_MODELS = 2


@lru_cache(maxsize=KEPT_MODELS)
def _model(spec: str, device: str) -> LoadedModel:
    return load_spec(json.loads(spec), device=device)


def _load(payload: Mapping[str, Any], device: str) -> LoadedModel:
    return _model(json.dumps(payload["model"], sort_keys=True), device)


def _picture(payload: Mapping[str, Any]) -> Picture:
    source = payload["picture"]
    return load_picture(source["path"], name=source.get("name"))


def describe(
    payload: Mapping[str, Any],
    *,
    emit: Emit,  # noqa: ARG001 - the signature of all tasks
    progress: Progress,
    device: str,
) -> dict[str, bytes]:
    """Return ``model.json``: labels, stages, layers, device; and the prediction, if the payload has a picture.

    Payload: ``model`` (a spec), ``picture`` (``path`` and ``name``) or none.
    """
    progress(0, 1, "loading the model")
    model = _load(payload, device)
    found: dict[str, Any] = {
        "name": model.name,
        "device": results.device_name(model.device),
        "sha256": model.sha256,
        "labels": list(model.labels),
        "stages": list(sparsity.stages(model.layers, model.family)),
        "table": sparsity.table(model.name),
        "unsupported": {slug: reason for slug, kind in METHODS.items() if (reason := kind.unsupported(model))},
        "notes": list(model.notes),
    }
    files = {}
    if payload.get("picture"):
        picture = _picture(payload)
        found["picture"] = {"name": picture.name, "sha256": picture.sha256, "notes": list(picture.notes)}
        found["probabilities"] = [round(float(value), 6) for value in predict(model, picture)]
        files["crop.npy"] = results.npy_bytes(model.preprocessing.crop(picture))
    return {**files, "model.json": json.dumps(found).encode()}


def analysis(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return all files of an analysis (see ``results.bundle``); emit trace and pairs of maps as they are ready.

    Payload: ``model`` (a spec), ``picture`` (``path`` and ``name``), ``config`` (an ``AnalysisConfig``).
    """
    progress(0, 1, "loading the model")
    model = _load(payload, device)
    picture = _picture(payload)
    config = AnalysisConfig.from_dict(payload["config"])

    def trace_ready(trace: Trace) -> None:
        summary = {"fidelity": trace.fidelity.to_dict(), "sparsity": trace.report.sparsity, "seconds": trace.seconds}
        crop = model.preprocessing.crop(picture)
        emit({"trace.json": json.dumps(summary).encode(), "crop.npy": results.npy_bytes(crop)})

    def pair_ready(slug: str, pair: Pair) -> None:
        emit(
            {
                f"dense_{slug}.npy": results.npy_bytes(pair.dense.map),
                f"spade_{slug}.npy": results.npy_bytes(pair.spade.map),
            }
        )

    made = analyse(model, picture, config, progress=progress, on_trace=trace_ready, on_pair=pair_ready)
    progress(1, 1, "writing the files")
    crop = np.ascontiguousarray(model.preprocessing.crop(picture))
    return {**results.bundle(made), "crop.npy": results.npy_bytes(crop)}


def warm_up(device: str) -> None:
    """Load the default model before the first job asks for it."""
    _model(json.dumps({"name": DEFAULT_MODEL}, sort_keys=True), device)
