"""What a page shows of a job and of a result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Literal, NotRequired, TypedDict

import pandas as pd  # before any chart: Plotly takes it from sys.modules, half of it where a thread just imports it
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots
from streamlit.delta_generator import DeltaGenerator

from spade_core.models.naming import layer_title
from spade_core.pruning.options import BundleOptions
from spade_core.pruning.report import Fidelity, LayerReport
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.text import literal

SHOWN, NOTABLE = 0.0005, 0.01  # changes of a probability: below, it rounds to nothing; from here on, it has a colour
LAYERS = "Sparsity and output error of each layer, in the network's order"


class Traced(TypedDict):
    """A manifest's entry of one trace; older ones do not say whose maps it makes, nor whether it was pruned."""

    methods: NotRequired[list[str]]
    pruned: NotRequired[bool]
    seed: int
    sparsity: float
    fidelity: dict[str, Any]


class Class(TypedDict):
    """A predicted class."""

    label: str
    probability: float


def show_run_bar(question: str, details: str, label: str, *, key: str, disabled: bool = False) -> bool:
    """Say what a click would answer and draw its button, in view however far a page is scrolled; return the click.

    Args:
        question: Markdown; details: plain text.
    """
    with st.container(key="run_bar", horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"{question} :gray[{literal(details)}]", width="content")
        return st.button(label, type="primary", disabled=disabled, key=key, icon=":material/play_arrow:")


def show_fidelity(described: Mapping[str, Any], seconds: float) -> None:
    """Show what the trace still predicts, beside what it keeps, of a manifest or ``trace.json``."""
    fidelity = Fidelity.from_dict(described["fidelity"])
    change = fidelity.trace_probability - fidelity.dense_probability
    against = f"{100 * change:+.1f} points against dense" if abs(change) >= SHOWN else "as in the dense model"
    notable = abs(change) >= NOTABLE
    colour: Literal["normal", "off"] = "normal" if notable else "off"
    arrow: Literal["auto", "off"] = "auto" if notable else "off"
    made = f"The trace was computed in {seconds:.1f} s; the dense model keeps all weights."
    with st.container(horizontal=True, gap="medium"):
        st.metric("Explained class", literal(fidelity.label.split(",")[0]), width="content")
        probability, label = f"{fidelity.trace_probability:.1%}", "Its probability in the trace"
        st.metric(label, probability, against, delta_color=colour, delta_arrow=arrow, width="content")
        st.metric("Weights removed", f"{described['sparsity']:.1%}", width="content", help=made)
    if fidelity.warning:
        st.warning(literal(fidelity.warning), icon=":material/warning:")


def show_bundle(traces: Sequence[Traced], bundle: BundleOptions) -> None:
    """Say where maps come from several traces, how many they are means of, and how many of them keep the class."""
    own = len({tuple(one.get("methods", ())) for one in traces})
    if own > 1:
        told = "Above is the one, of those that were pruned, that keeps the class least."
        kind = "traces" if bundle.traces == 1 else "bundles of traces"
        st.caption(f"The table has ratios for each method: these maps come from {own} {kind}. {told}")
    if bundle.traces > 1:
        kept = sum(Fidelity.from_dict(one["fidelity"]).keeps_class for one in traces)
        how = "the magnitudes of the maps" if bundle.magnitudes else "the maps"
        mean = f"Each SPADE map is the mean of {how} of {bundle.traces} traces, seeds {traces[0]['seed']}"
        of_all = "them" if len(traces) == bundle.traces else f"all {len(traces)}"
        st.caption(f"{mean} to {traces[-1]['seed']}; {kept} of {of_all} keep the class. Above is the weakest of them.")


def show_summary(data: bytes) -> None:
    """Show the same of ``trace.json``."""
    found = read_json(data)
    show_fidelity(found, found["seconds"])


def show_top(labels: list[str], probabilities: list[float], count: int = 5) -> None:
    """Show the dense model's most probable classes as bars."""
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:count]
    st.html(bars((labels[index], probabilities[index]) for index in order))


def bars(classes: Iterable[tuple[str, float]]) -> str:
    """Return classes and their probabilities as HTML: a chart would be the only one of a page that is waited for."""
    lines = (
        f'<span>{escape(label)}</span><i style="width:{100 * share:.1f}%"></i><b>{share:.1%}</b>'
        for label, share in classes
    )
    return f'<div class="bars">{"".join(lines)}</div>'


def show_chart(figure: go.Figure, key: str, what: str, place: DeltaGenerator | None = None, **options: object) -> None:
    """Draw a Plotly figure, without tips that stay over it.

    Args:
        what: it shows, for whom cannot see it; the ranges of its named lines, bars and bands follow by themselves.
        options: of Plotly.js.
    """
    config = {"displaylogo": False, "showTips": False, **options}
    alt = ". ".join((what, *_ranges(figure)))
    (place or st).plotly_chart(figure, width="stretch", key=key, config=config, alt=alt)


def _ranges(figure: go.Figure) -> Iterator[str]:
    """Yield the least and the most of each line or bar that has a name, or of the only one."""
    for part in figure.data:
        named = part.name or ("" if len(figure.data) > 1 else figure.layout.yaxis.title.text)
        values = pd.to_numeric(pd.Series(getattr(part, "y", None)), errors="coerce").dropna() if named else ()
        if len(values):
            yield f"{named}: {min(values):.3g} to {max(values):.3g}"


def show_layer_table(layers: Sequence[LayerReport]) -> None:
    """Show the report of every layer."""
    rows = [{"layer": layer_title(row.name), **vars(row), "shape": " x ".join(map(str, row.shape))} for row in layers]
    st.dataframe(pd.DataFrame(rows), key="layers_table")


def show_top_tables(
    prediction: Sequence[Class], trace_prediction: Sequence[Class], dense: DeltaGenerator, trace: DeltaGenerator
) -> None:
    """Show the top-5 of both networks, each in its container."""
    for place, title, top in ((dense, "Dense", prediction), (trace, "Trace", trace_prediction)):
        rows = [{"class": row["label"], "probability": f"{row['probability']:.1%}"} for row in top]
        place.markdown(f"**{title}**")
        place.dataframe(rows, key="top_prediction" if title == "Dense" else "top_trace_prediction")


def stage_figure(layers: Sequence[LayerReport]) -> go.Figure:
    """Return realised sparsity and output error of every layer, in the network's order."""
    names = [row.name for row in layers]
    colours = ["#0f766e" if row.status == "pruned" else "#cbd5e1" for row in layers]
    details = [f"{layer_title(row.name)} {tuple(row.shape)}<br>{row.status}. {row.reason}" for row in layers]
    zeros = go.Bar(x=names, y=[row.realised for row in layers], marker_color=colours, customdata=details)
    errors = go.Bar(x=names, y=[row.error for row in layers], marker_color="#d97706")
    zeros.hovertemplate = "%{x}<br>%{customdata}<br>%{y:.1%} zeros<extra></extra>"
    errors.hovertemplate = "%{x}<br>relative output error %{y:.3g}<extra></extra>"
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    figure.add_trace(zeros, 1, 1)
    figure.add_trace(errors, 2, 1)
    figure.update_yaxes(title_text="zeros", tickformat=".0%", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title_text="output error", row=2, col=1)
    figure.update_xaxes(showticklabels=False)
    figure.update_layout(height=300, showlegend=False, margin={"l": 4, "r": 4, "t": 8, "b": 4}, bargap=0.15)
    return figure
