"""The kinds of jobs of the saliency page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spade_core.models.loaded import predict
from spade_core.progress import Progress
from spade_core.pruning import sparsity
from spade_core.pruning.trace import Trace
from spade_core.results import comparison
from spade_core.results import manifest as results
from spade_core.results.comparison import Pair, analyse
from spade_core.results.config import AnalysisConfig
from spade_core.saliency import METHODS
from spade_core.tasks.common import Emit, crop_file, given_model, given_picture, kept_trace, trace_file


def describe(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``model.json``: labels, stages, layers, device; and the prediction, if the payload has a picture.

    Payload: ``model`` (a spec), ``picture`` (see ``given_picture``) or none.
    """
    progress(0, 1, "loading the model")
    model = given_model(payload["model"], device)
    found: dict[str, Any] = {
        "name": model.name,
        "device": results.device_name(model.device),
        "sha256": model.sha256,
        "labels": list(model.labels),
        "stages": list(sparsity.stages(model.layers, model.family)),
        "layers": [layer.name for layer in model.layers],
        "size": model.preprocessing.size,
        "table": sparsity.table(model.name),
        "unsupported": {slug: reason for slug, kind in METHODS.items() if (reason := kind.unsupported(model))},
        "notes": list(model.notes),
    }
    files = {}
    if payload.get("picture"):
        picture, _ = given_picture(payload["picture"], model)
        found["picture"] = {"name": picture.name, "sha256": picture.sha256, "notes": list(picture.notes)}
        found["probabilities"] = [round(float(value), 6) for value in predict(model, picture)]
        files = crop_file(model, picture)
    return {**files, "model.json": json.dumps(found).encode()}


def analysis(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return all files of an analysis (see ``results.bundle``); emit trace and pairs of maps as they are ready.

    Payload: ``model`` (a spec), ``picture`` (see ``given_picture``), ``config`` (an ``AnalysisConfig``).
    """
    progress(0, 1, "loading the model")
    model = given_model(payload["model"], device)
    picture, mask = given_picture(payload["picture"], model)
    config = AnalysisConfig.from_dict(payload["config"])
    crop = crop_file(model, picture)

    def trace_ready(trace: Trace) -> None:
        emit({**trace_file(trace), **crop})

    def pair_ready(slug: str, pair: Pair) -> None:
        sides = {"dense": pair.dense, "spade": pair.spade}
        emit({f"{side}_{slug}.npy": results.npy_bytes(item.map) for side, item in sides.items()})

    made = analyse(
        model, picture, config, make_trace=kept_trace, progress=progress, on_trace=trace_ready, on_pair=pair_ready
    )
    progress(1, 1, "writing the files")
    source = payload["picture"]
    trigger = comparison.TriggerRecord(source["trigger"], mask) if mask is not None else None
    return {**comparison.bundle(made, source["path"], trigger), **crop}
