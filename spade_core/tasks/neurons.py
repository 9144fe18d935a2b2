"""The kinds of jobs of the neuron page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NotRequired

import numpy as np

import spade_core.tasks.common as common  # the package itself would name the sources of every kind of job
from spade_core.config import Settings
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel, Spec
from spade_core.neurons import Neuron
from spade_core.neurons.facets import facets
from spade_core.neurons.layer_values import layer_shapes
from spade_core.neurons.ranking import most_active_region, rank_channels
from spade_core.neurons.references import Crop, look_through, reference_crops
from spade_core.neurons.rendering import RenderConfig
from spade_core.pictures.figures import png_bytes
from spade_core.pictures.picture import Source
from spade_core.progress import Emit, Progress
from spade_core.pruning.trace import Trace
from spade_core.results.config import VisualizeConfig
from spade_core.results.drawing import label_of, visualization_files, visualize
from spade_core.results.manifest import manifest
from spade_core.saliency.advice import advise_layers


class RankingPayload(common.TracePayload):
    """The payload of :func:`ranking`, see ``rank_channels``.

    ``folder``: of reference pictures, None: none are looked for; ``state``: see ``ReferencesPayload``.
    """

    layer: str
    by: str
    top: int
    folder: NotRequired[str | None]
    state: NotRequired[str]


class VisualizationPayload(common.PicturePayload):
    """The payload of :func:`visualization`; ``config``: a ``VisualizeConfig``."""

    config: dict[str, Any]


class ReferencesPayload(common.ModelPayload):
    """The payload of :func:`references`.

    ``position``: ``(row, column)``, None: the whole channel; ``state``: the folder's ``folder_state`` (other pictures,
    other result).
    """

    layer: str
    channel: int
    position: NotRequired[list[int] | None]
    folder: str
    state: str


class FacetsPayload(common.ModelPayload):
    """The payload of :func:`multifaceted`.

    ``neuron``: a ``Neuron``; ``render``: a ``RenderConfig``; ``trace``: options of ``spade_core.trace``; ``judge``: the
    model whose embedding compares the images, None: the drawn one.
    """

    pictures: list[Source]
    neuron: dict[str, Any]
    render: dict[str, Any]
    trace: dict[str, Any]
    seeds: int
    judge: NotRequired[Spec | None]


def layers(payload: common.ModelPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``layers.json``: every layer that can be read, with its kind, its shape, and what speaks for it."""
    progress(0, 1, "looking at the layers")
    model = common.given_model(payload["model"], device)
    advice = {one.name: one.reason for one in advise_layers(model)}
    shapes = layer_shapes(share_copy(model.module), model.grey())
    found = [{**asdict(layer), "advice": advice.get(layer.name, "")} for layer in shapes]
    return {"layers.json": json.dumps(found).encode()}


def ranking(payload: RankingPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``ranking.json``, the first channels of a layer, and for each what excites it most.

    That is ``here_N.png``, the part of this picture, and ``best_N.png``, the crop of the folder's others, where one
    excites the channel at all; its value is ``best`` of the row.
    """
    progress(0, 1, "making the trace")
    model, picture = common.given(payload, device)
    made = common.kept_trace(model, picture, **payload["trace"], target=payload.get("target"), progress=progress)
    found = rank_channels(made, picture, payload["layer"], by=payload["by"], top=payload["top"])
    best = _best_crops(payload, model, [score.channel for score in found], progress)
    pixels = model.preprocessing.crop(picture)
    files = {f"best_{channel}.png": png_bytes(crop.pixels) for channel, crop in best.items()}
    for score in found:
        top, left, bottom, right = score.region
        files[f"here_{score.channel}.png"] = png_bytes(pixels[top:bottom, left:right])
    values = {channel: crop.value for channel, crop in best.items()}
    rows = [{**asdict(score), "best": values.get(score.channel)} for score in found]
    return {**files, "ranking.json": json.dumps(rows).encode()}


def _best_crops(
    payload: RankingPayload, model: LoadedModel, channels: Sequence[int], progress: Progress
) -> dict[int, Crop]:
    """Return of each channel the crop of other pictures that excites it most, where one does."""
    folder = payload.get("folder")
    if folder is None:
        return {}
    own = {payload["picture"]["sha256"]}
    found = look_through(model, folder, payload["layer"], keep_in=_tables(), progress=progress)
    return {one: crop for one in channels for crop in found.crops(one, count=1, without=own) if crop.value > 0}


def _tables() -> Path:
    return Settings.from_environment().data_dir / "references"


def visualization(payload: VisualizationPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return the files of a visualization; emit the trace and the forming images."""
    progress(0, 1, "loading the model")
    model, picture = common.given(payload, device)
    crop = common.crop_file(model, picture)

    def traced(made: Trace) -> None:
        emit({**common.trace_file(made), **crop})

    def drawn(side: str, image: np.ndarray, step: int) -> None:
        emit({f"{side}.png": png_bytes(image), "step.json": str(step).encode()})

    config = VisualizeConfig.from_dict(payload["config"])
    found = visualize(
        model, picture, config, make_trace=common.kept_trace, progress=progress, on_trace=traced, on_image=drawn
    )
    source = payload["picture"]
    return {**visualization_files(found, source["path"], source.get("trigger")), **crop}


def references(payload: ReferencesPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``reference_0.png`` ... and ``references.json`` (files and values)."""
    model, folder = common.given_model(payload["model"], device), Path(payload["folder"])
    layer, channel, place = payload["layer"], payload["channel"], payload.get("position")
    position = (place[0], place[1]) if place else None
    crops = reference_crops(model, folder, layer, channel, position=position, keep_in=_tables(), progress=progress)
    listed = [{"file": crop.file, "value": crop.value} for crop in crops]
    described = {"folder": folder.name, "position": position, "crops": listed}
    files = {f"reference_{index}.png": png_bytes(crop.pixels) for index, crop in enumerate(crops)}
    return {**files, "references.json": json.dumps(described).encode()}


def multifaceted(payload: FacetsPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return the row of a multifaceted neuron: ``dense.png``, ``spade_0.png`` ..., ``picture_0.png`` ...,
    ``facets.json``.
    """
    progress(0, 1, "loading the model")
    model = common.given_model(payload["model"], device)
    judge = common.given_model(payload.get("judge") or payload["model"], device)
    pictures = [common.given_picture(source, model)[0] for source in payload["pictures"]]
    neuron = Neuron.from_dict(payload["neuron"])
    crops = map(model.preprocessing.crop, pictures)
    shown = {f"picture_{index}.png": png_bytes(crop) for index, crop in enumerate(crops)}
    emit(shown)
    found = facets(
        model,
        pictures,
        neuron,
        RenderConfig.from_dict(payload["render"]),
        trace_options=payload["trace"],
        judge=judge,
        seeds=payload["seeds"],
        make_trace=common.kept_trace,
        progress=progress,
        on_image=lambda name, images, _: emit({f"{name}.png": png_bytes(images[0])}),
    )
    notes = [note for item in found.dense for note in item.notes]
    own = {
        "judge": {"name": judge.name, "sha256": judge.sha256},
        "neuron": neuron.to_dict(),
        "label": label_of(model, neuron),
        "render": payload["render"],
        "trace": [made.config.to_dict() for made in found.traces],
        "fidelity": [made.fidelity.to_dict() for made in found.traces],
        "sparsity": [made.report.sparsity for made in found.traces],
        "notes": {"dense": notes, "spade": [list(item.notes) for item in found.spade]},
        "between": found.between.tolist(),
        "within": found.within.tolist(),
    }
    regions = [most_active_region(model, picture, neuron)[0] for picture in pictures]
    given = zip(pictures, payload["pictures"], strict=True)
    listed = [{"name": at.name, "sha256": at.sha256, "trigger": source.get("trigger")} for at, source in given]
    described = {**manifest(model, own, "facets"), "regions": regions, "pictures": listed}
    images = {f"spade_{index}.png": png_bytes(item.image) for index, item in enumerate(found.spade)}
    seeds = {
        f"dense_{index}.png" if index else "dense.png": png_bytes(item.image) for index, item in enumerate(found.dense)
    }
    return {**shown, **images, **seeds, "facets.json": json.dumps(described, indent=2).encode()}
