"""A participant's whole way through a study; nothing else of the app is shown here."""

from __future__ import annotations

import math

import streamlit as st

from spade_core.study.data.store import Store
from spade_core.study.running.person import Person
from spade_core.study.running.phases import ends_at, is_over, run_out
from spade_core.study.vocabulary import IN_TRIALS, TERMINAL
from spade_core.ui.common.frame import study_store
from spade_core.ui.participant.presence import READABLE, from_the_top, participant_frame, present
from spade_core.ui.participant.screens import SCREENS, render_end, render_withdrawal
from spade_core.ui.participant.trials import render_trials

LOOK_AT_THE_CLOCK = 10.0  # seconds between two looks at the time that is left


def main() -> None:
    """Draw the page."""
    participant_frame(_render)


def _render() -> None:
    store = study_store()
    if "withdraw" in st.query_params:
        with st.container(width=READABLE):
            render_withdrawal(store)
        return
    at = present(store)
    if at is None:
        return
    who = at.who
    _banner(who)
    if is_over(who.design, who.row, store.clock()):
        who = run_out(store, who)
    if who.row.status in TERMINAL:
        with st.container(width=READABLE):
            render_end(store, who)
        from_the_top(who.row.status)
        return
    st.progress(at.progress, text="Your progress")
    ends = ends_at(who.design, who.row)
    if ends is not None:
        soon = min(LOOK_AT_THE_CLOCK, max(1.0, ends - store.clock()))
        st.fragment(_time_left, run_every=soon)(store, ends)
    if who.row.phase in IN_TRIALS:
        render_trials(store, at)
    else:
        with st.container(width=READABLE):
            SCREENS[who.row.phase](store, at)
    from_the_top(f"{who.row.phase} {at.page} {who.row.comprehension_tries}")


def _banner(who: Person) -> None:
    if who.row.is_preview:
        st.warning("Preview: nothing counts, and all of it is marked.", icon=":material/preview:")
    if who.study.row.demo:
        st.caption("Demo study: it tries the software and measures nothing.")


def _time_left(store: Store, ends: float) -> None:
    """Say how long the study still goes on, and leave its pages when the time is over."""
    left = ends - store.clock()
    if left <= 0:
        st.rerun()
    minutes = math.ceil(left / 60)
    st.caption(
        f":material/timer: About {minutes} minutes left for this study." if minutes > 1
        else ":material/timer: Less than a minute left for this study."
    )  # fmt: skip


main()
