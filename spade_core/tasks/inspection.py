"""The kinds of jobs of the trace page."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from spade_core.inspection import Paths, Place, Point
from spade_core.inspection.ordering import pooled_map
from spade_core.inspection.paths import paths
from spade_core.inspection.survivors import alive, fidelity_curve, inputs_kept, overlap
from spade_core.isolation import full_precision
from spade_core.models.layers import share_copy
from spade_core.models.layouts import Layout
from spade_core.neurons.layer_values import read_layers
from spade_core.neurons.ranking import region_around
from spade_core.pictures.picture import Picture
from spade_core.progress import Emit, Progress, span
from spade_core.pruning.trace import Trace
from spade_core.pruning.trace_file import trace_bytes
from spade_core.results.manifest import predictions
from spade_core.tasks.common import Source, TracePayload, crop_file, given, given_picture, kept_trace, trace_file

WIDE = 12  # channels that go on at each level of the paths, of which a page shows as many as it likes


def inspect(payload: TracePayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``trace.json``, ``predictions.json`` (both top-5), ``layers.json``, ``paths.json``, ``places.json`` (see
    :func:`_places`), ``maps.npz`` and the trace itself, ``trace.safetensors``.

    ``maps.npz`` has of every pruned layer its ``map`` (uint8, see ``pooled_map``), its ``inputs`` (kept by each output
    channel) and, where the map has fewer cells than the layer weights, ``bits``: one bit a weight, packed.
    """
    progress(0, 1, "loading the model")
    model, picture = given(payload, device)
    made = kept_trace(model, picture, **payload["trace"], target=payload.get("target"), progress=span(progress, 0, 0.9))
    progress(0.9, 1, "looking into the trace")
    found = paths(made, picture, width=WIDE)
    maps: dict[str, Any] = {}
    for row in made.report.layers:
        if row.status == "pruned":
            mask = alive(made, row.name)
            pooled = pooled_map(mask)
            maps[f"{row.name}.map"] = (255 * pooled).round().astype(np.uint8)
            maps[f"{row.name}.inputs"] = inputs_kept(made, row.name)
            if pooled.shape != mask.shape:
                maps[f"{row.name}.bits"] = np.packbits(mask)
    out = io.BytesIO()
    np.savez_compressed(out, **maps)
    return {
        **trace_file(made),
        **crop_file(model, picture),
        "predictions.json": json.dumps(predictions(made)).encode(),
        "layers.json": json.dumps(made.report.to_rows()).encode(),
        "config.json": json.dumps(made.config.to_dict()).encode(),
        "paths.json": json.dumps(asdict(found)).encode(),
        "places.json": json.dumps([asdict(place) for place in _places(made, picture, found)]).encode(),
        "maps.npz": out.getvalue(),
        "trace.safetensors": trace_bytes(made),
    }


@full_precision()
def _places(made: Trace, picture: Picture, found: Paths) -> list[Place]:
    """Return of each channel of the paths what of the input excites it most, where its layer has places."""
    module, size = share_copy(made.module), made.model.preprocessing.size
    leaves = {name for name, child in module.named_modules() if not any(child.children())}
    names = sorted(found.channels().keys() & leaves)
    with torch.no_grad(), read_layers(module, names, form=_map_of) as seen:
        module(made.input(picture))
    places = []
    for layer in names:
        maps = seen.get(layer, torch.empty(0))  # a layer whose weight another one uses is never called
        for channel in found.channels()[layer] if maps.numel() else ():
            rows, columns = maps.shape[2:]
            top = divmod(int(maps[0, channel].argmax()), columns)
            places.append(Place(layer, channel, region_around(top, (rows, columns), size)))
    return places


def _map_of(y: torch.Tensor, layout: Layout | None, _token: int | None) -> torch.Tensor:
    """Return a layer's output as maps of the whole input; empty where it has none, as windows and vectors."""
    return y.new_empty(0) if layout is None or len(y) != 1 else layout.to_maps(y)


def curve(payload: TracePayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``curve.json``; emit it as it grows."""
    model, picture = given(payload, device)
    options, files = {**payload["trace"], "target": payload.get("target")}, {}
    points: list[Point] = []
    for point in fidelity_curve(model, picture, options=options, progress=progress):
        points.append(point)
        files = {"curve.json": json.dumps([asdict(point) for point in points]).encode()}
        emit(files)
    return files


class ComparePayload(TracePayload):
    """The payload of :func:`compare`: another picture; ``target`` is that of the first one's trace."""

    other: Source


def compare(payload: ComparePayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``overlap.json``: the Jaccard index of two pictures' traces in every layer, and what chance would give."""
    model, picture = given(payload, device)
    other, _ = given_picture(payload["other"], model)
    options, target = payload["trace"], payload.get("target")
    first = kept_trace(model, picture, **options, target=target, progress=span(progress, 0.0, 0.5))
    second = kept_trace(model, other, **options, progress=span(progress, 0.5, 1.0))
    kept, shared = {row.name: 1 - row.realised for row in first.report.layers}, overlap(first, second)
    rows = [{"layer": name, "jaccard": shared[name], "chance": kept[name] / (2 - kept[name])} for name in shared]
    return {"overlap.json": json.dumps(rows).encode()}
