"""Saliency maps of a dense model and of its trace, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from spade_core.analysis import AnalysisConfig
from spade_core.errors import ConfigError, JobError
from spade_core.jobs import Ticket
from spade_core.ui import panels, pickers
from spade_core.ui.frame import errors_as_sentences, frame, jobs
from spade_core.ui.link import Choice

POLL = 0.4  # seconds between two looks at a running job
DESCRIBE_WAIT = 30.0


def main() -> None:
    """Draw the page."""
    frame("Saliency maps", _render)


def _render() -> None:
    st.title("Saliency maps")
    start = _start()
    with st.sidebar:
        spec = pickers.pick_model(start)
        chosen = pickers.pick_picture(start)
    if spec is None or chosen is None:
        st.info("Choose a model and a picture in the sidebar.")
        return
    source = jobs().shelve(chosen.picture, chosen.data)
    described = _describe(spec, source)
    with st.sidebar:
        choice = _pick_rest(start, spec, source, described)
        run = st.button("Run SPADE", type="primary", width="stretch", disabled=not choice.methods, key="run")
    if run or _asked_by_link():
        _submit(choice, spec, source)
    _render_result(spec, source, described)


def _start() -> Choice:
    """Return what the address bar asks for, read once a session; a bad link says so and falls back to the defaults."""
    if "start" not in st.session_state:
        st.session_state.start, st.session_state.link_error = Choice(), None
        try:
            st.session_state.start = Choice.from_query(st.query_params.to_dict())
        except ConfigError as error:
            st.session_state.link_error = str(error)
        st.session_state.run_link = "methods" in st.query_params and st.session_state.link_error is None
    if st.session_state.link_error:
        st.error(st.session_state.link_error, icon=":material/link_off:")
    return st.session_state.start


def _asked_by_link() -> bool:
    return bool(st.session_state.pop("run_link", False))


def _describe(spec: dict[str, Any], source: dict[str, str]) -> dict[str, Any]:
    """Return what the worker knows of model and picture: labels, stages, probabilities."""
    ticket = jobs().submit("describe", {"model": spec, "picture": source})
    status = panels.wait_briefly(ticket, DESCRIBE_WAIT, "Loading the model and its prediction …")
    if not status.finished:
        raise JobError("Another computation is still running: wait for it or cancel it, then choose again.")
    return panels.read_json(ticket.result()["model.json"])


def _pick_rest(start: Choice, spec: dict[str, Any], source: dict[str, str], described: dict[str, Any]) -> Choice:
    st.caption(f":material/memory: {described['device']} · {len(described['labels']):,} classes")
    target = pickers.pick_target(start, described["labels"], described["probabilities"])
    methods = pickers.pick_methods(start, described["unsupported"])
    with st.expander("Trace", icon=":material/tune:"):
        options = pickers.pick_trace(start, described["stages"], described["table"])
    choice = Choice(model=spec.get("name", "own"), picture=source["name"], target=target, methods=methods)
    return replace(choice, **options)


def _submit(choice: Choice, spec: dict[str, Any], source: dict[str, str]) -> None:
    config = AnalysisConfig(choice.methods, choice.target, choice.trace_options(), seed=choice.seed)
    previous = st.session_state.get("ticket")
    ticket = jobs().submit("analysis", {"model": spec, "picture": source, "config": config.to_dict()})
    if previous is not None and previous.key != ticket.key:
        previous.cancel()
    st.session_state.ticket, st.session_state.asked = ticket, (choice, spec, source)
    if source["path"].startswith("bundled:") and "name" in spec:
        st.query_params.from_dict(choice.to_query())
    else:
        st.query_params.clear()


def _render_result(spec: dict[str, Any], source: dict[str, str], described: dict[str, Any]) -> None:
    ticket = st.session_state.get("ticket")
    if ticket is None:
        _render_before(described)
        return
    status = ticket.status()
    if not status.finished:
        _follow()
    elif status.state == "done":
        if st.session_state.asked[1:] != (spec, source):
            st.info(
                "These maps are of your previous choice: press **Run SPADE** for the new one.",
                icon=":material/history:",
            )
        _render_done(ticket)
    elif status.state == "cancelled":
        st.info("Cancelled. Change what you like and run again.", icon=":material/cancel:")
    else:
        st.error(status.note, icon=":material/error:")


def _render_before(described: dict[str, Any]) -> None:
    """Show what the dense model makes of the picture, and what to do next."""
    st.info("Press **Run SPADE** in the sidebar: the first maps come within seconds.", icon=":material/touch_app:")
    st.markdown(f"**What {described['name']} predicts for this picture**")
    panels.show_top(described["labels"], described["probabilities"])


@st.fragment(run_every=POLL)
def _follow() -> None:
    """Show the running job, and every pair of maps as soon as it is there."""
    ticket: Ticket = st.session_state.ticket
    status = ticket.status()
    if status.finished:
        st.rerun()
    with errors_as_sentences():
        bar, button = st.columns([5, 1], vertical_alignment="center")
        with bar:
            panels.show_status(status)
        if button.button("Cancel", key="cancel", width="stretch"):
            ticket.cancel()
        partials = ticket.partials()
        if "trace.json" in partials:
            panels.show_fidelity(**panels.read_json(partials["trace.json"]))
        panels.show_pairs(partials, st.session_state.asked[0].methods, 0.85, "live")


def _render_done(ticket: Ticket) -> None:
    choice, spec, source = st.session_state.asked
    files = ticket.result()
    described = panels.read_json(files["manifest.json"])
    for note in described["picture"]["notes"]:
        st.caption(f":material/info: {note}")
    panels.show_fidelity(described["fidelity"], described["sparsity"], described["seconds"]["trace"])
    opacity = st.slider("Overlay", 0.0, 1.0, 0.85, 0.05, key="opacity", help="Opacity of the maps over the picture.")
    panels.show_pairs(files, tuple(described["methods"]), opacity, "done")
    for method in described["methods"].values():
        for note in {*method["dense"]["notes"], *method["spade"]["notes"]}:
            st.caption(f":material/info: {note}")
    panels.show_predictions(described)
    panels.show_layers(described)
    panels.show_downloads(files, panels.command_line(choice, spec, source["name"]))


main()
