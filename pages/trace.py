"""Inside a trace: what survives, along which paths, how it differs between pictures, and what pruning more would do."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from spade_core.jobs.job import Ticket
from spade_core.ui.common import command, downloads, panels, pickers
from spade_core.ui.common.frame import frame, jobs
from spade_core.ui.common.jobs import follow, remember, remembered
from spade_core.ui.common.link import Choice
from spade_core.ui.common.plots import stage_figure
from spade_core.ui.common.subject import Subject, asked_by_link, paste_of, pick_subject, start_of
from spade_core.ui.trace import plots as trace_plots
from spade_core.ui.trace.second_picture import pick_second

PAGE = "trace"
COMPARE = "trace_compare"
WINDOW = 256  # rows and columns of a window of single weights, at most


def main() -> None:
    """Draw the page."""
    frame("Inside the trace", _render)


def _render() -> None:
    st.title("Inside the trace")
    start = start_of(PAGE)
    subject = pick_subject(start)
    if subject is None:
        return
    with st.sidebar:
        target = pickers.pick_target(start, subject.described["labels"], subject.described["probabilities"])
        with st.expander("Trace", icon=":material/tune:", expanded=True):
            options = pickers.pick_trace(start, subject.described["stages"], subject.described["table"])
        run = st.button("Make the trace", type="primary", width="stretch", key="make")
    choice = Choice(
        model=subject.spec.get("name", "own"), picture=subject.source["name"], trigger=paste_of(subject.source),
        target=target, other=start.other, other_trigger=start.other_trigger,
    )  # fmt: skip
    choice = replace(choice, **options)
    linked = asked_by_link(PAGE)
    if linked and start.other:
        st.session_state[COMPARE] = True  # once the trace is there
    if run or linked:
        _submit("inspect", PAGE, choice, subject)
        _show_link(choice, subject)
    _render_trace(subject)


def _show_link(choice: Choice, subject: Subject) -> None:
    if subject.linkable:
        st.query_params.from_dict(choice.to_query(methods=False))
    else:
        st.query_params.clear()


def _submit(kind: str, slot: str, choice: Choice, subject: Subject, **more: Any) -> None:
    trace = {**choice.trace_options(), "seed": choice.seed}
    payload = {"model": subject.spec, "picture": subject.source, "trace": trace, "target": choice.target, **more}
    remember(slot, jobs().submit(kind, payload), (choice, subject))


def _say_if_previous(asked: tuple[Choice, Subject], now: tuple[Choice, Subject]) -> None:
    """Say that what follows is of an earlier trace, where it is."""
    (before, old), (choice, subject) = asked, now
    first = replace(before, other=choice.other, other_trigger=choice.other_trigger)
    if (first, old.spec, old.source) != (choice, subject.spec, subject.source):
        st.info("This is of your previous choice: start it again for the trace above.", icon=":material/history:")


def _finished(slot: str, hint: str) -> tuple[Ticket, Choice, Subject] | None:
    """Return a slot's finished ticket and what it was asked; else show how it stands."""
    ticket, asked = remembered(slot)
    if ticket is None or not isinstance(asked, tuple):
        if hint:
            st.info(hint, icon=":material/touch_app:")
        return None
    status = ticket.status()
    if status.state == "done":
        return ticket, *asked
    if not status.finished:
        follow(ticket, _show_partial, slot)
    elif status.state == "cancelled":
        st.info("Cancelled. Change what you like and start again.", icon=":material/cancel:")
    else:
        st.error(status.note, icon=":material/error:")
    return None


def _show_partial(partials: Any) -> None:
    if "curve.json" in partials:
        figure = trace_plots.curve_figure(downloads.read_json(partials["curve.json"]))
        st.plotly_chart(figure, width="stretch", key="curve_live")


def _render_trace(subject: Subject) -> None:
    found = _finished(
        PAGE, "Press **Make the trace** in the sidebar: SPADE prunes a copy of the model to this picture."
    )
    if found is None:
        return
    ticket, choice, before = found
    files = ticket.result()
    if (before.spec, before.source) != (subject.spec, subject.source):
        st.info("This trace is of your previous choice: press **Make the trace** again.", icon=":material/history:")
    summary, rows = downloads.read_json(files["trace.json"]), downloads.read_json(files["layers.json"])
    panels.show_fidelity(**summary)
    names = ("Layers", "Surviving weights", "Paths", "Two pictures", "More pruning", "Export")
    layers, weights, paths, two, more, export = st.tabs(names)
    with layers:
        plot, tables = st.columns([3, 1.4])
        plot.plotly_chart(stage_figure(rows), width="stretch", key="layers_plot")
        panels.show_top_tables(downloads.read_json(files["predictions.json"]), tables, tables)
        st.dataframe([{**row, "shape": " x ".join(map(str, row["shape"]))} for row in rows], key="layers_table")
    with weights:
        _render_weights(files, rows)
    with paths:
        _render_paths(files, summary)
    with two:
        _render_overlap(choice, before)
    with more:
        _render_curve(choice, before)
    with export:
        _render_export(files, choice, before)


def _render_weights(files: dict[str, bytes], rows: list[dict[str, Any]]) -> None:
    pruned = {row["name"]: row for row in rows if row["status"] == "pruned"}
    if not pruned:
        st.info("No layer of this trace was pruned.")
        return
    layer = st.selectbox(
        "Layer", list(pruned)[::-1], key="map_layer",
        format_func=lambda name: f"{name} · {' x '.join(map(str, pruned[name]['shape']))}",
    )  # fmt: skip
    with np.load(io.BytesIO(files["maps.npz"])) as maps:
        values, kept = maps[f"{layer}.map"], maps[f"{layer}.inputs"]
        bits = maps.get(f"{layer}.bits")
    shape = pruned[layer]["shape"]
    whole = "" if bits is None else " A cell shows the share of several weights; the window below shows single ones."
    st.caption("Dark weights survived; drag to zoom." + whole)
    st.plotly_chart(trace_plots.map_figure(values, shape), width="stretch", key="map_plot")
    if bits is not None:
        _render_window(layer, bits, shape[0], int(np.prod(shape[1:])))
    order = st.segmented_control("Channels", ["in order", "fullest first"], default="in order", key="inputs_order")
    figure = trace_plots.inputs_figure(kept, by_count=order == "fullest first")
    st.plotly_chart(figure, width="stretch", key="inputs_plot")


def _render_window(layer: str, bits: np.ndarray, rows: int, columns: int) -> None:
    """Show a window of a large layer in which each cell is one weight."""
    fields = st.columns(4)
    size_down = int(fields[2].number_input("Rows shown", 1, WINDOW, min(rows, WINDOW // 4), key="window_rows"))
    size_across = int(
        fields[3].number_input("Columns shown", 1, WINDOW, min(columns, WINDOW // 2), key="window_columns")
    )
    top = int(fields[0].number_input(f"First row (0 to {rows - 1})", 0, rows - 1, 0, key=f"window_top_{layer}"))
    left = int(
        fields[1].number_input(f"First column (0 to {columns - 1})", 0, columns - 1, 0, key=f"window_left_{layer}")
    )
    mask = np.unpackbits(bits, count=rows * columns).reshape(rows, columns)
    part = mask[top : top + size_down, left : left + size_across].astype(bool)
    st.plotly_chart(trace_plots.window_figure(part, top, left), width="stretch", key="window_plot")
    st.caption(f"{int(part.sum()):,} of {part.size:,} weights of this window survived.")


def _render_paths(files: dict[str, bytes], summary: dict[str, Any]) -> None:
    st.caption(
        "From the class neuron down: each channel with the strongest surviving inputs among all layers that feed it, "
        "shortcuts and concatenations included. A line's strength is the lower channel's value x gradient along this "
        "line alone, its share of the linearized logit; amber speaks against the class. Where layers mix channels in "
        "between, as attention does, the gradient at this picture says how."
    )
    found = downloads.read_json(files["paths.json"])
    figure = trace_plots.paths_figure(found, summary["fidelity"]["label"])
    st.plotly_chart(figure, width="stretch", key="paths_plot")
    ended: dict[str, list[str]] = {}
    for end in found["ends"]:
        ended.setdefault(f"{end['layer']} {end['reason']}", []).append(str(end["channel"]))
    for what, channels in ended.items():
        st.caption(f":material/flag: Ended: {what} (channel {', '.join(channels)}).")


def _render_overlap(choice: Choice, subject: Subject) -> None:
    second = pick_second(choice, subject)
    same = second is not None and (second.source["path"], second.source.get("trigger")) == (
        subject.source["path"], subject.source.get("trigger")
    )  # fmt: skip
    if same:
        st.caption(":material/info: This is the first picture itself: choose another one, or another trigger.")
    run = st.button("Compare the traces", key="compare", disabled=second is None or same)
    if (st.session_state.pop(COMPARE, False) or run) and second is not None and not same:
        asked = replace(choice, **{"other": None, "other_trigger": None, **second.link})
        _submit("compare", "overlap", asked, subject, other=second.source)
        st.session_state.overlap_title = second.title
        _show_link(asked, subject)
    found = _finished("overlap", "")
    if found is not None:
        _say_if_previous(found[1:], (choice, subject))
        rows = downloads.read_json(found[0].result()["overlap.json"])
        st.markdown(f"**With: {st.session_state.overlap_title}**")
        st.plotly_chart(trace_plots.overlap_figure(rows), width="stretch", key="overlap_plot")
        st.caption("Share of weights that both traces keep among those that either keeps; chance: two random choices.")


def _render_curve(choice: Choice, subject: Subject) -> None:
    st.caption("One even ratio for all layers, growing; these traces never saw the untouched picture.")
    if st.button("Compute the curve", key="curve"):
        plain = replace(choice, preset="default", sparsity=None, stages={})
        options = {key: value for key, value in plain.trace_options().items() if key != "preset"}
        _submit("curve", "curve", choice, subject, trace={**options, "seed": choice.seed})
    found = _finished("curve", "")
    if found is not None:
        _say_if_previous(found[1:], (choice, subject))
        figure = trace_plots.curve_figure(downloads.read_json(found[0].result()["curve.json"]))
        st.plotly_chart(figure, width="stretch", key="curve_plot")


def _render_export(files: dict[str, bytes], choice: Choice, subject: Subject) -> None:
    data = files["trace.safetensors"]
    st.download_button(
        f"Trace (sparse safetensors, {len(data) / 2**20:.1f} MB)", data, "trace.safetensors",
        "application/octet-stream", key="get_trace", on_click="ignore",
    )  # fmt: skip
    st.markdown("`spade_core.load_trace(file)` puts it back onto the same model, with the same output.")
    words = [
        "python",
        "-m",
        "spade_core",
        "trace",
        *command.picture_words(choice, subject.spec, subject.source["name"]),
    ]
    words += ["--target", str(choice.target)] if choice.target is not None else []
    st.code(shlex.join([*words, *command.trace_words(choice), "--out", "trace.safetensors"]), language="bash")


main()
