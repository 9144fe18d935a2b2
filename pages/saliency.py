"""Saliency maps of a dense model and of its trace, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from spade_core.jobs.job import Ticket
from spade_core.results.config import AnalysisConfig
from spade_core.ui.common import command, downloads, panels, pickers
from spade_core.ui.common.frame import frame, jobs
from spade_core.ui.common.jobs import follow, remember, remembered
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject, asked_by_link, paste_of, pick_subject, start_of

PAGE = "saliency"
LIVE_OPACITY = 0.85


def main() -> None:
    """Draw the page."""
    frame("Saliency maps", _render)


def _render() -> None:
    st.title("Saliency maps")
    start = start_of(PAGE)
    subject = pick_subject(start)
    if subject is None:
        return
    with st.sidebar:
        choice = _pick_rest(start, subject)
        run = st.button("Run SPADE", type="primary", width="stretch", disabled=not choice.methods, key="run")
    if run or asked_by_link(PAGE):
        _submit(choice, subject)
    _render_result(subject)


def _pick_rest(start: Choice, subject: Subject) -> Choice:
    described = subject.described
    target = pickers.pick_target(start, described["labels"], described["probabilities"])
    methods = pickers.pick_methods(start, described["unsupported"])
    with st.expander("Trace", icon=":material/tune:"):
        options = pickers.pick_trace(start, described["stages"], described["table"])
    choice = Choice(
        model=subject.spec.get("name", "own"), picture=subject.source["name"], trigger=paste_of(subject.source),
        target=target, methods=methods,
    )  # fmt: skip
    return replace(choice, **options)


def _submit(choice: Choice, subject: Subject) -> None:
    config = AnalysisConfig(choice.methods, choice.target, choice.trace_options(), seed=choice.seed)
    payload = {"model": subject.spec, "picture": subject.source, "config": config.to_dict()}
    remember(PAGE, jobs().submit("analysis", payload), (choice, subject))
    if subject.linkable:
        st.query_params.from_dict(choice.to_query())
    else:
        st.query_params.clear()


def _render_result(subject: Subject) -> None:
    ticket, asked = remembered(PAGE)
    if ticket is None or not isinstance(asked, tuple):
        _render_before(subject.described)
        return
    choice, before = asked
    status = ticket.status()
    if not status.finished:
        follow(ticket, lambda partials: _render_live(partials, choice.methods), PAGE)
    elif status.state == "done":
        if (before.spec, before.source) != (subject.spec, subject.source):
            st.info(
                "These maps are of your previous choice: press **Run SPADE** for the new one.",
                icon=":material/history:",
            )
        _render_done(ticket, choice, before)
    elif status.state == "cancelled":
        st.info("Cancelled. Change what you like and run again.", icon=":material/cancel:")
    else:
        st.error(status.note, icon=":material/error:")


def _render_before(described: dict[str, Any]) -> None:
    """Show what the dense model makes of the picture, and what to do next."""
    st.info("Press **Run SPADE** in the sidebar: the first maps come within seconds.", icon=":material/touch_app:")
    st.markdown(f"**What {described['name']} predicts for this picture**")
    panels.show_top(described["labels"], described["probabilities"])


def _render_live(partials: Mapping[str, bytes], methods: tuple[str, ...]) -> None:
    if "trace.json" in partials:
        panels.show_fidelity(**downloads.read_json(partials["trace.json"]))
    panels.show_pairs(partials, methods, LIVE_OPACITY)


def _render_done(ticket: Ticket, choice: Choice, subject: Subject) -> None:
    files = ticket.result()
    described = downloads.read_json(files["manifest.json"])
    for note in described["picture"]["notes"]:
        st.caption(f":material/info: {note}")
    panels.show_fidelity(described["fidelity"], described["sparsity"], described["seconds"]["trace"])
    opacity = st.slider("Overlay", 0.0, 1.0, 0.85, 0.05, key="opacity", help="Opacity of the maps over the picture.")
    panels.show_pairs(files, tuple(described["methods"]), opacity, described["methods"])
    for method in described["methods"].values():
        for note in {*method["dense"]["notes"], *method["spade"]["notes"]}:
            st.caption(f":material/info: {note}")
    panels.show_predictions(described)
    panels.show_layers(described)
    downloads.show_downloads(files, command.command_line(choice, subject.spec, subject.source["name"]))


main()
