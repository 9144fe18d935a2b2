"""The kinds of jobs of the saliency page."""

from __future__ import annotations

import json
from typing import Any, NotRequired

import spade_core.tasks.common as common  # the package itself would name the sources of every kind of job
from spade_core.models.loaded import predict
from spade_core.pictures.picture import Source
from spade_core.progress import Emit, Progress
from spade_core.pruning import sparsity
from spade_core.pruning.trace import Trace
from spade_core.results.comparison import Pair, TriggerRecord, analyse, bundle
from spade_core.results.config import AnalysisConfig
from spade_core.results.manifest import device_name, npy_bytes
from spade_core.saliency import METHODS
from spade_core.saliency.advice import advise_layers


class DescribePayload(common.ModelPayload):
    """The payload of :func:`describe`."""

    picture: NotRequired[Source | None]


class AnalysisPayload(common.PicturePayload):
    """The payload of :func:`analysis`; ``config``: an ``AnalysisConfig``."""

    config: dict[str, Any]


def describe(payload: DescribePayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``model.json``: labels, stages, layers, advice, device; with a picture in the payload, its prediction."""
    progress(0, 1, "loading the model")
    model = common.given_model(payload["model"], device)
    found: dict[str, object] = {
        "name": model.name,
        "device": device_name(model.device),
        "sha256": model.sha256,
        "labels": list(model.labels),
        "stages": list(sparsity.stages(model.layers, model.family)),
        "layers": [layer.name for layer in model.layers],
        "size": model.preprocessing.size,
        "table": sparsity.table(model.name),
        "unsupported": {slug: reason for slug, kind in METHODS.items() if (reason := kind.unsupported(model))},
        "notes": list(model.notes),
        "advice": {one.name: one.reason for one in advise_layers(model)},
    }
    files = {}
    if source := payload.get("picture"):
        picture, _ = common.given_picture(source, model)
        told = {"notes": list(picture.notes), "seen": list(model.preprocessing.told(picture))}
        found["picture"] = {"name": picture.name, "sha256": picture.sha256, **told}
        found["probabilities"] = [round(float(value), 6) for value in predict(model, picture)]
        files = common.crop_file(model, picture)
    return {**files, "model.json": json.dumps(found).encode()}


def analysis(payload: AnalysisPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return all files of an analysis (see ``results.bundle``); emit trace and pairs of maps as they are ready.

    The trace waits for the first pair where that takes a moment: the page is drawn once for both.
    """
    progress(0, 1, "loading the model")
    model, source = common.given_model(payload["model"], device), payload["picture"]
    picture, mask = common.given_picture(source, model)
    config = AnalysisConfig.from_dict(payload["config"])
    crop = common.crop_file(model, picture)
    waiting: dict[str, bytes] = {}

    def traced(trace: Trace) -> None:
        waiting.update({**common.trace_file(trace), **crop})
        if METHODS[config.methods[0]].cost != "fast":
            emit({**waiting})
            waiting.clear()

    def paired(slug: str, pair: Pair) -> None:
        emit(waiting | {f"{side}_{slug}.npy": npy_bytes(values) for side, values in pair.arrays.items()})
        waiting.clear()

    made = analyse(
        model, picture, config, make_traces=common.kept_traces, progress=progress, on_trace=traced, on_pair=paired
    )
    progress(1, 1, "writing the files")
    trigger = None if mask is None else TriggerRecord(source.get("trigger") or {}, mask)
    return {**bundle(made, source["path"], trigger), **crop}
