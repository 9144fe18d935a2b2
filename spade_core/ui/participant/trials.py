"""The trials of the survey page: by the trial component, or as a plain form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from spade_core.study.data.store import Store
from spade_core.study.data.tables import Trial
from spade_core.study.design.questions import Rating, Text
from spade_core.study.running.answers import Receipt, elapsed_ms, give, remaining_ms, submit
from spade_core.study.running.person import Person
from spade_core.study.running.standing import Standing
from spade_core.study.running.trial_view import feedback, marked, shown
from spade_core.study.vocabulary import CHOICES
from spade_core.ui.participant.component import TrialTexts, TrialView, show_trial
from spade_core.ui.participant.presence import FEEDBACK

TEXTS = TrialTexts()
FINAL = ("foreign", "conflicting", "repeated", "impossible", "skipping", "late", "deleted")


def render_trials(store: Store, at: Standing) -> None:
    """Show the current trial, a break before a new block, or the feedback of the practice trial just answered.

    A reload goes on without the feedback.
    """
    who, trial = at.who, at.said or at.trial
    if trial is None:
        st.rerun()
        return
    if at.said is None and at.begins_block and _pause(who, trial):
        return
    if f"limit_{trial.id}" not in st.session_state:
        trial = give(store, trial)
        # What is left as of this tab; it stays, as a component whose data change gets all of them again.
        st.session_state[f"limit_{trial.id}"] = remaining_ms(who.design, trial, store.clock())
    if who.row.native:
        _plain(store, who, trial, at.said is not None)
    else:
        _component(store, at, trial)


def _component(store: Store, at: Standing, trial: Trial) -> None:
    who, later = at.who, at.upcoming
    view = _view(who, trial, at.said is not None)
    refused = st.session_state.setdefault("refused", [])
    answer = show_trial(
        view, acknowledged=[*at.answered, *refused],
        upcoming=None if later is None else _view(who, later, False),
        # The same over reloads, and nobody else's: the browser keeps answers under it.
        key=f"t{who.row.uid}", on_answer=lambda given: _receive(store, who, given), on_continue=_read_feedback,
    )  # fmt: skip
    taken = answer is not None and st.session_state.pop("received", None) == answer["trial_id"]  # by the callback
    if answer is not None and not taken and _receive(store, who, answer).fresh:
        st.rerun()


def _view(who: Person, trial: Trial, answered: bool) -> TrialView:
    seen, design = shown(who.study.stimuli, who.design, trial), who.design
    return TrialView(
        trial.id, seen.pictures, seen.regions, seen.question, labels=design.texts.choices,
        ask_confidence=design.confidence, min_view_ms=design.min_view_ms,
        time_limit_ms=st.session_state.get(f"limit_{trial.id}", design.time_limit_ms),
        extra=[question.model_dump(mode="json") for question in design.questions.of(trial.type)],
        feedback=feedback(trial) if answered else None,
    )  # fmt: skip


def _receive(store: Store, who: Person, answer: Mapping[str, Any]) -> Receipt:
    """Store an answer once and remember what the browser may forget."""
    receipt = submit(store, who, answer)
    st.session_state["received"] = answer["trial_id"]
    if receipt.fresh and receipt.correct is not None:
        st.session_state[FEEDBACK] = answer["trial_id"]
    if receipt.refusal in FINAL and not receipt.stored:
        st.session_state.setdefault("refused", []).append(answer["trial_id"])
    return receipt


def _read_feedback(trial_id: str) -> None:
    if st.session_state.get(FEEDBACK) == trial_id:
        del st.session_state[FEEDBACK]


def _pause(who: Person, trial: Trial) -> bool:
    """Offer a break before a block; return whether it is still going on."""
    if st.session_state.get("block", 0) >= trial.block:
        return False
    st.markdown(who.design.texts.pause)
    if not st.button("Go on", type="primary", key=f"pause_{trial.block}"):
        return True
    st.session_state["block"] = trial.block
    st.rerun()
    return True


def _plain(store: Store, who: Person, trial: Trial, answered: bool) -> None:
    """Show a trial as ordinary form controls; its response time is the server's and stays out of such analyses."""
    seen = shown(who.study.stimuli, who.design, trial)
    pictures = [marked(seen.pictures["picture"], seen.regions), *list(seen.pictures.values())[1:]]
    # The captions are also what a screen reader says of the pictures.
    for column, picture, words in zip(st.columns(2), pictures, (TEXTS.picture_alt, TEXTS.second_alt), strict=False):
        column.image(picture, caption=words, width=360)
    for number, (left, top, side) in enumerate(seen.regions, 1):
        centre = f"{100 * (left + side / 2):.0f} % from the left, {100 * (top + side / 2):.0f} % from the top"
        st.caption(f"Region {number}: a square of {100 * side:.0f} % of the picture's side; its centre lies {centre}.")
    if answered:
        st.success(feedback(trial)["text"])
        st.button("Continue", type="primary", on_click=_read_feedback, args=(trial.id,), key=f"go_{trial.id}")
        return
    if who.design.time_limit_ms is not None:
        st.caption(f"Please answer within {who.design.time_limit_ms / 1000:g} seconds: a later answer does not count.")
    asked = who.design.questions.of(trial.type)
    with st.form(f"form_{trial.id}", border=False):
        names = dict(zip(CHOICES, who.design.texts.choices, strict=True))
        choice = st.radio(seen.question, CHOICES, index=None, format_func=names.get, key=f"choice_{trial.id}")
        sure = None
        if who.design.confidence:
            sure = st.radio("How sure are you? 1 guessing, 3 sure", (1, 2, 3), index=None, key=f"sure_{trial.id}")
        extra = ask_plainly(asked, trial.id)
        sent = st.form_submit_button("Answer", type="primary")
    if not sent:
        return
    passed, limit = elapsed_ms(trial, store.clock()) or 0.0, who.design.time_limit_ms
    complaint = _complaint(choice, who.design.confidence and sure is None, first_missing(asked, extra))
    given = {"trial_id": trial.id, "rt_source": "server"}
    if limit is not None and passed > limit:
        _receive(store, who, {**given, "choice": None, "confidence": None, "rt_ms": None, "timed_out": True})
        st.rerun()
    elif complaint:
        st.warning(complaint)
    else:
        whole = {"choice": choice, "confidence": sure, "extra": extra, "rt_ms": passed, "timed_out": False}
        _receive(store, who, {**given, **whole})
        st.rerun()


def _complaint(choice: str | None, unsure: bool, missing: str | None) -> str | None:
    """Return what is still to be answered, in a sentence."""
    if choice is None:
        return "Please choose one of the answers."
    if unsure:
        return "Please say as well how sure you are."
    return f"Please answer this as well: {missing}" if missing is not None else None


OPTIONAL = "(optional)"


def ask_plainly(asked: Sequence[Rating | Text], trial_id: str) -> dict[str, Any]:
    """Draw the questions of a trial; return what is filled in, by name, None where nothing is."""
    return {question.name: _CONTROLS[question.kind](question, f"{question.name}_{trial_id}") for question in asked}


def first_missing(asked: Sequence[Rating | Text], given: Mapping[str, Any]) -> str | None:
    """Return the text of the first required question without a reply, or None."""
    empty = (None, "")
    return next((one.text for one in asked if one.required and given.get(one.name) in empty), None)


def _label(question: Rating | Text) -> str:
    return question.text if question.required else f"{question.text} {OPTIONAL}"


def _rating(question: Rating, key: str) -> int | None:
    ends = dict(zip((question.low, question.high), question.labels, strict=True))
    return st.radio(
        _label(question), range(question.low, question.high + 1), index=None, horizontal=True, key=key,
        format_func=lambda step: f"{step} {ends.get(step, '')}".rstrip(),
    )  # fmt: skip


def _text(question: Text, key: str) -> str:
    return st.text_area(_label(question), max_chars=question.max_length, key=key).strip()


_CONTROLS: Mapping[str, Callable[[Any, str], Any]] = {"rating": _rating, "text": _text}
