"""One trial of a study on the page: pictures, question, answer and the time it took, measured in the browser.

Three things travel apart, because a component whose data changes gets all of its data again:

* each trial's pictures, in a mount of their own whose data never change: sent once, as *upcoming*, and afterwards
  referred to by Streamlit's message cache;
* the trial's text, with the ids under which the browser finds the pictures;
* the acknowledged trials, beside the text: a few hundred bytes.

The browser keeps an answer until its trial id is acknowledged and sends it again until then, so the same answer may
arrive several times: whoever receives it stores it idempotently. Where it is told of a route (``participant.route``) it
sends answers there and gets the next trial back, and the page runs only for what is no trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import streamlit as st

from spade_core.config import ASSETS
from spade_core.study.running.trial_view import PICTURE, TrialView

FOLDER = ASSETS / "trial"
Message: TypeAlias = Mapping[str, object]  # of the browser, with the id of the trial that it is about


def show_trial(
    view: TrialView,
    *,
    acknowledged: Sequence[str],
    upcoming: TrialView | None,
    attempt: int = 0,
    progress: float | None = None,
    route: Mapping[str, str] | None = None,
    key: str,
    on_answer: Callable[[Message], object],
    on_continue: Callable[[str], object],
) -> Message | None:
    """Show a trial and receive its answer.

    Args:
        acknowledged: trial ids whose answers the browser may forget: stored, or refused for good. All of this
            participant's are best; an id that is missing makes the browser send its answer once more.
        attempt: how often an answer to this very trial was refused: the browser drops it and asks once more. Such a
            trial must not be among the acknowledged ones, or the next answer to it would be forgotten.
        upcoming: the next trial, whose pictures are sent and decoded while this one is answered.
        progress: 0 to 1, drawn as a bar above the trial; None: no bar.
        route: what the route has to be told with each message; None: there is none, and messages come by the page.
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

    def on_continued(said: Message) -> None:
        on_continue(str(said["trial_id"]))

    result = _component("trial")(
        key=key,
        data={
            "key": key,
            "trial": trial_data(view),
            "acknowledged": list(acknowledged),
            "attempt": attempt,
            "progress": progress,
            "route": None if route is None else dict(route),
        },
        on_answer_change=lambda: _hand_over(st.session_state.get(key, {}).get("answer"), on_answer),
        on_redraw_change=lambda: None,  # the component has come to what the page has to draw
        on_continued_change=lambda: _hand_over(st.session_state.get(key, {}).get("continued"), on_continued),
    )
    # After the trial, which can thus forget an acknowledged answer before the large messages arrive.
    for one in (view, upcoming):
        if one is not None:
            _component("pictures")(key=f"{key}_{one.trial_id}", data={"pictures": picture_uris(one)})
    _hand_over(result.get("continued"), on_continued)
    return _message(result.get("answer"))


@cache
def _component(name: str) -> Any:
    """Register one of the two components; the scripts travel as text, as no installed package holds them."""
    scripts = {
        "trial": ("shelf.js", "outbox.js", "route.js", "screen.js", "extra.js", "trial.js"),
        "pictures": ("shelf.js", "pictures.js"),
    }[name]
    script = "\n".join((FOLDER / file).read_text("utf-8") for file in scripts)
    if name == "pictures":
        return st.components.v2.component("study_pictures", js=script)
    html, css = ((FOLDER / file).read_text("utf-8") for file in ("trial.html", "trial.css"))
    return st.components.v2.component("study_trial", html=html, css=css, js=script)


def trial_data(view: TrialView) -> dict[str, object]:
    """Return a trial as the browser gets it: of the pictures their ids alone."""
    texts = {name.rstrip("_"): value for name, value in vars(view.texts).items()}
    extra = [question.model_dump(mode="json") for question in view.extra]
    return {**vars(view), "pictures": _picture_ids(view), "texts": texts, "extra": extra}


def picture_uris(view: TrialView) -> dict[str, str]:
    """Return the data URIs of a trial's pictures, the photograph first, by the ids that the browser has for them."""
    ordered = [view.pictures[PICTURE], *(uri for name, uri in view.pictures.items() if name != PICTURE)]
    return dict(zip(_picture_ids(view), ordered, strict=True))


def _picture_ids(view: TrialView) -> list[str]:
    """Return ids as opaque as the trial's own: a hash would tell participants with the same picture."""
    return [f"{view.trial_id}-{index}" for index in range(len(view.pictures))]


def _hand_over(said: object, receive: Callable[[Message], object]) -> None:
    if (message := _message(said)) is not None:
        receive(message)


def _message(said: object) -> Message | None:
    """Return a message without the number of its repetition, so that repetitions are equal; None: there is none."""
    if not isinstance(said, Mapping) or not isinstance(said.get("trial_id"), str):
        return None
    return {name: value for name, value in said.items() if name != "sequence"}
