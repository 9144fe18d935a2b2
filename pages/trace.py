"""Inside a trace: what survives, along which paths, how it differs between pictures, and what pruning more would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st

from spade_core.inspection import Paths, Point
from spade_core.pruning.options import RATIO_OPTIONS
from spade_core.pruning.report import LayerReport
from spade_core.ui.common import command, panels, pickers
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.frame import frame
from spade_core.ui.common.jobs import Draw, Files, files_of, outcome
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import (
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
from spade_core.ui.trace import interventions
from spade_core.ui.trace import plots as trace_plots
from spade_core.ui.trace.paths import render_paths
from spade_core.ui.trace.second_picture import pick_second
from spade_core.ui.trace.weights import render_weights

if TYPE_CHECKING:
    from streamlit.elements.lib.mutable_tab_container import TabContainer

PAGE = "trace"
COMPARE = "trace_compare"
CURVE = "The class's probability as more weights are removed"
KNOCKOUTS = (
    "Weights of the dense model are set to 0, in the layers that were pruned. Necessity: those that the trace keeps; "
    "the class should fall below as many at random. Sufficiency: those that it removes; the class should stay above. "
    "The band is from the least to the most of three random masks. Large weights matter more than small ones, so the "
    "solver Magnitude is the rival to hold against it."
)


def _render() -> None:
    st.title("Inside the trace")
    start = start_of(PAGE)
    subject = pick_subject(start)
    if subject is None:
        return
    described = subject.described
    with st.sidebar:
        target = pickers.pick_target(start, described.labels, described.probabilities, subject.identity)
        choice = replace(subject.choice(), target=target, other=start.other, other_trigger=start.other_trigger)
        with st.expander("Trace", icon=":material/tune:", expanded=True):
            choice = pickers.pick_trace(choice, start, described.stages, described.table)
    which = f"Which weights make it **{literal(described.called(target))}**?"
    run = panels.show_run_bar(which, described.title, "Make the trace", key="make")
    linked = asked_by_link(PAGE)
    if linked and start.other:
        st.session_state[COMPARE] = True  # once the trace is there
    if run or linked:
        ask(PAGE, "inspect", choice, subject, clicked=run, trace=choice.trace_arguments(), target=choice.target)
        show_link(choice, subject)
    _render_trace(subject)


def _found(slot: str, choice: Choice, subject: Subject, live: Draw = lambda _: None) -> Files | None:
    """Return what a job of a section has found, and say where it is of an earlier trace than the page's."""
    found = asked(slot)
    files = outcome(found.ticket, slot, live=live) if found else None
    if found and files is not None:
        first = replace(found.choice, other=choice.other, other_trigger=choice.other_trigger)
        if first != choice or not found.subject.same(subject):
            st.info("This is of your previous choice: start it again for the trace above.", icon=":material/history:")
    return files


def _show_partial(partials: Mapping[str, bytes]) -> None:
    if "curve.json" in partials:
        panels.show_chart(_curve(partials["curve.json"]), "curve_live", CURVE)


def _curve(data: bytes) -> go.Figure:
    return trace_plots.curve_figure([Point(**point) for point in read_json(data)])


def _render_trace(subject: Subject) -> None:
    found = asked(PAGE)
    if found is None:
        show_hint(PAGE, "Press **Make the trace**: SPADE prunes a copy of the model to this picture.")
        return
    files = outcome(found.ticket, PAGE)
    if files is None:
        return
    choice, before = found.choice, found.subject
    told = read_json(files["trace.json"])
    note(PAGE, found, told["fidelity"]["label"].split(",")[0], f"{told['sparsity']:.0%} of the weights removed")
    if not before.same(subject):
        st.info("This trace is of your previous choice: press **Make the trace** again.", icon=":material/history:")
    panels.show_summary(files["trace.json"])
    rows = [LayerReport(**row) for row in read_json(files["layers.json"])]
    names = ("Layers", "Surviving weights", "Paths", "Intervene", "Two pictures", "More pruning", "Export")
    layers, weights, paths, cut, two, more, export = st.tabs(names, key="trace_tabs", on_change="rerun")
    # What a closed tab shows is not made; its fields are, as they would forget what was chosen.
    if layers.open:
        plot, tables = layers.columns([3, 1.4])
        panels.show_chart(panels.stage_figure(rows), "layers_plot", panels.LAYERS, plot)
        panels.show_top_tables(**read_json(files["predictions.json"]), dense=tables, trace=tables)
        with layers:
            panels.show_layer_table(rows)
    with weights:
        render_weights(files, rows, drawn=bool(weights.open))
    with paths:
        render_paths(files, choice, drawn=bool(paths.open))
    with cut:
        _render_intervention(files, [row.name for row in rows], choice, before)
    with two:
        _render_overlap(choice, before, opened=_opened(two, "overlap"))
    with more:
        _render_curve(choice, before, opened=_opened(more, "curve"))
    if export.open:
        with export:
            _offer_trace(files.get("trace.safetensors", b""))
            st.markdown("`spade_core.load_trace(file)` puts it back onto the same model, with the same output.")
            made = command.trace_command(choice, before.spec, before.source["name"])
            st.code(made, language="bash", wrap_lines=True)


def _offer_trace(data: bytes) -> None:
    """Offer the trace as a file; a case of the gallery comes without it."""
    if not data:
        st.caption("A case of the gallery comes without its trace's file: press **Make the trace** for it.")
        return
    label, kind = f"Trace (sparse safetensors, {len(data) / 2**20:.1f} MB)", "application/octet-stream"
    st.download_button(label, data, "trace.safetensors", kind, key="get_trace", on_click="ignore")


def _render_intervention(files: Files, layers: Sequence[str], choice: Choice, subject: Subject) -> None:
    st.caption(
        "Take a part out of the trace, as if it were pruned too, and see what the prediction, the map and the "
        "drawing of a neuron become."
    )
    found = trace_plots.read_paths(read_json(files["paths.json"]))
    cuts = interventions.pick_cuts(found, layers)
    method = interventions.pick_method(subject.described.unsupported)
    options = {"trace": choice.trace_arguments(), "target": choice.target}
    if st.button("Take it out", key="cut", type="primary", disabled=not cuts):
        places = [(cut.layer, cut.channel) for cut in cuts]
        ask("intervene", "intervene", choice, subject, clicked=True, **options, cuts=places, method=method)
    done = _found("intervene", choice, subject)
    if done is not None:
        interventions.show_intervention(done)
        _render_redrawn(found, layers, done)
    st.subheader("Is what the trace keeps what the class needs?")
    st.caption(KNOCKOUTS)
    if st.button("Compute the curves", key="knockouts"):
        ask("knockout", "knockout", choice, subject, clicked=True, **options)
    steps = _found("knockout", choice, subject, _show_knockouts)
    if steps is not None:
        _show_knockouts(steps)


def _render_redrawn(paths: Paths, layers: Sequence[str], done: Files) -> None:
    """Draw a neuron with and without what was taken out, of the trace that it was taken out of."""
    st.markdown("**What excites a neuron, with it and without it**")
    shown, told = asked("intervene"), read_json(done["intervene.json"])
    if shown is None:
        return
    neuron, steps = interventions.pick_drawing(paths, layers, told)
    payload = {
        "model": shown.subject.spec,
        "picture": shown.subject.source,
        "trace": shown.choice.trace_arguments(),
        "target": shown.choice.target,
        "cuts": told["cuts"],
        "neuron": neuron.to_dict(),
        "render": {"steps": steps},
    }
    files = files_of("redraw", payload, offer="Draw both", live=interventions.show_redrawn)
    if files is not None:
        interventions.show_redrawn(files)


def _show_knockouts(files: Files) -> None:
    if "knockouts.json" in files:
        steps = interventions.read_knockouts(files["knockouts.json"])
        for column, title, kept in zip(st.columns(2), ("Necessity", "Sufficiency"), (True, False), strict=True):
            column.markdown(f"**{title}**")
            figure, what = interventions.knockout_figure(steps, kept=kept), f"{title}: the class's probability"
            panels.show_chart(figure, f"knockout_{title}", what, column, displayModeBar=False)


def _opened(tab: TabContainer, slot: str) -> bool:
    """Return whether a person has opened a tab that has nothing to show yet: a click, which starts its work."""
    return bool(tab.open) and asked(slot) is None


def _render_overlap(choice: Choice, subject: Subject, *, opened: bool) -> None:
    st.caption("Which weights do the traces of two pictures share? Layer by layer, against what chance would give.")
    second = pick_second(choice, subject)
    first = subject.source["path"], subject.source.get("trigger")
    same = second is not None and (second.source["path"], second.source.get("trigger")) == first
    if same:
        st.caption(":material/info: This is the first picture itself: choose another one, or another trigger.")
    run = st.button("Compare the traces", key="compare", disabled=second is None or same) or opened
    if (st.session_state.pop(COMPARE, False) or run) and second is not None and not same:
        both = replace(choice, other=second.link, other_trigger=second.paste if second.link else None)
        more = {"trace": choice.trace_arguments(), "target": choice.target, "other": second.source}
        ask("overlap", "compare", both, subject, clicked=run, **more)
        st.session_state.overlap_title = second.title
        show_link(both, subject)
    files = _found("overlap", choice, subject)
    if files is not None:
        st.markdown(f"**With: {st.session_state.overlap_title}**")
        figure = trace_plots.overlap_figure(read_json(files["overlap.json"]))
        panels.show_chart(
            figure, "overlap_plot", "Weights that both traces keep, layer by layer, and what chance gives"
        )
        st.caption("Share of weights that both traces keep among those that either keeps; chance: two random choices.")


def _render_curve(choice: Choice, subject: Subject, *, opened: bool) -> None:
    st.caption("One even ratio for all layers, growing; these traces never saw the untouched picture.")
    if st.button("Compute the curve", key="curve") or opened:
        options = {name: value for name, value in choice.trace_arguments().items() if name not in RATIO_OPTIONS}
        ask("curve", "curve", choice, subject, clicked=True, trace=options, target=choice.target)
    files = _found("curve", choice, subject, _show_partial)
    if files is not None:
        panels.show_chart(_curve(files["curve.json"]), "curve_plot", CURVE)


frame("Inside the trace", _render)
