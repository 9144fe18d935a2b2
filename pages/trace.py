"""Inside a trace: what survives, along which paths, how it differs between pictures, and what pruning more would do."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from spade_core.images import bundled, load_picture
from spade_core.jobs import Ticket
from spade_core.ui import panels, pickers, trace_plots
from spade_core.ui.following import follow, remember, remembered
from spade_core.ui.frame import frame, jobs
from spade_core.ui.link import Choice
from spade_core.ui.plots import stage_figure
from spade_core.ui.subject import Subject, asked_by_link, paste_of, pick_subject, start_of

PAGE = "trace"


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
        target=target, other=start.other,
    )  # fmt: skip
    choice = replace(choice, **options)
    if run or asked_by_link(PAGE):
        _submit("inspect", PAGE, choice, subject, target=target)
        if subject.linkable:
            st.query_params.from_dict(choice.to_query(methods=False))
        else:
            st.query_params.clear()
    _render_trace(subject)


def _submit(kind: str, slot: str, choice: Choice, subject: Subject, **more: Any) -> None:
    trace = {**choice.trace_options(), "seed": choice.seed}
    payload = {"model": subject.spec, "picture": subject.source, "trace": trace, **more}
    remember(slot, jobs().submit(kind, payload), (choice, subject))


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
        figure = trace_plots.curve_figure(panels.read_json(partials["curve.json"]))
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
    summary, rows = panels.read_json(files["trace.json"]), panels.read_json(files["layers.json"])
    panels.show_fidelity(**summary)
    names = ("Layers", "Surviving weights", "Paths", "Two pictures", "More pruning", "Export")
    layers, weights, paths, two, more, export = st.tabs(names)
    with layers:
        st.plotly_chart(stage_figure(rows), width="stretch", key="layers_plot")
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
    shape = pruned[layer]["shape"]
    whole = values.shape == (shape[0], int(np.prod(shape[1:])))
    st.caption(
        "Dark weights survived; drag to zoom." + ("" if whole else " A cell shows the share of several weights.")
    )
    st.plotly_chart(trace_plots.map_figure(values, shape), width="stretch", key="map_plot")
    st.plotly_chart(trace_plots.inputs_figure(kept), width="stretch", key="inputs_plot")


def _render_paths(files: dict[str, bytes], summary: dict[str, Any]) -> None:
    st.caption(
        "From the class neuron down: each channel with its strongest surviving inputs. A line's strength is weight x "
        "gradient, its share of the linearized logit; amber speaks against the class."
    )
    figure = trace_plots.paths_figure(panels.read_json(files["paths.json"]), summary["fidelity"]["label"])
    st.plotly_chart(figure, width="stretch", key="paths_plot")


def _render_overlap(choice: Choice, subject: Subject) -> None:
    pictures = bundled()
    names = [name for name in pictures if f"bundled:{name}" != subject.source["path"]]
    wanted = (choice.other or "").removeprefix("bundled:")
    other = st.selectbox(
        "Second picture", names, index=names.index(wanted) if wanted in names else 0, key="other",
        format_func=lambda name: pictures[name].title,
    )  # fmt: skip
    if st.button("Compare the traces", key="compare"):
        source = jobs().shelve(load_picture(f"bundled:{other}"), None)
        _submit("compare", "overlap", choice, subject, other=source)
    found = _finished("overlap", "")
    if found is not None:
        rows = panels.read_json(found[0].result()["overlap.json"])
        st.plotly_chart(trace_plots.overlap_figure(rows), width="stretch", key="overlap_plot")
        st.caption("Share of weights that both traces keep among those that either keeps; chance: two random choices.")


def _render_curve(choice: Choice, subject: Subject) -> None:
    st.caption("One even ratio for all layers, growing; these traces never saw the untouched picture.")
    if st.button("Compute the curve", key="curve"):
        plain = replace(choice, preset="default", sparsity=None, stages={})
        options = {key: value for key, value in plain.trace_options().items() if key != "preset"}
        payload = {"model": subject.spec, "picture": subject.source, "trace": {**options, "seed": choice.seed}}
        remember("curve", jobs().submit("curve", payload), (choice, subject))
    found = _finished("curve", "")
    if found is not None:
        figure = trace_plots.curve_figure(panels.read_json(found[0].result()["curve.json"]))
        st.plotly_chart(figure, width="stretch", key="curve_plot")


def _render_export(files: dict[str, bytes], choice: Choice, subject: Subject) -> None:
    data = files["trace.safetensors"]
    st.download_button(
        f"Trace (sparse safetensors, {len(data) / 2**20:.1f} MB)", data, "trace.safetensors",
        "application/octet-stream", key="get_trace", on_click="ignore",
    )  # fmt: skip
    st.markdown("`spade_core.load_trace(file)` puts it back onto the same model, with the same output.")
    words = ["python", "-m", "spade_core", "trace", *panels.picture_words(choice, subject.spec, subject.source["name"])]
    words += ["--target", str(choice.target)] if choice.target is not None else []
    st.code(shlex.join([*words, *panels.trace_words(choice), "--out", "trace.safetensors"]), language="bash")


main()
