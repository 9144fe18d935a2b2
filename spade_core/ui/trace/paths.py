"""The graph of a trace's strongest paths, whose channels carry what of the picture excites them most."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import streamlit as st

from spade_core.inspection import Paths, Place, within
from spade_core.models.naming import titled
from spade_core.neurons import LOGITS
from spade_core.ui.common import panels
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.jobs import Files
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import PAGE_PRESETS, open_in
from spade_core.ui.trace import plots

FEWEST, BUDGET = 4, 24  # channels of the graph
LARGE = 160  # px, of the part of the picture that a chosen channel answers to
STRONGEST = "The class neuron and, one after the other, the channel that gives most to those that are there."
Node = tuple[str, int]


def render_paths(files: Files, choice: Choice, *, drawn: bool = True) -> None:
    """Draw the graph of a finished trace, and the channel of it that is looked at.

    Args:
        drawn: whether more than the fields is shown.
    """
    st.caption(
        "From the class neuron down: each channel with the strongest surviving inputs among all layers that feed it, "
        "shortcuts and concatenations included, on the part of the picture that excites it most. A line's strength is "
        "the lower channel's value x gradient along this line alone, its share of the linearized logit; amber speaks "
        "against the class. Where layers mix channels in between, as attention does, the gradient at this picture says "
        "how."
    )
    found = plots.read_paths(read_json(files["paths.json"]))
    label = read_json(files["trace.json"])["fidelity"]["label"]
    count = sum(map(len, found.channels().values()))
    if count > FEWEST:
        budget = st.slider("Channels shown", FEWEST, count, min(BUDGET, count), key="paths_budget", help=STRONGEST)
        found = within(found, budget)
    crops = _crops(files) if drawn else {}
    count = sum(map(len, found.channels().values()))
    what = f"Graph of {count} channels in {len(found.layers)} layers with {len(found.edges)} connections"
    if drawn:
        figure = plots.paths_figure(found, label, crops)
        panels.show_chart(figure, "paths_plot", f"{what}, from the class {label} down")
    _look_at_one(found, label, crops, choice)
    _show_ends(found)


def _crops(files: Files) -> dict[Node, np.ndarray]:
    """Return of each channel the part of what the model sees that excites it most, uint8 ``(side, side, 3)``."""
    if "places.json" not in files:  # a result of an earlier version
        return {}
    pixels = np.load(io.BytesIO(files["crop.npy"]))
    places = [Place(**one) for one in read_json(files["places.json"])]
    return {(one.layer, one.channel): _cut(pixels, one) for one in places}


def _cut(pixels: np.ndarray, place: Place) -> np.ndarray:
    top, left, bottom, right = place.region
    return pixels[top:bottom, left:right]


def _look_at_one(found: Paths, label: str, crops: Mapping[Node, np.ndarray], choice: Choice) -> None:
    """Offer the channels of the graph one by one: what excites one, and its drawing on the page *Neurons*."""
    titles = {
        (layer, channel): f"{titled(layer)}, channel {channel}"
        for layer, channels in found.channels().items()
        for channel in channels
    }
    titles |= dict.fromkeys(found.starts, f"The class neuron: {label}")
    strongest = next((node for node in titles if node not in found.starts), next(iter(titles), None))
    if strongest is None:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        nodes = list(titles)
        node = st.selectbox(
            "A channel of the graph", nodes, nodes.index(strongest), format_func=titles.__getitem__, key="paths_node"
        )
        if st.button("Draw it on Neurons", key="paths_draw", icon=":material/brush:"):
            open_in("neurons", _neuron(choice, node, found))
    if node in crops:
        alt = f"The part of the picture that excites {titles[node]} most"
        st.image(crops[node], caption="What excites it most", width=LARGE, alt=alt)


def _neuron(choice: Choice, node: Node, found: Paths) -> Choice:
    """Return the choice with which the page *Neurons* begins; the class neuron is drawn by the logits."""
    layer, channel = (LOGITS, node[1]) if node in found.starts else node
    preset = "drawing" if choice.preset in PAGE_PRESETS else choice.preset  # of a page that nobody chose
    return replace(choice, layer=layer, channel=channel, position=None, preset=preset)


def _show_ends(found: Paths) -> None:
    ended: dict[str, list[str]] = {}
    for end in found.ends:
        ended.setdefault(f"{end.layer} {end.reason}", []).append(str(end.channel))
    for what, channels in ended.items():
        st.caption(f":material/flag: Ended: {what} (channel {', '.join(channels)}).")
