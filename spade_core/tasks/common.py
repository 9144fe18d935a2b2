"""What the tasks share: models that stay loaded, pictures with their trigger, and the last traces."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NotRequired, TypedDict

import numpy as np

from spade_core.models.labels import resolve_target
from spade_core.models.loaded import LoadedModel, Spec, predict
from spade_core.models.loading import load_spec
from spade_core.pictures.picture import Picture, Source, load_picture
from spade_core.progress import Progress, silent
from spade_core.pruning.calibration import Shared
from spade_core.pruning.spade import trace_many
from spade_core.pruning.trace import Bundle, Trace
from spade_core.results.manifest import npy_bytes
from spade_core.trojan.triggers import Paste

Target = int | str | None


class ModelPayload(TypedDict):
    """A payload that names a model."""

    model: Spec


class PicturePayload(ModelPayload):
    """A payload that names a picture, too."""

    picture: Source


class TracePayload(PicturePayload):
    """A payload that asks for a trace: options of ``spade_core.trace``; ``target`` None: the top-1."""

    trace: dict[str, Any]
    target: NotRequired[Target]


KEPT_MODELS, KEPT_TRACES = 2, 4
KEPT_BYTES = 2**30  # of traces and of the models that they hold, the last one apart

_TRACES: OrderedDict[str, Bundle] = OrderedDict()


@lru_cache(maxsize=KEPT_MODELS)
def _model(spec: str, device: str) -> LoadedModel:
    return load_spec(json.loads(spec), device=device)


def given_model(spec: Spec, device: str) -> LoadedModel:
    """Return the model of a spec, loaded once."""
    return _model(json.dumps(spec, sort_keys=True), device)


def given_picture(source: Source, model: LoadedModel) -> tuple[Picture, np.ndarray | None]:
    """Return the picture of a payload, with its trigger pasted into the model's input if it has one, and its mask."""
    picture = load_picture(source["path"], name=source.get("name"), frame=source.get("frame"))
    trigger = source.get("trigger")
    return Paste.from_dict(trigger).apply(picture, model) if trigger else (picture, None)


def given(payload: PicturePayload, device: str) -> tuple[LoadedModel, Picture]:
    """Return a payload's model, and its picture with any trigger pasted."""
    model = given_model(payload["model"], device)
    return model, given_picture(payload["picture"], model)[0]


def kept_trace(
    model: LoadedModel, picture: Picture, *, target: Target = None, progress: Progress = silent, **options: Any
) -> Trace:
    """Return the trace of ``picture``, like ``spade_core.trace``; the last few are kept."""
    return kept_traces(model, picture, target=target, progress=progress, **options).traces[0]


def kept_traces(
    model: LoadedModel,
    picture: Picture,
    *,
    traces: int = 1,
    target: Target = None,
    shared: Shared | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Bundle:
    """Return traces of ``picture``, like ``spade_core.trace_many``; the last few are kept.

    Several jobs ask for the same ones: other methods, another neuron of the same picture, or another page.
    """
    index = int(predict(model, picture).argmax()) if target is None else resolve_target(model, target)
    key = json.dumps([model.sha256, picture.key, {"seed": 0, **options}, index, traces], sort_keys=True)
    if key not in _TRACES:
        given = {**options, "target": index, "shared": shared}
        _TRACES[key] = trace_many(model, picture, traces=traces, **given, progress=progress)
    _TRACES.move_to_end(key)
    while len(_TRACES) > 1 and _too_much(trace for one in _TRACES.values() for trace in one.traces):
        _TRACES.popitem(last=False)
    return _TRACES[key]


def _too_much(kept: Iterable[Trace]) -> bool:
    """Return whether these are more traces, or more bytes of weights, than are kept."""
    traces = tuple(kept)
    modules = {network for made in traces for network in (made.module, made.model.module)}
    storages = {one.untyped_storage() for module in modules for one in (*module.parameters(), *module.buffers())}
    held = {storage.data_ptr(): storage.nbytes() for storage in storages}  # traces share what they have not pruned
    return len(traces) > KEPT_TRACES or sum(held.values()) > KEPT_BYTES


def trace_file(made: Trace) -> dict[str, bytes]:
    """Return ``trace.json``: what a page shows of a trace as soon as it is there."""
    summary = {"fidelity": made.fidelity.to_dict(), "sparsity": made.report.sparsity, "seconds": made.seconds}
    return {"trace.json": json.dumps(summary).encode()}


def crop_file(model: LoadedModel, picture: Picture) -> dict[str, bytes]:
    """Return ``crop.npy``: what the model sees."""
    return {"crop.npy": npy_bytes(model.preprocessing.crop(picture))}
