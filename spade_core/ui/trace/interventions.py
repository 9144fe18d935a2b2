"""The trace page's interventions: take a part out of the trace, and ask whether what it keeps is what is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from spade_core.inspection import Cut, Knockout, Paths, strongest_path
from spade_core.models.naming import titled
from spade_core.neurons import LOGITS, Neuron
from spade_core.saliency import METHODS
from spade_core.ui.common import pickers
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.frame import show_notes
from spade_core.ui.common.text import literal
from spade_core.ui.trace.plots import AMBER, GREY, MARGIN, TEAL

CHANNELS, LAYER, PATH = "Channels", "A layer", "The strongest path"
METHOD = "saliency"
WIDE = 260  # px, of a map
SIDES = (("before", "The trace"), ("after", "Without it"))
STEPS = {96: "96: about 15 s", 512: "512: as on Neurons"}


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
        st.caption("From the class down: " + (_said(cuts) or "no path survives"))
        return cuts
    graph = _channels(found, layers)
    return [Cut(*one) for one in st.multiselect("Channels of the paths", graph, format_func=_name, key="cut_channels")]


def _channels(found: Paths, layers: Sequence[str]) -> list[tuple[str, int]]:
    """Return the channels of the graph that lie in these layers, those nearest to the class first."""
    return list(dict.fromkeys((edge.source, edge.source_channel) for edge in found.edges if edge.source in layers))


def _name(place: tuple[str, int]) -> str:
    return f"{titled(place[0])}, channel {place[1]}"


def _title(cut: Cut) -> str:
    return titled(cut.layer) if cut.channel is None else _name((cut.layer, cut.channel))


def pick_method(unsupported: Mapping[str, str]) -> str:
    """Draw the choice of the method whose map is shown."""
    titles = {slug: method.title for slug, method in METHODS.items() if slug not in unsupported}
    return pickers.select("Map", titles, METHOD if METHOD in titles else next(iter(titles)), "cut_method")


def pick_drawing(found: Paths, layers: Sequence[str], told: Mapping[str, Any]) -> tuple[Neuron, int]:
    """Draw the choice of what is drawn with and without the cuts; return the neuron and the steps.

    Args:
        layers: prunable ones; told: of the intervention; what it took out is excited by nothing any more.
    """
    gone = {(layer, channel) for layer, channel in told["cuts"]}
    titles = {(LOGITS, int(told["target"])): f"The class: {told['label'].split(',')[0]}"}
    titles |= {one: _name(one) for one in _channels(found, layers) if not {one, (one[0], None)} & gone}
    left, right = st.columns([2, 1])
    place = left.selectbox("Neuron to draw", list(titles), format_func=titles.__getitem__, key="redraw_neuron")
    steps = right.selectbox("Steps of either drawing", STEPS, format_func=STEPS.__getitem__, key="redraw_steps")
    return Neuron(*place), steps


def show_redrawn(files: Mapping[str, bytes]) -> None:
    """Show the two drawings, finished or forming."""
    told = read_json(files["redraw.json"]) if "redraw.json" in files else None
    for column, (side, title) in zip(st.columns(2, width=2 * WIDE + 60), SIDES, strict=True):
        if f"{side}.png" not in files:
            continue
        how = f"step {int(files['step.json']) + 1}" if told is None else f"reached {told['last_values'][side]:.2f}"
        alt = f"The neuron, drawn by the trace{'' if side == 'before' else ' without what was taken out'}"
        column.image(files[f"{side}.png"], caption=f"{title} · {how}", width=WIDE, alt=alt)
        show_notes(() if told is None else told["notes"][side], column)
    if told is not None:
        st.caption(
            f"{literal(told['called'])}: {told['steps']} steps of each took {told['seconds']:.0f} s. Both begin from "
            "the same noise, under the same transforms."
        )


def _said(cuts: Sequence[Cut]) -> str:
    return literal("; ".join(map(_title, cuts)))


def show_intervention(files: Mapping[str, bytes]) -> None:
    """Show prediction and map of the trace before and after."""
    found = read_json(files["intervene.json"])
    before, after = found["before"], found["after"]
    change = after["probability"] - before["probability"]
    place = st.container(horizontal=True, gap="medium")
    place.metric(f"{literal(found['label'].split(',')[0])}, before", f"{before['probability']:.1%}", width="content")
    told = f"{100 * change:+.1f} points"
    place.metric("After", f"{after['probability']:.1%}", told, width="content")
    st.caption(f"Taken out: {_said([Cut(*one) for one in found['cuts']])}")
    for column, (side, title) in zip(st.columns(2, width=2 * WIDE + 60), SIDES, strict=True):
        column.image(files[f"{side}.png"], caption=f"{title}: map in its own unit", width=WIDE, alt=f"Map. {title}")
        column.markdown("  \n".join(map(_top, found[side]["top"])))


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
