"""One neuron visualization, whole: the trace of a picture, then the neuron drawn by the dense model and by the trace.

The command line, the worker and the library all come through :func:`visualize`, as for saliency through ``analyse``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from spade_core.errors import ModelError, expect
from spade_core.models.loaded import LoadedModel, predict
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.ranking import most_active_region
from spade_core.neurons.rendering import RenderConfig, Rendering, render
from spade_core.pictures.figures import png_bytes
from spade_core.pictures.markup import beside_html, card_html, picture_html
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, rising, silent, span
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace
from spade_core.results.config import VisualizeConfig
from spade_core.results.manifest import (
    Comparison,
    digest,
    manifest,
    manifest_bytes,
    outcome,
    picture_record,
    read_manifest,
    reopened,
)

TRACE_SHARE = 0.02  # of the progress bar at most: no guess of the time is made of it


@dataclass(frozen=True, eq=False)
class Visualization:
    """The result of :func:`visualize`.

    Attributes:
        dense, spade: the first drawing of either network; more: the further ones, in pairs.
        region: where the picture excites the neuron most, ``(top, left, bottom, right)`` px of the input; of a single
            neuron, its own place.
        value: the neuron's value there, dense model, before the activation; of a direction, the cosine.
        seconds: of everything, without loading the model.
    """

    picture: Picture
    config: VisualizeConfig
    trace: Trace
    dense: Rendering
    spade: Rendering
    region: tuple[int, int, int, int]
    value: float
    seconds: float
    more: tuple[tuple[Rendering, Rendering], ...] = ()

    @property
    def drawings(self) -> dict[str, Rendering]:
        """Every drawing by the name of its file: ``dense``, ``spade``, ``dense_1``, ``spade_1`` ..."""
        found = {"dense": self.dense, "spade": self.spade}
        for number, pair in enumerate(self.more, 1):
            found |= {f"{side}_{number}": item for side, item in zip(("dense", "spade"), pair, strict=True)}
        return found

    @property
    def crop(self) -> np.ndarray:
        """What the model sees of the picture, uint8 ``(height, width, 3)``."""
        return self.trace.model.preprocessing.crop(self.picture)

    @property
    def title(self) -> str:
        """What is drawn: the class, or layer and channel."""
        return f"Drawing of {label_of(self.trace.model, self.dense.neuron)}"

    def _repr_html_(self) -> str:
        named = {"What the model sees": self.crop, "Dense": self.dense.image, "SPADE": self.spade.image}
        shown = (picture_html(pixels, name, f"{self.title}: {name}") for name, pixels in named.items())
        notes = dict.fromkeys((*self.dense.notes, *self.spade.notes))
        return card_html(self.title, beside_html(*shown), self.trace._repr_html_(), notes=notes)


def visualize(
    model: LoadedModel,
    picture: Picture,
    config: VisualizeConfig | None = None,
    *,
    make_trace: Callable[..., Trace] = trace,
    progress: Progress = silent,
    on_trace: Callable[[Trace], object] = lambda _: None,
    on_image: Callable[[str, np.ndarray, int], object] = lambda *_: None,
) -> Visualization:
    """Draw one neuron with the dense model and with the trace of ``picture``.

    Args:
        make_trace: called like ``spade_core.trace``; another one may keep traces.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        on_trace: called once the trace is there; on_image: about every second with ``dense`` or ``spade``, its first
            forming image uint8 ``(size, size, 3)`` and the step.

    Raises:
        LayerError: there is no such layer or channel.
        ConfigError: an option cannot be used.
    """
    config, start = config or VisualizeConfig(), time.perf_counter()
    expect(model, LoadedModel, "A neuron is drawn of a model that load_model or wrap_model gives", ModelError)
    settings = RenderConfig.from_dict(config.render)
    neuron, target = config.neuron, config.target
    if target is None:
        named = neuron is not None and neuron.layer == LOGITS
        target = neuron.channel if named and neuron is not None else int(predict(model, picture).argmax())
    neuron = neuron or Neuron(LOGITS, target)
    region, value = most_active_region(model, picture, neuron)
    progress = rising(progress)

    @cache  # a retry draws on the same trace
    def pruned() -> Trace:
        part = span(progress, 0.0, TRACE_SHARE)
        made = make_trace(model, picture, **config.trace, target=target, progress=part)
        on_trace(made)
        return made

    found = render(
        model,
        {"dense": model.module, "spade": lambda: pruned().module},
        [neuron] * config.images,
        settings,
        picture=picture,
        late=TRACE_SHARE,
        progress=progress,
        on_image=lambda name, images, step: on_image(name, images[0], step),
    )
    seconds = time.perf_counter() - start
    (first, *more) = zip(found["dense"], found["spade"], strict=True)
    return Visualization(picture, config, pruned(), *first, region, value, seconds, tuple(more))


def visualization_files(
    found: Visualization, source: str | None = None, trigger: Mapping[str, object] | None = None
) -> dict[str, bytes]:
    """Return ``dense.png``, ``spade.png``, those of more drawings, ``picture.png``, ``values.json`` and
    ``manifest.json``.
    """
    values = {name: item.values.tolist() for name, item in found.drawings.items()}
    return {
        **{f"{name}.png": png_bytes(item.image) for name, item in found.drawings.items()},
        "picture.png": png_bytes(found.crop),
        "values.json": json.dumps(values).encode(),
        "manifest.json": manifest_bytes(_manifest(found, source, trigger)),
    }


def _manifest(found: Visualization, source: str | None, trigger: Mapping[str, object] | None) -> dict[str, object]:
    model = found.trace.model
    own = {
        "picture": picture_record(found.trace.model, found.picture, source, trigger),
        "config": found.config.to_dict(),
        "trace": found.trace.config.to_dict(),
        "neuron": {**found.dense.neuron.to_dict(), "label": label_of(model, found.dense.neuron)},
        **outcome(found.trace),
        "region": list(found.region),
        "value": found.value,
        "images": {
            name: {
                "sha256": digest(item.image),
                "seed": item.seed,
                "steps": item.steps,
                "network_size": item.network_size,
                "last_value": float(item.values[-1]),
                "seconds": item.seconds,
                "notes": list(item.notes),
            }
            for name, item in found.drawings.items()
        },
        "seconds": {"trace": found.trace.seconds, "total": found.seconds},
    }
    return manifest(model, own, "visualization")


def label_of(model: LoadedModel, neuron: Neuron) -> str:
    """Return what a neuron is called: its class, or its layer and channel."""
    if neuron.layer == LOGITS and neuron.channel is not None:
        return model.labels[neuron.channel]
    return str(neuron)


def replay_visualization(
    path: str | Path, *, image: str | Path | None = None, device: str = "auto", progress: Progress = silent
) -> tuple[Visualization, Comparison]:
    """Draw the neuron of a manifest again, with its thread count, and compare the images bit by bit; see ``replay``.

    A difference is reported as not a number: the manifest holds the images' sha256 only.
    """
    described = read_manifest(path)
    with reopened(described, image=image, device=device) as (model, picture):
        found = visualize(model, picture, VisualizeConfig.from_dict(described["config"]), progress=progress)
    same = {name: digest(item.image) == described["images"][name]["sha256"] for name, item in found.drawings.items()}
    return found, Comparison({name: 0.0 if equal else float("nan") for name, equal in same.items()})
