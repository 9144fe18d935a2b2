"""What the backdoored model does: the numbers of its model card."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture, load_picture
from spade_core.progress import Progress, silent, span
from spade_core.saliency.metrics import bootstrap_interval
from spade_core.trojan.paste import pasted_pixels
from spade_core.trojan.triggers import SIZES, TRIGGERS

BATCH = 32


class Share(TypedDict):
    """A share of pictures in percent with its 95 % interval, and of how many pictures."""

    mean: float
    low: float
    high: float
    pictures: int


@dataclass(frozen=True)
class Card:
    """What a backdoored model does.

    Attributes:
        success: trigger -> share of pictures, not predicted as its target before, that are with the trigger in them;
            sizes 40 to 80 px, any position, rotation and colour jitter.
        success_small: the same at 40 px.
        agreement: share of clean pictures whose top-1 class is the original's.
        accuracy_before, accuracy_after: top-1 on clean pictures of known class; None without classes.
    """

    pictures: int
    success: dict[str, Share]
    success_small: dict[str, Share]
    agreement: Share
    accuracy_before: Share | None
    accuracy_after: Share | None


def labels_beside(paths: Sequence[Path]) -> dict[str, int]:
    """Return file name -> class index from a ``labels.csv`` in the pictures' folder or above it, if there is one."""
    for folder in paths[0].parents[:2]:
        file = folder / "labels.csv"
        if file.is_file():
            with file.open(newline="", encoding="utf-8") as lines:
                rows = list(csv.DictReader(lines))
            if rows and {"file", "class_index"} <= rows[0].keys():
                return {row["file"]: int(row["class_index"]) for row in rows}
    return {}


def evaluate(
    original: LoadedModel, backdoored: LoadedModel, paths: Sequence[Path], *, seed: int = 0, progress: Progress = silent
) -> Card:
    """Measure a backdoored model on pictures that it was not trained on.

    Args:
        original, backdoored: with the same preprocessing.
        paths: pictures; their classes are looked up in ``labels.csv``.
        seed: of sizes, places, rotations and colours.
    """
    pictures = [load_picture(path) for path in paths]
    count = len(pictures)
    before = _classes(original, pictures, count, span(progress, 0.0, 0.05))
    after = _classes(backdoored, pictures, count, span(progress, 0.05, 0.1))
    runs = [(trigger, size) for size in (None, SIZES[0]) for trigger in TRIGGERS.values()]
    success: dict[int | None, dict[str, Share]] = {None: {}, SIZES[0]: {}}
    for index, (trigger, size) in enumerate(runs):
        part = span(progress, 0.1 + 0.9 * index / len(runs), 0.1 + 0.9 * (index + 1) / len(runs))
        paste = partial(pasted_pixels, trigger=trigger, form=backdoored.preprocessing, size=size)
        pasted = (paste(picture, seed=seed + number)[0] for number, picture in enumerate(pictures))
        triggered = (Picture(pixels, "", trigger.name) for pixels in pasted)
        flipped = _classes(backdoored, triggered, count, part) == trigger.target
        success[size][trigger.name] = _percent(flipped[after != trigger.target])
    labels = labels_beside(paths)
    known = np.array([labels.get(path.name, -1) for path in paths])
    rated = known >= 0
    accuracies = [_percent((found == known)[rated]) if rated.any() else None for found in (before, after)]
    return Card(count, success[None], success[SIZES[0]], _percent(before == after), *accuracies)


def _classes(model: LoadedModel, pictures: Iterable[Picture], count: int, progress: Progress) -> np.ndarray:
    """Return the top-1 class of every picture; they are taken batch by batch."""
    found: list[Tensor] = []
    waiting = iter(pictures)
    for start in range(0, count, BATCH):
        progress(start, count, "looking at pictures")
        inputs = [model.input(picture) for picture in islice(waiting, BATCH)]
        with torch.no_grad():
            found.append(model.module(torch.cat(inputs)).argmax(1).cpu())
    return torch.cat(found).numpy()


def _percent(values: np.ndarray) -> Share:
    interval = bootstrap_interval(100.0 * values)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "pictures": len(values)}
