"""What a participant's browser gets of a trial: pictures as data URIs of one size, boxes, and a question.

Nothing in it tells the condition but what is to be seen: names stay on the server, and every file of a set is filled up
to the same number of bytes, since a visualization's size would tell which kind it is.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spade_core.study.data.tables import Trial
from spade_core.study.design.design import Design
from spade_core.study.design.questions import Extra
from spade_core.study.design.schedule import seeded
from spade_core.study.stimuli.stimulus_set import SIDES, Box, StimulusSet
from spade_core.study.vocabulary import CONDITIONS, CONFIDENCE, REGIONS

PICTURE = "picture"
PRACTICE_RIGHT = "Right: region {number} made the network decide."
PRACTICE_WRONG = "Region {number} made the network decide."
CHECK = "This question checks your attention. Please choose “{label}”."


@dataclass(frozen=True)
class TrialTexts:
    """What a trial says beside its question and its choices; the same in all conditions."""

    confidence: str = "How sure are you?"
    confidence_labels: tuple[str, ...] = CONFIDENCE
    picture_alt: str = "A picture with two marked regions, 1 and 2"
    second_alt: str = "Another picture"
    saving: str = "Saving your answer …"
    still_saving: str = "Your answer is kept and is being sent again. Please leave this page open."
    failed: str = "A picture could not be shown. Please reload this page; your answers are saved."
    continue_: str = "Continue"
    optional: str = "(optional)"
    missing: str = "Please answer this question before you go on."
    send: str = "Send"
    progress: str = "Your progress"


@dataclass(frozen=True)
class TrialView:
    """What the browser gets to know of a trial: nothing that names a condition.

    Attributes:
        trial_id: random, and another one for every participant; it is the answer's address.
        pictures: name -> data URI. ``picture`` is the photograph without marks; all others, in their order, stand
            beside it. The names stay on the server.
        regions: regions 1 and 2 of the photograph.
        question: one sentence.
        labels: of region 1, region 2 and *cannot tell*.
        ask_confidence: whether the confidence is asked after the choice.
        extra: the design's own questions, asked last.
        min_view_ms: answers that come earlier are counted and otherwise ignored.
        time_limit_ms: when the trial ends without a choice; None: never.
        feedback: ``{"reference": "region_1", "text": ...}``, shown with a *Continue* button once this trial is
            acknowledged. Pass it only then, so that the reference leaves the server after the answer.
        texts: the other words.
    """

    trial_id: str
    pictures: Mapping[str, str]
    regions: tuple[Box, Box]
    question: str
    labels: tuple[str, str, str] = ("Region 1", "Region 2", "Cannot tell")
    ask_confidence: bool = True
    extra: Sequence[Extra] = ()
    min_view_ms: int = 500
    time_limit_ms: int | None = None
    feedback: Mapping[str, str] | None = None
    texts: TrialTexts = field(default_factory=TrialTexts)


def view_of(
    stimuli: StimulusSet, design: Design, trial: Trial, *, limit_ms: int | None = None, answered: bool = False
) -> TrialView:
    """Return what is shown in a trial.

    Args:
        limit_ms: what is left of the trial's time; answered: whether it says, as practice does, if that was right.
    """
    item = stimuli.item(trial.stimulus_id)
    # Catch items show the same image in all conditions, and so do practice items without visualizations.
    own = CONDITIONS[trial.condition].file
    second = own if item.role == "main" or own in item.files else "shown"
    names = {PICTURE: item.files["picture"]} | ({} if second is None else {"second": item.files[second]})
    side = trial.reference_side
    sides = SIDES if side == REGIONS[0] else SIDES[::-1]
    said = (PRACTICE_RIGHT if trial.choice == side else PRACTICE_WRONG).format(number=REGIONS.index(side) + 1)
    question = design.texts.question + (f" ({item.label.split(',')[0]})" if design.show_class else "")
    if trial.required is not None:
        question = CHECK.format(label=design.texts.choices[REGIONS.index(trial.required)])
    return TrialView(
        trial.id,
        {name: _data_uri(stimuli, file) for name, file in names.items()},
        (item.regions[sides[0]], item.regions[sides[1]]),
        question,
        labels=design.texts.choices,
        ask_confidence=design.confidence,
        extra=design.questions.of(trial.type),
        min_view_ms=design.min_view_ms,
        time_limit_ms=limit_ms,
        feedback={"reference": side, "text": said} if answered else None,
    )


@lru_cache(maxsize=256)
def _data_uri(stimuli: StimulusSet, name: str) -> str:
    data = stimuli.read(name)
    size = _largest(stimuli)
    # Decoders stop at the end that the file's own header gives; what follows is filling. It must not compress, or a
    # proxy that compresses would tell the sizes again, and stay the same, since a changed picture is sent anew.
    filling = seeded(name).randbytes(size - len(data))
    return "data:image/webp;base64," + base64.b64encode(data + filling).decode()


@lru_cache(maxsize=32)
def _largest(stimuli: StimulusSet) -> int:
    """Return the size of the largest file of a set, bytes, rounded up so that base64 needs no filling of its own."""
    names = {name for item in stimuli.items for name in item.files.values()}
    return -(-max((stimuli.folder / name).stat().st_size for name in names) // 3) * 3


SIZE = 480  # px, of the plain form's picture
COLOURS = ((0, 114, 178), (230, 159, 0))
INKS = ((255, 255, 255), (17, 17, 17))  # of the numbers
LINE, HALO = 3, 6  # px
DASH = 14  # px


@lru_cache(maxsize=64)
def with_regions(uri: str, regions: tuple[Box, Box]) -> str:
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
    for start, stop in pairwise(map(np.array, corners)):
        # Solid around region 1, dashed around region 2.
        steps, drawn = (1, 1.0) if number == 0 else (max(1, round(float(np.abs(stop - start).sum()) / DASH)), 0.6)
        for step in range(steps):
            begin = start + (stop - start) * step / steps
            end = begin + (stop - start) * drawn / steps
            pen.line((*begin.tolist(), *end.tolist()), fill=COLOURS[number], width=LINE)
    radius = 14
    # Beside the box where there is room, so that nothing of the region is covered.
    x, y = left + radius, top - radius - HALO
    if y < radius:
        y = bottom + radius + HALO
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=COLOURS[number], outline=(255, 255, 255))
    pen.text((x, y), str(number + 1), fill=INKS[number], font=ImageFont.load_default(18), anchor="mm")
