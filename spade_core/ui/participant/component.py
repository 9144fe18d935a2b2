"""One trial of a study on the page: pictures, question, answer and the time it took, measured in the browser.

Three things travel apart, because a component whose data changes gets all of its data again:

* each trial's pictures, in a mount of their own whose data never change: sent once, as *upcoming*, and afterwards
  referred to by Streamlit's message cache;
* the trial's text, with the ids under which the browser finds the pictures;
* the acknowledged trials, beside the text: a few hundred bytes.

The browser keeps an answer until its trial id is acknowledged and sends it again until then, so the same answer may
arrive several times: whoever receives it stores it idempotently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import streamlit as st

from spade_core.config import ASSETS
from spade_core.errors import ConfigError

Box = tuple[float, float, float]  # left, top, side, as fractions of the picture's side
FOLDER = ASSETS / "trial"
PICTURE = "picture"


@dataclass(frozen=True)
class TrialTexts:
    """What a trial says beside its question and its choices; the same in all conditions."""

    confidence: str = "How sure are you?"
    confidence_labels: tuple[str, str, str] = ("Guessing", "Fairly sure", "Sure")
    picture_alt: str = "A picture with two marked regions, 1 and 2"
    second_alt: str = "Another picture"
    saving: str = "Saving your answer …"
    still_saving: str = "Your answer is kept and is being sent again. Please leave this page open."
    failed: str = "A picture could not be shown. Please reload this page; your answers are saved."
    continue_: str = "Continue"
    optional: str = "(optional)"
    missing: str = "Please answer this question before you go on."
    send: str = "Send"


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
        ask_confidence: whether 1 to 3 is asked after the choice.
        extra: the design's own questions, asked last: ``kind`` (``rating`` or ``text``), ``name``, ``text``,
            ``required``; ratings with ``low``, ``high`` and ``labels`` of both ends, texts with ``max_length``.
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
    extra: Sequence[Mapping[str, Any]] = ()
    min_view_ms: int = 500
    time_limit_ms: int | None = None
    feedback: Mapping[str, str] | None = None
    texts: TrialTexts = field(default_factory=TrialTexts)

    def __post_init__(self) -> None:
        if PICTURE not in self.pictures:
            raise ConfigError(f"A trial shows a photograph; give its data URI as {PICTURE!r}.")
        for name, address in self.pictures.items():
            if not address.startswith("data:image/"):
                raise ConfigError(f"The trial's picture {name!r} must be a data URI that starts with 'data:image/'.")
        for left, top, side in self.regions:
            if min(left, top, side) < 0 or max(left, top) + side > 1 + 1e-6:
                raise ConfigError("A trial's regions are given as left, top and side within 0 and 1.")


def show_trial(
    view: TrialView, *, acknowledged: Sequence[str], upcoming: TrialView | None, key: str,
    on_answer: Callable[[Mapping[str, Any]], object], on_continue: Callable[[str], object] | None = None,
) -> Mapping[str, Any] | None:  # fmt: skip
    """Show a trial and receive its answer.

    Args:
        view: the participant's current trial.
        acknowledged: trial ids whose answers the browser may forget: stored, or refused for good. All of this
            participant's are best; an id that is missing makes the browser send its answer once more.
        upcoming: the next trial, whose pictures are sent and decoded while this one is answered.
        key: random and the participant's own; the same after a reload, for answers are kept under it.
        on_answer: called before the page runs, with the answer: ``trial_id, choice, confidence, extra, rt_ms,
            confidence_rt_ms, extra_rt_ms, rt_source, timed_out, input, early_answers, focus_losses, resizes, onset_utc,
            shown, width, height, dpr``; times in ms from the onset, ``shown`` counts onsets of this trial in this tab,
            and ``rt_ms`` is None after a timeout. Called again for every repetition.
        on_continue: called with the trial id, perhaps repeatedly, when the feedback has been read.

    Returns:
        The answer that arrived with this run, or None. On the first run after a restart of the server no callback is
        called: store what is returned as well, and if it was new run the page again.
    """
    result = _component("trial")(
        key=key, data=_data(view, acknowledged, key),
        on_answer_change=lambda: _hand_over(key, "answer", on_answer),
        on_continued_change=lambda: _hand_over(key, "continued", lambda said: _read(said, on_continue)),
    )  # fmt: skip
    # After the trial, which can thus forget an acknowledged answer before the large messages arrive.
    for one in (view, upcoming):
        if one is not None:
            uris = dict(zip(_picture_ids(one), _ordered(one), strict=True))
            _component("pictures")(key=f"{key}_{one.trial_id}", data={"pictures": uris})
    _read(result.get("continued"), on_continue)
    return _answer(result.get("answer"))


@cache
def _component(name: str) -> Any:
    """Register one of the two components; the scripts travel as text, as no installed package holds them."""
    scripts = {"trial": ("outbox.js", "screen.js", "extra.js", "trial.js"), "pictures": ("pictures.js",)}[name]
    script = "\n".join((FOLDER / file).read_text("utf-8") for file in scripts)
    if name == "pictures":
        return st.components.v2.component("study_pictures", js=script)
    html, css = ((FOLDER / file).read_text("utf-8") for file in ("trial.html", "trial.css"))
    return st.components.v2.component("study_trial", html=html, css=css, js=script)


def _data(view: TrialView, acknowledged: Sequence[str], key: str) -> dict[str, Any]:
    """Return what the trial's mount gets; tuples as lists, as JSON has them."""
    texts = {name.rstrip("_"): value for name, value in asdict(view.texts).items()}
    trial = {
        "trial_id": view.trial_id, "pictures": _picture_ids(view), "regions": [list(box) for box in view.regions],
        "question": view.question, "labels": list(view.labels), "ask_confidence": view.ask_confidence,
        "extra": [dict(question) for question in view.extra],
        "min_view_ms": view.min_view_ms, "time_limit_ms": view.time_limit_ms,
        "feedback": dict(view.feedback) if view.feedback else None,
        "texts": {name: list(value) if isinstance(value, tuple) else value for name, value in texts.items()},
    }  # fmt: skip
    return {"key": key, "trial": trial, "acknowledged": list(acknowledged)}


def _ordered(view: TrialView) -> list[str]:
    """Return the data URIs, the photograph first."""
    return [view.pictures[PICTURE], *(uri for name, uri in view.pictures.items() if name != PICTURE)]


def _picture_ids(view: TrialView) -> list[str]:
    """Return ids as opaque as the trial's own: a hash would tell participants with the same picture."""
    return [f"{view.trial_id}-{index}" for index in range(len(view.pictures))]


def _hand_over(key: str, event: str, receive: Callable[[Mapping[str, Any]], object]) -> None:
    answer = _answer(st.session_state.get(key, {}).get(event))
    if answer is not None:
        receive(answer)


def _answer(message: object) -> Mapping[str, Any] | None:
    """Return a message without the number of its repetition, so that repetitions are equal."""
    if not isinstance(message, Mapping) or not isinstance(message.get("trial_id"), str):
        return None
    return {name: value for name, value in message.items() if name != "sequence"}


def _read(message: object, on_continue: Callable[[str], object] | None) -> None:
    said = _answer(message)
    if said is not None and on_continue is not None:
        on_continue(said["trial_id"])
