"""Saliency maps of a dense model and of its trace, in one grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import streamlit as st

from spade_core.evaluation.evidence import claims
from spade_core.pruning.report import LayerReport
from spade_core.saliency import METHODS
from spade_core.ui.common import command, downloads, panels, pickers
from spade_core.ui.common.frame import frame, show_folded, show_notes
from spade_core.ui.common.jobs import outcome
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import (
    Asked,
    Subject,
    ask,
    asked,
    asked_by_link,
    pick_subject,
    show_hint,
    show_link,
    start_of,
)
from spade_core.ui.common.text import literal
from spade_core.ui.history.runs import note
from spade_core.ui.saliency.beside import LINKED, show_beside
from spade_core.ui.saliency.grid import prepare_grid
from spade_core.ui.saliency.maps import VIEWS, coloured, show_maps

PAGE = "saliency"
SEEN = "What the model sees"
BESIDE = "beside_open"  # the session's name for whether something may be set beside the maps


def _render() -> None:
    st.title("Saliency maps")
    start = start_of(PAGE)
    subject = pick_subject(start)
    if subject is None:
        return
    described = subject.described
    with st.sidebar:
        target = pickers.pick_target(start, described.labels, described.probabilities, subject.identity)
        methods = pickers.pick_methods(start, described.unsupported)
        options = pickers.pick_method_options(start, methods, described.advice)
        choice = replace(subject.choice(), target=target, methods=methods, options=options)
        with st.expander("Trace", icon=":material/tune:"):
            choice = pickers.pick_trace(choice, start, described.stages, described.table)
            choice = pickers.pick_bundle(choice, start)
    details = f"{described.title} · {len(choice.methods)} method{'' if len(choice.methods) == 1 else 's'}"
    why = f"Why **{literal(described.called(target))}**?"
    run = panels.show_run_bar(why, details, "Run SPADE", key="run", disabled=not choice.methods)
    linked = asked_by_link(PAGE)
    if linked and start.beside:
        st.session_state[LINKED] = True  # once the maps are there
    if run or linked:
        ask(PAGE, "analysis", choice, subject, clicked=run, config=choice.analysis().to_dict())
        show_link(replace(choice, beside=start.beside if linked else None), subject, methods=True)
    _render_result(subject, start)


def _render_result(subject: Subject, start: Choice) -> None:
    before = asked(PAGE)
    if before is None:
        hint = "Press **Run SPADE**: the first maps come within seconds. Picture, model, class and methods are in the "
        show_hint(PAGE, f"{hint} sidebar (» at the top left where it is closed).")
        picture, bars = st.columns([1, 3])
        picture.image(subject.crop, caption=SEEN, width="stretch", alt=SEEN)
        bars.markdown(f"**What {literal(subject.described.title)} predicts for this picture**")
        with bars:
            panels.show_top(subject.described.labels, subject.described.probabilities)
        prepare_grid()
        return
    live, stopped = partial(_render_live, before.choice), "Cancelled. Change what you like and run again."
    files = outcome(before.ticket, PAGE, live=live, cancelled=stopped)
    if files is not None:
        if not before.subject.same(subject):
            again = "These maps are of your previous choice: press **Run SPADE** for the new one."
            st.info(again, icon=":material/history:")
        _note(files, before)
        _render_done(files, before.choice, before.subject, start)


def _note(files: Mapping[str, bytes], before: Asked) -> None:
    """Let the browser list the run, with the first map."""
    told = downloads.read_json(files["manifest.json"])
    slugs = tuple(told["methods"])
    found = coloured(files, slugs[0], magnitudes=before.choice.bundle().magnitudes)
    methods = ", ".join(METHODS[slug].title for slug in slugs)
    note(PAGE, before, told["target"]["label"].split(",")[0], methods, found=found)


def _render_live(choice: Choice, partials: Mapping[str, bytes]) -> None:
    if "trace.json" in partials:
        view = _pick_view(partial(panels.show_summary, partials["trace.json"]))
        show_maps(partials, choice.methods, view=view, magnitudes=choice.bundle().magnitudes)


def _pick_view(show: Callable[[], None]) -> str:
    """Return how both maps are processed before they are shown, chosen beside what ``show`` draws."""
    hint = " ".join(f"**{view.title}**: {view.help}" for view in VIEWS.values())
    hint += " Dense and SPADE maps are processed alike; downloads hold them as they are."
    titles = {slug: view.title for slug, view in VIEWS.items()}.__getitem__
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        with st.container(width="content"):
            show()
        chosen = st.segmented_control("Maps", list(VIEWS), default="raw", format_func=titles, key="view", help=hint)
    return chosen or "raw"


def _render_done(files: Mapping[str, bytes], choice: Choice, subject: Subject, start: Choice) -> None:
    described = downloads.read_json(files["manifest.json"])
    show_notes((*described["picture"]["notes"], *described["picture"]["seen"], *described["notes"]))
    view = _pick_view(partial(panels.show_fidelity, described, described["seconds"]["trace"]))
    bundle = choice.bundle()
    panels.show_bundle(described["traces"], bundle)
    asked_for = described["config"]
    known = {} if bundle.traces > 1 else claims(described["model"]["sha256"], asked_for["trace"], asked_for["options"])
    more = {"traces": described["traces"], "magnitudes": bundle.magnitudes}
    methods = described["methods"]
    show_maps(files, tuple(methods), view=view, described=methods, claims=known, **more)
    if known:
        said = "What such maps gain is measured on other pictures"
        st.markdown(f":small[{said}: [Evidence](evidence).]")  # a caption's links are too pale to read
    beside, words = partial(show_beside, files, choice, subject, view), "Beside another class, picture, model or trace"
    show_folded(words, partial(beside, start.beside), key=BESIDE, icon=":material/compare:", opened=bool(start.beside))

    def tops() -> None:
        panels.show_top_tables(described["prediction"], described["trace_prediction"], *st.columns(2))

    def layers() -> None:
        rows = [LayerReport(**row) for row in described["layers"]]
        panels.show_chart(panels.stage_figure(rows), "layers_plot", panels.LAYERS)
        panels.show_layer_table(rows)

    show_folded("What both networks predict", tops, key="tops", icon=":material/format_list_numbered:")
    show_folded("Inside the trace: every layer", layers, key="layers", icon=":material/layers:")
    arrays = {name: data for name, data in files.items() if name.endswith(".npy") and name != "crop.npy"}
    made = command.explain_command(choice, subject.spec, subject.source["name"])
    offers = (
        *downloads.report_offers(files, made),
        ("Arrays (NPY, zipped)", downloads.zip_files(arrays), "spade_arrays.zip", "application/zip"),
        ("Manifest (JSON)", files["manifest.json"], "manifest.json", "application/json"),
    )
    downloads.show_downloads(offers, made, key="download")


frame("Saliency maps", _render)
