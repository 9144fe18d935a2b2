"""The columns of an export's tables and what they mean; a design's own questions add theirs to the trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from spade_core.study.design.design import Design, Rule
from spade_core.study.design.questions import Rating, Text

Entry = tuple[str, str]  # type or unit, meaning

_STUDY: Mapping[str, Entry] = {
    "study_id": ("text", "random id of the study"),
    "study_version": ("whole number", "version that the design gives itself, as its author typed it"),
    "design_version": ("whole number", "number of the design's saved version, from 1; “study versions” lists them"),
    "design_sha256": ("text", "of the design"),
    "code_version": ("text", "version of the program that published it"),
    "class_shown": ("0/1", "the variant whose question names the class, so that the visualization can be ignored"),
}
STUDY_COLUMNS = tuple(_STUDY)  # the same in every row of a study
_WHO: Mapping[str, Entry] = {
    "participant_uid": ("text", "random id of the participation; in the shareable export a fresh number"),
    "is_bot": ("0/1", "a simulated participant: never data about people"),
    "is_preview": ("0/1", "an experimenter's preview"),
    "policy": ("text", "of a bot"),
    "simulated": ("text", "SIMULATED for bots and previews, else empty"),
}
_DEMO: Entry = ("0/1", "the study tries the software and measures nothing")
_INCLUDED: Entry = ("0/1", "whether the design's exclusions and the experimenter keep this person")
_REASON: Entry = (
    "text", "which of them do not; the experimenter's words are left out of the shareable export",
)  # fmt: skip
_CELL: Entry = ("whole number", "which way of handing out conditions")
_SEED: Entry = ("text", "of this person's schedule, 128 bits; hidden while blind, and not in the shareable export")
_COMMENT: Entry = ("text", "the participant's closing comment, on all rows; in the shareable export once reviewed")

CODEBOOK: Mapping[str, Entry] = {
    **_STUDY,
    **_WHO,
    "demo": _DEMO,
    "included": _INCLUDED,
    "exclusion_reason": _REASON,
    "status": ("text", "active, complete, declined, screened_out, failed or time_over"),
    "cell": _CELL,
    "seed": _SEED,
    "trial_id": ("text", "random id of the trial"),
    "trial_index": ("whole number", "order; below 1000 practice"),
    "block_index": ("whole number", "counts breaks"),
    "trial_type": ("text", "practice, main, catch, repeat or attention"),
    "practice_round": ("whole number", "from 1; empty after practice"),
    "stimulus_id": ("text", "item of the stimulus set"),
    "picture_id": ("text", "photograph"),
    "class_neuron": ("text", "MODEL:CLASS"),
    "model_id": ("text", "model whose neuron was shown"),
    "condition": ("text", "dense, spade, none or reference; catch and practice trials look alike in all of them"),
    "reference_source": ("text", "trigger, or scorecam on the dense model"),
    "keeps_class": ("0/1", "whether the trace still ranks the class first"),
    "reference_side": ("text", "which region is the reference answer: region_1 or region_2"),
    "central_side": ("text", "what “the more central region” would answer"),
    "contrast_side": ("text", "what “the region of more contrast” would answer"),
    "rater_side_dense": ("text", "what the model rater answers from the dense visualization"),
    "rater_side_spade": ("text", "what the model rater answers from the SPADE visualization"),
    "rater_side_reference": ("text", "what the model rater answers from the reference crops"),
    "required": ("text", "the answer that an attention trial asks for"),
    "choice": ("text", "region_1, region_2, cannot_tell; empty where the time was up"),
    "correct": ("0/1", "agrees with the reference; empty for cannot_tell and time-outs; attention: did as asked"),
    "confidence": ("1-3", "asked after the choice"),
    "rt_ms": ("ms", "from the exposed onset to the choice"),
    "rt_source": ("text", "browser; server, or reloaded (shown before): not for analyses of times"),
    "timed_out": ("0/1", "no answer within the limit"),
    "timed_out_by": ("text", "whose limit that was: trial, or study (the trial was still to come); empty: answered"),
    "n_focus_losses": ("whole number", "how often the window lost the focus in this trial"),
    "repeat_of": ("text", "trial_id of the trial that is repeated"),
    "submitted_utc": ("s", "when the answer was stored; in the shareable export since the person's start"),
    "onset_utc": ("s", "when the picture was exposed, by the browser's clock; shareable: since the person's start"),
    "confidence_rt_ms": ("ms", "from the choice to the confidence"),
    "extra_rt_ms": ("ms", "from the confidence to the end of the design's own questions"),
    "input": ("text", "mouse, keyboard and the like, as the browser says"),
    "shown": ("whole number", "how often the trial was shown, reloads included"),
    "early_answers": ("whole number", "answers before the minimum viewing time, which do not count"),
    "resizes": ("whole number", "how often the window changed its size in this trial"),
    "window_width": ("px", "of the window at the answer"),
    "window_height": ("px", "of the window at the answer"),
    "dpr": ("number", "device pixels to a pixel"),
    "comment": _COMMENT,
}

_PARTICIPANTS: Mapping[str, Entry] = {
    **_STUDY,
    **_WHO,
    "demo": _DEMO,
    "status": (
        "text",
        "active, left (idle longer than “expire_minutes”), complete, declined, screened_out, failed or time_over",
    ),
    "phase": ("text", "where the person is, or was last"),
    "code_kind": ("text", "which completion code was given; empty: none"),
    "cell": _CELL,
    "condition": ("text", "the one condition of somebody between participants; empty within"),
    "seed": _SEED,
    "included": _INCLUDED,
    "exclusion_reason": _REASON,
    "checks": ("JSON", "every data-quality rule: passed or not, null where there is nothing to judge, and by what"),
    **{
        f"check_{name}": ("0/1", f"the rule “{name}” of the design is met; empty: nothing to judge yet")
        for name in get_args(Rule)
    },
    "started_utc": ("s", "entry; in the shareable export 0"),
    "consented_utc": ("s", "consent, empty where it was not given; shareable: since the start"),
    "consent_study_version": ("whole number", "study_version of the text that was agreed to; empty: none was"),
    "consent_design_version": ("whole number", "design_version of that text, which names it for good"),
    "consent_sha256": ("text", "of all that the consent page showed"),
    "last_seen_utc": ("s", "the last sign of life; shareable: since the start"),
    "finished_utc": ("s", "the end, empty before; shareable: since the start"),
    "total_s": ("s", "from entry to the end"),
    "instruction_s": ("s", "from the first page of the instructions to what came after the last"),
    "comprehension_tries": ("whole number", "attempts at the comprehension check"),
    "practice_rounds": ("whole number", "finished rounds of practice"),
    "practice_flagged": ("0/1", "went on although the last round of practice was not passed"),
    "native": ("0/1", "trials as a plain form, chosen before the first"),
    "window_width": ("px", "of the window at the device check"),
    "window_height": ("px", "of the window at the device check"),
    "dpr": ("number", "device pixels to a pixel at the device check"),
    "refresh_hz": ("Hz", "how often the browser drew, median over 60 frames; empty: not measured"),
    "touch_points": ("whole number", "contacts that the screen can tell apart; 0: no touch screen"),
    "mobile": ("0/1", "a phone or tablet, by what the browser said"),
    "browser": ("text", "its name and main version; not in the shareable export"),
    "os": ("text", "operating system; not in the shareable export"),
    "device": ("JSON", "what the browser said at the device check; not in the shareable export"),
    "n_practice": ("whole number", "answered practice trials"),
    "n_main": ("whole number", "answered main trials, those timed out among them"),
    "n_catch": ("whole number", "answered catch trials"),
    "n_repeat": ("whole number", "answered repeated trials"),
    "n_attention": ("whole number", "answered attention checks"),
    "n_cannot_tell": ("whole number", "answers “cannot tell” after practice"),
    "n_timed_out": ("whole number", "trials after practice without an answer in time"),
    "n_focus_losses": ("whole number", "how often the window lost the focus after practice"),
    "n_events": ("whole number", "rows of the table of events"),
    "comment": ("text", "the closing comment; in the shareable export once reviewed"),
}

_AT: Entry = ("s", "when; in the shareable export since the person's start")

CODEBOOKS: Mapping[str, Mapping[str, Entry]] = {
    "trials": CODEBOOK,
    "participants": _PARTICIPANTS,
    "events": {
        **_WHO,
        "at_utc": _AT,
        "kind": ("text", "what happened: a refused answer, another tab, entered again, a mobile device refused"),
        "reason": ("text", "why an answer was refused"),
        "details": ("JSON", "the rest; not in the shareable export"),
    },
    "pages": {
        **_WHO,
        "page": ("text", "that the person reached; one row for every page of the instructions and every turn back"),
        "instruction_page": ("whole number", "which page of the instructions, from 1; empty elsewhere"),
        "instruction_move": ("text", "how the person came to it from another page of the instructions: forward, back"),
        "at_utc": _AT,
        "seconds": ("s", "to the next page or the end; empty for the last one of who has not finished"),
    },
}
"""The columns of each table of every study."""


def codebook_of(design: Design, table: str = "trials") -> dict[str, Entry]:
    """Return the columns of a table of a study's export; trials also have its ratings and its free texts."""
    if table != "trials":
        return dict(CODEBOOKS[table])
    ratings = {rating_column(question.name): _rating(question) for question in design.questions.ratings}
    texts = {text_column(question.name): _text(question) for question in design.questions.texts}
    return {**CODEBOOK, **ratings, **texts}


def rating_column(name: str) -> str:
    """Return the column of a rating."""
    return f"rating_{name}"


def check_column(name: str) -> str:
    """Return the column of a data-quality rule."""
    return f"check_{name}"


def text_column(name: str) -> str:
    """Return the column of a free text."""
    return f"text_{name}"


def _rating(question: Rating) -> Entry:
    steps = zip((question.low, question.high), question.labels, strict=True)
    ends = ", ".join(f"{step} is “{label}”" for step, label in steps if label)
    meaning = f"“{question.text}”" + (f" ({ends})" if ends else "")
    return f"{question.low}-{question.high}", f"{meaning}; empty where not answered, and in practice"


def _text(question: Text) -> Entry:
    return "text", f"“{question.text}”; hidden while blind, and in the shareable export once reviewed"


BLINDED = (
    "condition", "correct", "stimulus_id", "picture_id", "class_neuron", "model_id", "reference_side",
    "reference_source", "keeps_class", "central_side", "contrast_side", "rater_side_dense", "rater_side_spade",
    "rater_side_reference", "cell", "seed",
)  # fmt: skip


def hidden_columns(design: Design) -> list[str]:
    """Return the columns that a blind export lacks.

    What people write about a trial is among them, since it may tell what they saw: “there was no second image”.
    """
    return [*BLINDED, *(text_column(question.name) for question in design.questions.texts)]
