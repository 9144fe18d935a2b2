"""An automatic stand-in for the people of the study: which of two patches looks more like the visualization?

For a picture, two equal patches that do not overlap are cut out: the one where Score-CAM on the dense model is highest,
and one where it is low but the contrast is similar (:mod:`spade_core.study.stimuli.patches`; SPADE, section 4.3, Table
3). The rater embeds the neuron's visualization and both patches with a model and names the nearer one; it agrees when
that is Score-CAM's. It is a model, not a person: its numbers say how much of the patch a network recognises in the
visualization, nothing about people.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from torch import nn

from spade_core.files import write_whole
from spade_core.models.embedding import cosine_distances, embed
from spade_core.models.loaded import LoadedModel, predict
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.pictures.picture import Picture, load_picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.spade import trace
from spade_core.saliency.explanation import explain
from spade_core.saliency.metrics import Interval, bootstrap_interval
from spade_core.study.stimuli.patches import choose_patches
from spade_core.trojan.triggers import TRIGGERS, Paste


def rate(judge: LoadedModel, visualization: np.ndarray, patches: tuple[np.ndarray, np.ndarray]) -> float:
    """Return how much nearer the first patch is to the visualization than the second, in cosine distance.

    Positive: the rater chooses the first one.
    """
    vectors = embed(judge, [visualization, *patches])
    near, far = cosine_distances(vectors[:1], vectors[1:])[0]
    return float(far - near)


def causes(paste: Paste, model: LoadedModel, clean: Picture, target: int) -> bool:
    """Return whether a pasted trigger causes the prediction ``target``: its own class, and not the clean picture's."""
    return target == TRIGGERS[paste.trigger].target != int(predict(model, clean).argmax())


@dataclass(frozen=True)
class Preference:
    """What the rater said of one picture, JSON-able.

    Attributes:
        file: of the picture; target: class index; reference: ``scorecam`` or ``trigger``; trigger: its name, or None.
        dense, spade: by how much the reference patch is nearer to that visualization than the other one; above 0
            agrees.
        keeps_class: whether the trace still ranks the class first.
        high, low, side: of the patches, in model-input pixels.
        notes: what was said while drawing, such as that a drawing stayed grey.
    """

    file: str
    target: int
    reference: str
    trigger: str | None
    dense: float
    spade: float
    keeps_class: bool
    high: tuple[int, int]
    low: tuple[int, int]
    side: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rater:
    """Draws and rates one picture after the other; the dense visualization of a class is drawn once.

    Attributes:
        model: whose class neurons are drawn; judge: whose embedding compares.
        config: how to draw; trace: options of ``spade_core.trace``.
        folder: where the visualizations are kept as PNG files; a digest of all that a drawing depends on is part of its
            name, so that other settings never find it.
    """

    model: LoadedModel
    judge: LoadedModel
    config: RenderConfig
    trace: Mapping[str, Any]
    folder: Path

    def __post_init__(self) -> None:
        self.model.preprocessing.side("The rater")

    def rate(self, path: Path, paste: Paste | None = None, *, progress: Progress = silent) -> Preference | None:
        """Rate one picture; None where its trigger did not cause the prediction.

        Args:
            path: of the picture.
            paste: a trigger to paste first; its mask is then the reference, else Score-CAM on the dense model.
        """
        clean = load_picture(path)
        picture, mask = (clean, None) if paste is None else paste.apply(clean, self.model)
        target = int(predict(self.model, picture).argmax())
        if paste is not None and not causes(paste, self.model, clean, target):
            return None
        if mask is None:
            part = span(progress, 0.0, 0.2)
            reference = explain(self.model, picture, method="scorecam", target=target, progress=part).map
        else:
            reference = mask.astype(np.float32)
        pixels = self.model.preprocessing.crop(picture)
        patches = choose_patches(reference, pixels)
        made = trace(self.model, picture, **self.trace, target=target, progress=span(progress, 0.2, 0.3))
        neuron = Neuron(LOGITS, target)
        dense, notes = self.draw(f"dense_{target}", (), self.model.module, neuron, span(progress, 0.3, 0.6))
        name = path.name if paste is None else f"{path.name}_{paste.trigger}"
        used = (made.config.to_dict(), picture.sha256)
        spade, more = self.draw(f"spade_{name}", used, made.module, neuron, span(progress, 0.6, 1.0))
        cut = patches.cut(pixels)
        return Preference(
            file=path.name,
            target=target,
            reference="scorecam" if paste is None else "trigger",
            trigger=None if paste is None else paste.trigger,
            dense=rate(self.judge, dense, cut),
            spade=rate(self.judge, spade, cut),
            keeps_class=made.fidelity.keeps_class,
            high=patches.high,
            low=patches.low,
            side=patches.side,
            notes=(*(f"dense: {note}" for note in notes), *(f"SPADE: {note}" for note in more)),
        )

    def draw(
        self, name: str, used: Sequence[object], network: nn.Module, neuron: Neuron, progress: Progress = silent
    ) -> tuple[np.ndarray, list[str]]:
        """Return a drawing and its notes, from the folder if it is there; ``used``: what else it depends on."""
        depends = json.dumps([self.model.sha256, self.config.to_dict(), neuron.to_dict(), *used], sort_keys=True)
        file = self.folder / f"{name}_{hashlib.sha256(depends.encode()).hexdigest()[:12]}.png"
        if not file.is_file():
            found = render(self.model, {name: network}, [neuron], self.config, progress=progress)[name][0]
            text, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
            text.add_text("notes", json.dumps(found.notes))
            Image.fromarray(found.image).save(buffer, "PNG", pnginfo=text)
            write_whole(file, buffer.getvalue())
        with Image.open(file) as opened:
            return np.array(opened), json.loads(opened.info.get("notes", "[]"))


def agreement(rows: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Return how often the rater agrees with the reference, in percent: dense, SPADE, and their paired difference."""
    dense, spade = (100.0 * (np.array([row[side] for row in rows]) > 0) for side in ("dense", "spade"))
    found = {"dense": dense, "spade": spade, "gap": spade - dense}
    return {name: bootstrap_interval(values) for name, values in found.items()}
