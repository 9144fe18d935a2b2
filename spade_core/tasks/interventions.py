"""The kinds of jobs that take a part out of a trace."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from spade_core.inspection import Cut
from spade_core.inspection.interventions import Intervened, ablated, knockouts
from spade_core.models.loaded import predict
from spade_core.neurons import Neuron
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.pictures.figures import png_bytes
from spade_core.progress import Emit, Progress, span
from spade_core.pruning.trace import Trace
from spade_core.saliency.explanation import explain
from spade_core.tasks.common import TracePayload, given, kept_trace


class CutPayload(TracePayload):
    """A payload that takes something out of a trace; ``cuts``: layer and channel (None: all of it) of each."""

    cuts: list[tuple[str, int | None]]


class IntervenePayload(CutPayload):
    """The payload of :func:`intervene`; ``method``: a slug."""

    method: str


class RedrawPayload(CutPayload):
    """The payload of :func:`redraw`; ``neuron``: a ``Neuron``; ``render``: a ``RenderConfig``."""

    neuron: dict[str, Any]
    render: dict[str, Any]


def _without(made: Trace, payload: CutPayload) -> Intervened:
    return ablated(made, [Cut(layer, channel) for layer, channel in payload["cuts"]])


def intervene(payload: IntervenePayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``intervene.json`` (of the trace ``before`` and ``after``: top-5, and the class's probability; class and
    cuts) and the method's maps, ``before.png`` and ``after.png``, each in its own unit.
    """
    model, picture = given(payload, device)
    made = kept_trace(model, picture, **payload["trace"], target=payload.get("target"), progress=span(progress, 0, 0.7))
    cut = _without(made, payload)
    target, told, files = made.fidelity.target, {}, {}
    for at, (side, network) in enumerate({"before": made, "after": cut}.items()):
        part = span(progress, 0.7 + 0.15 * at, 0.85 + 0.15 * at)
        shown = explain(network, picture, method=payload["method"], target=target, progress=part)
        answer = predict(network, picture)
        top = [{"label": model.labels[at], "probability": float(answer[at])} for at in (-answer).argsort()[:5].tolist()]
        told[side] = {"top": top, "probability": float(answer[target])}
        files[f"{side}.png"] = png_bytes(shown.pixels)
    described = {**told, "target": target, "label": made.fidelity.label, "cuts": payload["cuts"]}
    return {**files, "intervene.json": json.dumps(described).encode()}


def redraw(payload: RedrawPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return the neuron as the trace draws it, ``before.png``, and as it does without what is cut, ``after.png``.

    ``redraw.json`` has its name, the steps, the seconds of all, and of each drawing its last value and its notes. The
    two share seed, noise and transforms; both are emitted as they form, with ``step.json``.
    """
    model, picture = given(payload, device)
    made = kept_trace(model, picture, **payload["trace"], target=payload.get("target"), progress=span(progress, 0, 0.1))
    networks = {"before": made.module, "after": _without(made, payload).module}
    neuron, config = Neuron.from_dict(payload["neuron"]), RenderConfig.from_dict(payload["render"])

    def drawn(side: str, images: np.ndarray, step: int) -> None:
        emit({f"{side}.png": png_bytes(images[0]), "step.json": str(step).encode()})

    found = render(model, networks, [neuron], config, progress=span(progress, 0.1, 1), on_image=drawn)
    sides = {side: item for side, (item,) in found.items()}
    told = {
        "called": neuron.called(model.labels),
        "steps": config.steps,
        "seconds": sum(item.seconds for item in sides.values()),
        "last_values": {side: float(item.values[-1]) for side, item in sides.items()},
        "notes": {side: list(item.notes) for side, item in sides.items()},
    }
    images = {f"{side}.png": png_bytes(item.image) for side, item in sides.items()}
    return {**images, "redraw.json": json.dumps(told).encode()}


def knockout(payload: TracePayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``knockouts.json``; emit it as it grows."""
    model, picture = given(payload, device)
    made = kept_trace(model, picture, **payload["trace"], target=payload.get("target"), progress=span(progress, 0, 0.5))
    steps, files = [], {}
    for step in knockouts(made, picture, progress=span(progress, 0.5, 1.0)):
        steps.append(asdict(step))
        files = {"knockouts.json": json.dumps(steps).encode()}
        emit(files)
    return files
