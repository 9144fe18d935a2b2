"""History: the runs of this browser, each with its picture and a link that opens it as it was."""

from __future__ import annotations

import streamlit as st

from spade_core.ui.common.frame import frame
from spade_core.ui.history.runs import MOST, show_runs

INTRODUCTION = (
    "What you have run: a choice opens it with its picture, its result and all that was chosen, and starts nothing. "
    "The list lies in **this browser** alone, for whoever uses it; the server keeps none."
)
LIMITS = (
    f"The newest {MOST} runs are kept. Not listed are runs of weights, folders and zips of your own, which no link can "
    "name, and what a page shows beside its result: comparisons, facets, the atlas, interventions. "
    "A result that the server has made room for since is computed anew, on a click; an uploaded picture is there while "
    "the server runs and has room."
)


def _render() -> None:
    st.title("History")
    st.markdown(INTRODUCTION)
    show_runs()
    st.caption(LIMITS)


frame("History", _render)
