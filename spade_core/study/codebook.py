"""The columns of an export and what they mean; a design's own questions add theirs."""

from __future__ import annotations

from collections.abc import Mapping

from spade_core.study.design import Design
from spade_core.study.questions import Rating, Text

__all__ = ["CODEBOOK", "codebook_of", "rating_column", "text_column"]

Entry = tuple[str, str]  # type or unit, meaning

CODEBOOK: Mapping[str, Entry] = {
    "study_id": ("text", "random id of the study"),
    "study_version": ("whole number", "version of its design"),
    "code_version": ("text", "version of the program that published it"),
    "participant_uid": ("text", "random id of the participation; in the shareable export a fresh number"),
    "is_bot": ("0/1", "a simulated participant: never data about people"),
    "is_preview": ("0/1", "an experimenter's preview"),
    "policy": ("text", "of a bot"),
    "simulated": ("text", "SIMULATED for bots and previews, else empty"),
    "demo": ("0/1", "the study tries the software and measures nothing"),
    "included": ("0/1", "whether the design's exclusions and the experimenter keep this person"),
    "exclusion_reason": ("text", "which of them do not; the experimenter's words are left out of the shareable export"),
    "status": ("text", "active, complete, declined, screened_out or failed"),
    "cell": ("whole number", "which way of handing out conditions"),
    "trial_id": ("text", "random id of the trial"),
    "trial_index": ("whole number", "order; below 1000 practice"),
    "block_index": ("whole number", "counts breaks"),
    "trial_type": ("text", "practice, main, catch, repeat or attention"),
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
    "choice": ("text", "region_1, region_2, cannot_tell; empty where the time was up"),
    "correct": ("0/1", "agrees with the reference; empty for cannot_tell and time-outs; attention: did as asked"),
    "confidence": ("1-3", "asked after the choice"),
    "rt_ms": ("ms", "from the exposed onset to the choice"),
    "rt_source": ("text", "browser, or server: not for analyses of response times"),
    "timed_out": ("0/1", "no answer within the limit"),
    "n_focus_losses": ("whole number", "how often the window lost the focus in this trial"),
    "repeat_of": ("text", "trial_id of the trial that is repeated"),
    "submitted_utc": ("s", "when the answer was stored; in the shareable export since the person's start"),
    "comment": ("text", "the participant's closing comment, on all rows; in the shareable export once reviewed"),
}


def codebook_of(design: Design) -> dict[str, Entry]:
    """Return the columns of a study's export: those of every study, its ratings, its free texts."""
    ratings = {rating_column(question.name): _rating(question) for question in design.questions.ratings}
    texts = {text_column(question.name): _text(question) for question in design.questions.texts}
    return {**CODEBOOK, **ratings, **texts}


def rating_column(name: str) -> str:
    """Return the column of a rating."""
    return f"rating_{name}"


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
