"""What a participant's browser gets of a trial: pictures as data URIs of one size, boxes, and a question.

Nothing in it tells the condition but what is to be seen: names stay on the server, and every file of a set is filled up
to the same number of bytes, since a visualization's size would tell which kind it is.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spade_core.study.data.tables import Trial
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import REGIONS
from spade_core.study.stimuli.stimulus_set import Box, Item, StimulusSet

PRACTICE_RIGHT = "Right: region {number} made the network decide."
PRACTICE_WRONG = "Region {number} made the network decide."
CHECK = "This question checks your attention. Please choose “{label}”."


@dataclass(frozen=True)
class Shown:
    """One trial for the browser.

    Attributes:
        pictures: ``picture`` and, unless the condition is none, ``second``: data URIs.
        regions: 1 and 2; question: in words.
    """

    pictures: Mapping[str, str]
    regions: tuple[Box, Box]
    question: str


def shown(stimuli: StimulusSet, design: Design, trial: Trial) -> Shown:
    """Return what is shown in a trial."""
    item = stimuli.item(trial.stimulus_id)
    pictures = {"picture": _data_uri(stimuli, item.files["picture"])}
    second = _second(item, trial.condition)
    if second is not None:
        pictures["second"] = _data_uri(stimuli, second)
    order = ("reference", "other") if trial.reference_side == REGIONS[0] else ("other", "reference")
    return Shown(pictures, (item.regions[order[0]], item.regions[order[1]]), _question(design, trial, item))


def feedback(trial: Trial) -> dict[str, str]:
    """Return what practice says after the answer."""
    text = PRACTICE_RIGHT if trial.choice == trial.reference_side else PRACTICE_WRONG
    return {
        "reference": trial.reference_side, "text": text.format(number=REGIONS.index(trial.reference_side) + 1),
    }  # fmt: skip


def _second(item: Item, condition: str) -> str | None:
    """Return the file beside the photograph; practice and catch items show the same one in all conditions."""
    if item.role != "main":
        return item.files["shown"]
    return None if condition == "none" else item.files["references" if condition == "reference" else condition]


def _question(design: Design, trial: Trial, item: Item) -> str:
    if trial.required is not None:
        return CHECK.format(label=design.texts.choices[REGIONS.index(trial.required)])
    if design.show_class:
        return f"{design.texts.question} ({item.label.split(',')[0]})"
    return design.texts.question


@lru_cache(maxsize=256)
def _data_uri(stimuli: StimulusSet, name: str) -> str:
    data = stimuli.read(name)
    size = _largest(stimuli)
    # Decoders stop at the end that the file's own header gives; what follows is filling. It must not compress, or a
    # proxy that compresses would tell the sizes again, and stay the same, since a changed picture is sent anew.
    filling = random.Random(name).randbytes(size - len(data))  # noqa: S311 - no secret
    return "data:image/webp;base64," + base64.b64encode(data + filling).decode()


@lru_cache(maxsize=32)
def _largest(stimuli: StimulusSet) -> int:
    """Return the size of the largest file of a set, bytes, rounded up so that base64 needs no filling of its own."""
    names = {name for item in stimuli.items for name in item.files.values()}
    return -(-max((stimuli.folder / name).stat().st_size for name in names) // 3) * 3


SIZE = 480  # px, of the picture that is shown
COLOURS = ((0, 114, 178), (230, 159, 0))
INKS = ((255, 255, 255), (17, 17, 17))  # of the numbers
LINE, HALO = 3, 6  # px
DASH = 14  # px


@lru_cache(maxsize=64)
def marked(uri: str, regions: tuple[Box, Box]) -> str:
    """Return a picture's data URI with region 1 and 2 drawn on it, another data URI.

    Args:
        regions: left, top and side, as fractions of the picture's side.
    """
    picture = Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB").resize((SIZE, SIZE))
    for number, region in enumerate(regions):
        _draw_region(picture, number, region)
    out = BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _draw_region(picture: Image.Image, number: int, region: Box) -> None:
    left, top, side = (round(SIZE * part) for part in region)
    right, bottom = min(left + side, SIZE) - 1, min(top + side, SIZE) - 1
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left, top, right, bottom), outline=(255, 255, 255), width=HALO)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for start, stop in pairwise(corners):
        _draw_edge(pen, np.array(start), np.array(stop), number)
    radius = 14
    # Beside the box where there is room, so that nothing of the region is covered.
    x, y = left + radius, top - radius - HALO
    if y < radius:
        y = bottom + radius + HALO
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=COLOURS[number], outline=(255, 255, 255))
    pen.text((x, y), str(number + 1), fill=INKS[number], font=ImageFont.load_default(18), anchor="mm")


def _draw_edge(pen: ImageDraw.ImageDraw, start: np.ndarray, stop: np.ndarray, number: int) -> None:
    """Draw one edge: solid of region 1, dashed of region 2."""
    steps = 1 if number == 0 else max(1, round(float(np.abs(stop - start).sum()) / DASH))
    for step in range(steps):
        begin = start + (stop - start) * step / steps
        end = begin + (stop - start) * (1.0 if number == 0 else 0.6) / steps
        pen.line((*begin.tolist(), *end.tolist()), fill=COLOURS[number], width=LINE)
