"""The trials of the survey page: by the trial component, or as a plain form."""

from __future__ import annotations

import logging

import streamlit as st

from spade_core.study.data.store import UNREACHABLE, Store
from spade_core.study.data.tables import Trial
from spade_core.study.design.questions import Extra, Rating, Text
from spade_core.study.running.answers import Receipt, elapsed_ms, give, remaining_ms, submit
from spade_core.study.running.person import Person
from spade_core.study.running.standing import Standing, read_feedback
from spade_core.study.running.trial_view import TrialTexts, TrialView, view_of, with_regions
from spade_core.study.vocabulary import CHOICES, CONFIDENCE, PRACTICE
from spade_core.ui.participant.component import Message, show_trial
from spade_core.ui.participant.presence import TAB, TOKEN
from spade_core.ui.participant.route import MOUNTED

logger = logging.getLogger(__name__)

TEXTS = TrialTexts()


def render_trials(store: Store, at: Standing) -> None:
    """Show the current trial, what comes between two trials, or the feedback of the practice trial just answered."""
    who, trial = at.who, at.said or at.trial
    if trial is None:
        st.rerun()
        return
    if at.pauses and _pause(at, trial):
        return
    if f"limit_{trial.id}" not in st.session_state:
        trial = give(store, trial)
        # What is left as of this tab; it stays, as a component whose data change gets all of them again.
        st.session_state[f"limit_{trial.id}"] = remaining_ms(who.design, trial, store.clock())
    view = _view(who, trial, answered=at.said is not None)
    if who.row.native:
        _plain(store, at, trial, view)
    else:
        _component(store, at, view)


def _component(store: Store, at: Standing, view: TrialView) -> None:
    who = at.who
    refused = st.session_state.setdefault("refused", [])
    answer = show_trial(
        view,
        acknowledged=[*at.answered, *(one for one in refused if one != view.trial_id)],
        attempt=refused.count(view.trial_id),
        upcoming=None if at.upcoming is None else _view(who, at.upcoming),
        progress=at.progress,
        route=_route(),
        key=f"t{who.row.uid}",  # the same over reloads, and nobody else's: the browser keeps answers under it
        on_answer=lambda given: _receive_ahead(store, who, given),
        on_continue=lambda trial_id: _read(store, at, trial_id),
    )
    taken = answer is not None and st.session_state.pop("received", None) == answer["trial_id"]  # by the callback
    if answer is not None and not taken and _receive(store, who, answer).fresh:
        st.rerun()


def _route() -> dict[str, str] | None:
    """Return by what the component is known to the route: all of it stands in this tab's address but the tab."""
    if not MOUNTED.is_set():
        return None
    return {"study": st.query_params["study"], "token": st.query_params[TOKEN], "tab": st.session_state[TAB]}


def _view(who: Person, trial: Trial, *, answered: bool = False) -> TrialView:
    limit = st.session_state.get(f"limit_{trial.id}", who.design.time_limit_ms)
    return view_of(who.study.stimuli, who.design, trial, limit_ms=limit, answered=answered)


def _receive_ahead(store: Store, who: Person, answer: Message) -> None:
    """Store an answer before the page runs; where the database is out of reach, which the page says, it comes again."""
    try:
        _receive(store, who, answer)
    except UNREACHABLE:
        logger.exception("an answer waits in the browser")


def _receive(store: Store, who: Person, answer: Message) -> Receipt:
    """Store an answer once and remember what the browser may forget."""
    receipt = submit(store, who, answer)
    st.session_state["received"] = answer["trial_id"]
    if receipt.refusal is not None and not receipt.stored and st.session_state.get("refused_last") != answer:
        st.session_state["refused_last"] = answer  # the same once more is a repetition, not another attempt
        st.session_state.setdefault("refused", []).append(answer["trial_id"])
    return receipt


def _read(store: Store, at: Standing, trial_id: str) -> None:
    """Note that feedback was read; the browser may say so again."""
    if at.said is not None and at.said.id == trial_id:
        read_feedback(store, at.who, trial_id)


def shows_component(at: Standing) -> bool:
    """Return whether the page shows the trial component, rather than a plain form or what comes between two trials."""
    return not at.who.row.native and not (at.pauses and at.trial is not None and not _is_begun(at.trial))


def _pause(at: Standing, trial: Trial) -> bool:
    """Offer a break, or say that practice is repeated or over; return whether that is still to be read."""
    if _is_begun(trial):
        return False
    st.markdown(_words_between(at, trial))
    # By a callback: the run that shows the trial says nothing else, so that all trials come alike.
    st.button("Go on", type="primary", key=f"pause_{trial.index}", on_click=_begin, args=(trial.id,))
    return True


def _words_between(at: Standing, trial: Trial) -> str:
    design = at.who.design
    if at.right is None:
        return design.texts.pause
    if trial.type == PRACTICE:
        of, wanted = design.practice, design.practice_pass
        return f"Let us practise again, because {at.right} of {of} answers were right. {wanted} are needed."
    return "Practice is over. Now the study begins. From here on you are not told which answer is right."


def _is_begun(trial: Trial) -> bool:
    return bool(st.session_state.get("begun") == trial.id)


def _begin(trial_id: str) -> None:
    st.session_state["begun"] = trial_id


def _plain(store: Store, at: Standing, trial: Trial, view: TrialView) -> None:
    """Show a trial as ordinary form controls; its response time is the server's and stays out of such analyses."""
    who = at.who
    pictures = [with_regions(view.pictures["picture"], view.regions), *list(view.pictures.values())[1:]]
    for column, picture, words in zip(st.columns(2), pictures, (TEXTS.picture_alt, TEXTS.second_alt), strict=False):
        column.image(picture, caption=words, width=360, alt=words)
    for number, (left, top, side) in enumerate(view.regions, 1):
        centre = f"{100 * (left + side / 2):.0f} % from the left, {100 * (top + side / 2):.0f} % from the top"
        st.caption(f"Region {number}: a square of {100 * side:.0f} % of the picture's side; its centre lies {centre}.")
    if view.feedback is not None:
        st.success(view.feedback["text"])
        st.button("Continue", type="primary", on_click=_read, args=(store, at, trial.id), key=f"go_{trial.id}")
        return
    limit = who.design.time_limit_ms
    if limit is not None:
        st.caption(f"Please answer within {limit / 1000:g} seconds: a later answer does not count.")
    filled = _form(trial.id, view)
    if filled is None:
        return
    given, complaint = filled
    passed = elapsed_ms(trial, store.clock()) or 0.0
    if limit is not None and passed > limit:
        given = {"timed_out": True}
    elif complaint is not None:
        st.warning(complaint)
        return
    else:
        given |= {"rt_ms": passed}
    _receive(store, who, {"trial_id": trial.id, "rt_source": "server", **given})
    st.rerun()


def _form(trial_id: str, view: TrialView) -> tuple[dict[str, object], str | None] | None:
    """Draw the questions of a trial; return what was just sent, and what is still to be answered, in a sentence."""
    with st.form(f"form_{trial_id}", border=False):
        names = dict(zip(CHOICES, view.labels, strict=True))
        choice = st.radio(view.question, CHOICES, index=None, format_func=names.get, key=f"choice_{trial_id}")
        sure = None
        if view.ask_confidence:
            low, high = CONFIDENCE[0].lower(), CONFIDENCE[-1].lower()
            ask = f"{TEXTS.confidence} 1 {low}, {len(CONFIDENCE)} {high}"
            sure = st.radio(ask, range(1, len(CONFIDENCE) + 1), index=None, key=f"sure_{trial_id}")
        extra = {one.name: _control(one, f"{one.name}_{trial_id}") for one in view.extra}
        sent = st.form_submit_button("Answer", type="primary")
    missing = next((one.text for one in view.extra if one.required and extra[one.name] in (None, "")), None)
    complaint = None if missing is None else f"Please answer this as well: {missing}"
    if view.ask_confidence and sure is None:
        complaint = "Please say as well how sure you are."
    if choice is None:
        complaint = "Please choose one of the answers."
    return ({"choice": choice, "confidence": sure, "extra": extra}, complaint) if sent else None


def _control(question: Extra, key: str) -> int | str | None:
    label = question.text if question.required else f"{question.text} {TEXTS.optional}"
    match question:
        case Text():
            return st.text_area(label, max_chars=question.max_length, key=key).strip()
        case Rating():
            ends = dict(zip((question.low, question.high), question.labels, strict=True))
            steps = range(question.low, question.high + 1)
            words = {step: f"{step} {ends.get(step, '')}".rstrip() for step in steps}
            return st.radio(label, steps, index=None, horizontal=True, key=key, format_func=words.get)
