"""The trace page's interventions: take a part out of the trace, and ask whether what it keeps is what is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from spade_core.inspection import Cut, Knockout, Paths, strongest_path
from spade_core.models.naming import titled
from spade_core.saliency import METHODS
from spade_core.ui.common import pickers
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.text import literal
from spade_core.ui.trace.plots import AMBER, GREY, MARGIN, TEAL

CHANNELS, LAYER, PATH = "Channels", "A layer", "The strongest path"
METHOD = "saliency"
WIDE = 260  # px, of a map


def pick_cuts(found: Paths, layers: Sequence[str]) -> list[Cut]:
    """Draw what can be taken out: channels of the graph, a layer, or the path that speaks most for the class.

    Args:
        layers: prunable ones, in the order of computation.
    """
    what = st.segmented_control("Take out", [CHANNELS, LAYER, PATH], default=CHANNELS, key="cut_what")
    if what == LAYER:
        names = list(reversed(layers))
        return [Cut(st.selectbox("Layer to take out", names, format_func=titled, key="cut_layer"))]
    if what == PATH:
        # The class neuron itself stays: without it there is nothing to look at.
        cuts = [Cut(*place) for place in strongest_path(found)[1:] if place[0] in layers]
        st.caption("From the class down: " + literal("; ".join(map(_title, cuts)) or "no path survives"))
        return cuts
    graph = dict.fromkeys((edge.source, edge.source_channel) for edge in found.edges if edge.source in layers)
    return [Cut(*one) for one in st.multiselect("Channels of the paths", graph, format_func=_name, key="cut_channels")]


def _name(place: tuple[str, int]) -> str:
    return f"{titled(place[0])}, channel {place[1]}"


def _title(cut: Cut) -> str:
    return titled(cut.layer) if cut.channel is None else _name((cut.layer, cut.channel))


def pick_method(unsupported: Mapping[str, str]) -> str:
    """Draw the choice of the method whose map is shown."""
    titles = {slug: method.title for slug, method in METHODS.items() if slug not in unsupported}
    return pickers.select("Map", titles, METHOD if METHOD in titles else next(iter(titles)), "cut_method")


def show_intervention(files: Mapping[str, bytes]) -> None:
    """Show prediction and map of the trace before and after."""
    found = read_json(files["intervene.json"])
    before, after = found["before"], found["after"]
    change = after["probability"] - before["probability"]
    place = st.container(horizontal=True, gap="medium")
    place.metric(f"{literal(found['label'].split(',')[0])}, before", f"{before['probability']:.1%}", width="content")
    told = f"{100 * change:+.1f} points"
    place.metric("After", f"{after['probability']:.1%}", told, width="content")
    columns = st.columns(2, width=2 * WIDE + 60)
    for column, side, title, one in zip(
        columns, ("before", "after"), ("The trace", "Without it"), (before, after), strict=True
    ):
        column.image(files[f"{side}.png"], caption=f"{title}: map in its own unit", width=WIDE)
        column.markdown("  \n".join(map(_top, one["top"])))


def _top(row: Mapping[str, Any]) -> str:
    return f"{row['probability']:.1%} {literal(row['label'].split(',')[0])}"


def read_knockouts(data: bytes) -> list[Knockout]:
    """Return the steps of a result's JSON."""
    return [Knockout(**one) for one in read_json(data)]


def knockout_figure(steps: Sequence[Knockout], *, kept: bool) -> go.Figure:
    """Return a curve beside that of random masks, whose band is from the least to the most of the draws.

    Args:
        kept: of necessity, where kept weights go; else of sufficiency, where removed ones go.
    """
    shares = [f"{step.share:.0%}" for step in steps]
    own = [step.without_kept if kept else step.without_removed for step in steps]
    drawn = [step.random_kept if kept else step.random_removed for step in steps]
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure = go.Figure(go.Scatter(x=shares, y=[high for _, _, high in drawn], **band))
    figure.add_scatter(
        x=shares, y=[low for _, low, _ in drawn], fill="tonexty", fillcolor="rgba(148,163,184,0.3)", **band
    )
    mean = {"mode": "lines+markers", "name": "as many at random", "line": {"color": GREY, "dash": "dash"}}
    figure.add_scatter(x=shares, y=[middle for middle, _, _ in drawn], **mean)
    colour, name = (AMBER, "what the trace keeps") if kept else (TEAL, "what the trace removes")
    figure.add_scatter(x=shares, y=own, mode="lines+markers", name=name, line={"color": colour})
    figure.update_layout(height=320, margin=MARGIN, legend={"orientation": "h", "y": 1.12})
    figure.update_xaxes(title_text="share of them taken out of the dense model", type="category")
    figure.update_yaxes(title_text="probability of the class", range=[0, 1.02])
    return figure
