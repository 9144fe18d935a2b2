"""Folders: maps and fidelity of many pictures as one job, and a table that leads to each."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import streamlit as st

from spade_core.evaluation.evidence import Evidence
from spade_core.evaluation.folder.rows import Row
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.reports import FOLDER_PDF, folder_report
from spade_core.saliency import METHODS
from spade_core.ui.common import command, downloads, panels, pickers
from spade_core.ui.common.frame import frame, jobs
from spade_core.ui.common.jobs import outcome, remember, remembered
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import (
    asked_by_link,
    may_load,
    note_gone,
    open_in,
    show_hint,
    start_of,
    wait_for,
    write_link,
)
from spade_core.ui.folder import table
from spade_core.ui.folder.sources import Chosen, by_name, link_of, pick_pictures, show_pictures
from spade_core.ui.history.runs import Run, note_run

PAGE = "folder"
ARM = "default"
SMALL = 2  # pictures that stand for a run in the browser's list
INTRODUCTION = (
    "Maps of every picture by the dense model and by a trace of its own, and how far to trust them: whether "
    "the trace keeps the class, how far its prediction moves, and whether its map is more faithful than the dense one."
)
GAIN = (
    "Gain: area under the probability of the class while pixels come in, in the map's order, minus the area while they "
    "go, both read on the dense model; SPADE's minus the dense map's, in points, with 95 % intervals over pictures."
)


def _render() -> None:
    st.title("Folders")
    start = start_of(PAGE)
    with st.sidebar:
        spec = pickers.pick_model(start)
        chosen = pick_pictures()
    if spec is None or not may_load(spec):
        return
    described = downloads.read_json(wait_for("describe", {"model": spec}, "Loading the model …")["model.json"])
    with st.sidebar:
        choice = Choice(model=str(spec.get("name", "own")), picture=start.picture)
        methods = pickers.pick_methods(start, described["unsupported"])
        choice = replace(choice, methods=methods, options=pickers.pick_method_options(start, methods))
        with st.expander("Trace", icon=":material/tune:"):
            choice = pickers.pick_trace(choice, start, described["stages"], described["table"])
    run = _bar(choice, 0 if chosen is None else len(chosen.pictures))
    if chosen is not None and choice.methods:
        _ask(choice, spec, chosen, clicked=run)
    _render_result(chosen)


def _bar(choice: Choice, count: int) -> bool:
    """Say what a click would run, and draw its button."""
    pictures = f"{count} picture{'' if count == 1 else 's'}" if count else "No pictures yet"
    methods = f"{len(choice.methods)} method{'' if len(choice.methods) == 1 else 's'}"
    details = f"{pickers.model_title(choice.model)} · {methods}"
    ready = bool(count and choice.methods)
    return panels.show_run_bar(f"**{pictures}**", details, "Run the folder", key="run_folder", disabled=not ready)


def _ask(choice: Choice, spec: Mapping[str, object], chosen: Chosen, *, clicked: bool) -> None:
    """Submit the job after a click; for a link, take only what is kept or somebody's already."""
    if not clicked and not asked_by_link(PAGE):
        return
    config = {"methods": choice.methods, "trace": choice.trace_options(), "seed": choice.seed}
    config |= {"options": choice.options} if choice.options else {}
    payload = {"model": spec, "pictures": chosen.pictures, "config": config}
    ticket = jobs().submit("folder", payload) if clicked else jobs().known("folder", payload)
    note_gone(PAGE, gone=ticket is None)
    if ticket is not None:
        linkable = chosen.linkable and "name" in spec
        query = choice.to_query() if linkable else {}
        at = time.time() if linkable and clicked else None
        remember(PAGE, ticket, (choice, spec, chosen, at))
        write_link(query)


def _render_result(chosen: Chosen | None) -> None:
    ticket, asked = remembered(PAGE)
    if ticket is None or not isinstance(asked, tuple):
        st.markdown(INTRODUCTION)
        hint = "Press **Run the folder**: rows come as they are ready. Pictures, model and methods are in the sidebar "
        show_hint(PAGE, f"{hint}(» at the top left where it is closed).")
        show_pictures(() if chosen is None else chosen.pictures)
        return
    choice, spec, of, at = asked
    stopped = "Cancelled. What was done is kept: the same choice goes on there."
    files = outcome(ticket, PAGE, live=_render_live, cancelled=stopped)
    if files is not None:
        if chosen is not None and chosen.pictures != of.pictures:
            st.info(
                "This is of your previous choice: press **Run the folder** for the new one.", icon=":material/history:"
            )
        if at is not None:
            _note(files, choice, at)
        _render_done(files, choice, spec, of)


def _note(files: Mapping[str, bytes], choice: Choice, at: float) -> None:
    """Let the browser list the run, with the first pictures."""
    rows = [row for row in table.read_rows(files) if not row.left_out]
    small = [data for row in rows[:SMALL] if (data := table.small_picture(files, row, table.PICTURE)) is not None]
    detail = (pickers.model_title(choice.model), ", ".join(METHODS[slug].title for slug in choice.methods))
    title = f"{len(rows)} picture{'' if len(rows) == 1 else 's'}"
    note_run(Run(PAGE, choice.to_query(), at, title, " · ".join(detail), small))


def _render_live(partials: Mapping[str, bytes]) -> None:
    rows = [row for row in table.read_rows(partials) if not row.left_out]
    if rows:
        method = next(iter(rows[0].scores))
        table.show_table(table.View(tuple(rows), method), partials, ARM, live=True)


def _render_done(files: Mapping[str, bytes], choice: Choice, spec: Mapping[str, object], of: Chosen) -> None:
    rows = table.read_rows(files)
    _show_summary(Evidence.of(io.BytesIO(files["results.parquet"])).statistics)
    table.show_left_out(rows)
    view = table.pick_view([row for row in rows if not row.left_out], choice.methods)
    st.caption(f"{len(view.rows)} of {len(rows)} pictures. Choose a row to see all its maps; click a heading to sort.")
    row = table.show_table(view, files, ARM)
    if row is not None:
        _show_picture(row, files, choice, spec, of)
    made = command.folder_command(choice, spec, of.images)
    offers = (
        ("Report with maps (HTML)", files["pictures.html"], "pictures.html", "text/html"),
        ("Report with maps (PDF)", partial(folder_report, files, made), FOLDER_PDF, "application/pdf"),
        ("Table (CSV)", files["pictures.csv"], "pictures.csv", "text/csv"),
        ("Scores (Parquet)", files["results.parquet"], "results.parquet", "application/octet-stream"),
    )
    downloads.show_downloads(offers, made, key="folder_download")


def _show_summary(statistics: Statistics) -> None:
    """Show what holds of all pictures together."""
    kept = statistics.kept(ARM)
    _, kl, sparsity = statistics.outcomes[:, 1].T
    place = st.container(horizontal=True, gap="medium")
    place.metric("Pictures", f"{statistics.pictures:,}", width="content")
    place.metric("Class kept", f"{kept.mean:.0f} %", width="content")
    place.metric("KL, nats (median)", f"{np.median(kl):.1e}", width="content")
    place.metric("Weights removed", f"{100 * sparsity.mean():.0f} %", width="content")
    gains = []
    for at, slug in enumerate(statistics.configuration.methods):
        gain = statistics.difference(ARM, DENSE, slice(at, at + 1), 0, 0)
        reach = f":gray[{gain.low:+.1f} to {gain.high:+.1f}]"
        gains.append(f"{METHODS[slug].title}: gain **{gain.mean:+.1f}** points {reach}")
    st.markdown("  \n".join(gains))
    st.caption(GAIN)


def _show_picture(row: Row, files: Mapping[str, bytes], choice: Choice, spec: Mapping[str, object], of: Chosen) -> None:
    """Show a row by itself, and lead to the page of one picture with the same settings."""
    with st.container(border=True):
        table.show_row(row, files, ARM)
        if "name" not in spec:
            st.caption("Own weights are uploaded again on the page of one picture.")
        if st.button("Open in Saliency maps", icon=":material/blur_on:", key="folder_open"):
            picture = link_of(by_name(of.pictures)[row.picture])
            open_in("saliency", replace(choice, picture=picture, seed=row.seed, target=None))


frame("Folders", _render)
