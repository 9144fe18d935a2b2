"""Saliency maps of a dense model and of its trace, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import streamlit as st

from spade_core.evaluation.evidence import claims
from spade_core.pruning.report import LayerReport
from spade_core.results.config import AnalysisConfig
from spade_core.ui.common import command, downloads, panels, pickers
from spade_core.ui.common.frame import frame, show_notes
from spade_core.ui.common.jobs import outcome
from spade_core.ui.common.link import Choice
from spade_core.ui.common.plots import stage_figure
from spade_core.ui.common.subject import Subject, ask, asked, asked_by_link, pick_subject, show_link, start_of
from spade_core.ui.common.text import literal

PAGE = "saliency"
LIVE_OPACITY = 0.85


def _render() -> None:
    st.title("Saliency maps")
    start = start_of(PAGE)
    subject = pick_subject(start)
    if subject is None:
        return
    described = subject.described
    with st.sidebar:
        target = pickers.pick_target(start, described.labels, described.probabilities)
        methods = pickers.pick_methods(start, described.unsupported)
        options = pickers.pick_method_options(start, methods, described.advice)
        choice = replace(subject.choice(), target=target, methods=methods, options=options)
        with st.expander("Trace", icon=":material/tune:"):
            choice = pickers.pick_trace(choice, start, described.stages, described.table)
            choice = pickers.pick_bundle(choice, start)
        run = st.button("Run SPADE", type="primary", width="stretch", disabled=not choice.methods, key="run")
    if run or asked_by_link(PAGE):
        config = AnalysisConfig(
            choice.methods, choice.target, choice.trace_options(), choice.options, choice.seed, choice.bundle()
        )
        ask(PAGE, "analysis", choice, subject, clicked=run, config=config.to_dict())
        show_link(choice, subject, methods=True)
    _render_result(subject)


def _render_result(subject: Subject) -> None:
    before = asked(PAGE)
    if before is None:
        hint = "Press **Run SPADE** in the sidebar: the first maps come within seconds."
        st.info(hint, icon=":material/touch_app:")
        st.markdown(f"**What {literal(subject.described.name)} predicts for this picture**")
        panels.show_top(subject.described.labels, subject.described.probabilities)
        return
    live, stopped = partial(_render_live, before.choice), "Cancelled. Change what you like and run again."
    files = outcome(before.ticket, PAGE, live=live, cancelled=stopped)
    if files is not None:
        if not before.subject.same(subject):
            again = "These maps are of your previous choice: press **Run SPADE** for the new one."
            st.info(again, icon=":material/history:")
        _render_done(files, before.choice, before.subject)


def _render_live(choice: Choice, partials: Mapping[str, bytes]) -> None:
    if "trace.json" in partials:
        panels.show_summary(partials["trace.json"])
    panels.show_pairs(partials, choice.methods, LIVE_OPACITY, magnitudes=choice.bundle().magnitudes)


def _render_done(files: Mapping[str, bytes], choice: Choice, subject: Subject) -> None:
    described = downloads.read_json(files["manifest.json"])
    show_notes((*described["picture"]["notes"], *described["picture"]["seen"], *described["notes"]))
    panels.show_fidelity(described, described["seconds"]["trace"])
    bundle = choice.bundle()
    panels.show_bundle(described["traces"], bundle)
    opacity = st.slider("Overlay", 0.0, 1.0, 0.85, 0.05, key="opacity", help="Opacity of the maps over the picture.")
    st.caption("Each map is coloured in a unit of its own: 1 is the top half percent of its magnitudes.")
    shown, known = tuple(described["methods"]), claims(described["model"]["sha256"], described["config"]["trace"])
    known = {} if bundle.traces > 1 else known
    more = {"traces": described["traces"], "magnitudes": bundle.magnitudes}
    panels.show_pairs(files, shown, opacity, described["methods"], known, **more)
    for method in described["methods"].values():
        show_notes({*method["dense"]["notes"], *method["spade"]["notes"]})
    with st.expander("What both networks predict", icon=":material/format_list_numbered:"):
        panels.show_top_tables(described["prediction"], described["trace_prediction"], *st.columns(2))
    layers = [LayerReport(**row) for row in described["layers"]]
    with st.expander("Inside the trace: every layer", icon=":material/layers:"):
        st.plotly_chart(stage_figure(layers), width="stretch", key="layers_plot")
        panels.show_layer_table(layers)
    arrays = {name: data for name, data in files.items() if name.endswith(".npy") and name != "crop.npy"}
    offers = (
        ("Figure (PNG)", files["figure.png"], "spade_figure.png", "image/png"),
        ("Arrays (NPY, zipped)", downloads.zip_files(arrays), "spade_arrays.zip", "application/zip"),
        ("Manifest (JSON)", files["manifest.json"], "manifest.json", "application/json"),
    )
    made = command.explain_command(choice, subject.spec, subject.source["name"])
    downloads.show_downloads(offers, made, key="download")


frame("Saliency maps", _render)
