"""The neuron page's inputs: layer, channel or class, place, and how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import streamlit as st

from spade_core.neurons import LOGITS, PARAMETRIZATIONS, STARTS, LayerShape
from spade_core.ui.common import downloads, pickers
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject, asked_by_link, wait_for
from spade_core.ui.common.text import literal

STEPS = (64, 128, 256, 512, 1024, 2048)
IMAGES = (1, 2, 4)
SEVERAL = (
    "Several drawings of the neuron by each network, kept apart by a diversity term: what else does it answer to? Each "
    "takes its own time."
)
FILTER = "Only layers, or classes, whose names hold all of these words; where none does, all are listed."
ASKED, TAKEN = "neurons_taken_from_atlas", "neurons_taken"
CHOSEN = "chosen_neuron"  # the session's name for the class neuron, of what, and from which start


def asked_by_atlas() -> bool:
    """Return, once, whether a channel of the atlas was clicked."""
    return bool(st.session_state.pop(ASKED, False))


def pick_neuron(page: str, start: Choice, subject: Subject, choice: Choice) -> Choice:
    """Draw the choice of layer, neuron, steps and, for a hidden layer, of the class to explain."""
    found = wait_for("layers", {"model": subject.spec}, "Looking at the layers …")["layers.json"]
    shapes = {row["name"]: LayerShape(**row) for row in reversed(downloads.read_json(found))}
    if problem := _link_problem(start, subject, shapes):
        st.error(literal(problem), icon=":material/link_off:")
        asked_by_link(page)  # a link that cannot be followed draws nothing
        start = replace(start, layer=None, channel=None, position=None)
    columns = st.columns([1.8, 3, 3, 1.1, 1.1])
    words = columns[0].text_input("Filter", key="neuron_filter", placeholder="stage 5 pointwise", help=FILTER)
    with columns[1]:
        layer = _pick_layer(start, shapes, words)
    with columns[2]:
        last = layer == LOGITS
        channel = _pick_class(start, subject, words) if last else _pick_channel(start, layer, shapes[layer])
    counts = sorted({*STEPS, start.steps})
    steps = columns[3].selectbox("Steps", counts, index=counts.index(start.steps), key="steps")
    several = sorted({*IMAGES, start.images})
    images = columns[4].selectbox("Images", several, several.index(start.images), key="images", help=SEVERAL)
    choice = replace(choice, layer=layer, channel=channel, steps=steps, images=images)
    choice = _pick_drawing(choice, start)
    if layer == LOGITS:
        return choice
    with st.sidebar:
        described = subject.described
        target = pickers.pick_target(start, described.labels, described.probabilities, subject.identity)
    return replace(choice, target=target, position=_pick_position(start, layer, shapes[layer]))


def _pick_layer(start: Choice, shapes: Mapping[str, LayerShape], words: str) -> str:
    titles = pickers.matching({name: str(shape) for name, shape in shapes.items()}, words)
    wanted = start.layer if start.layer in titles else next(iter(titles))
    hint = "Type to search; values are read before the activation. ★ marks what is most worth drawing."
    layer = pickers.select("Layer", titles, wanted, "layer", hint)
    if shapes[layer].advice:
        st.caption(f"★ {shapes[layer].advice}")
    return layer


def _pick_drawing(choice: Choice, start: Choice) -> Choice:
    """Draw the choice of what is free in the images, and of where they begin."""
    with st.sidebar, st.expander("Drawing", icon=":material/brush:"):
        free = {slug: entry.title for slug, entry in PARAMETRIZATIONS.items()}
        hint = " ".join(f"**{entry.title}**: {entry.help}" for entry in PARAMETRIZATIONS.values())
        parametrization = pickers.select("Parametrization", free, start.parametrization, "parametrization", hint)
        begin = pickers.select("Start", {slug: entry.title for slug, entry in STARTS.items()}, start.start, "start")
        st.caption(STARTS[begin].help)
    return replace(choice, parametrization=parametrization, start=begin)


def _link_problem(start: Choice, subject: Subject, shapes: Mapping[str, LayerShape]) -> str | None:
    """Return what is wrong with a link's neuron, in one sentence; a link speaks of its own model only."""
    if start.model != subject.spec.get("name"):
        return None
    layer = start.layer or LOGITS
    if layer not in shapes:
        return f"The link names an unknown layer {layer!r}: {start.model} has others, which the list below shows."
    shape = shapes[layer]
    if start.channel is not None and start.channel >= shape.channels:
        most = shape.channels - 1
        return f"The link's channel must be a whole number from 0 to {most:,} for {layer}, not {start.channel}."
    row, column = start.position or (0, 0)
    outside = row >= shape.rows or column >= shape.columns
    if start.position is not None and (layer == LOGITS or outside):
        places = f"{shape.rows} x {shape.columns} places"
        return f"The link's position must lie inside the {places} of {layer}, not at {row}x{column}."
    return None


def _pick_class(start: Choice, subject: Subject, words: str) -> int:
    """Draw the choice of a class; it stays while model and picture do, and begins with the predicted one."""
    labels, probabilities = subject.described.labels, subject.described.probabilities
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])
    every = {index: f"{labels[index]} · {probabilities[index]:.1%}" for index in order}
    titles = pickers.matching(every, words)
    asked = start.channel if start.layer in (None, LOGITS) else None
    of = subject.identity[0]
    known, begun, before = st.session_state.get(CHOSEN, (of, start, asked))
    wanted = (before if begun == start else asked) if known == of else None
    taken = st.session_state.pop(TAKEN, False)  # a click has set the field's value, and no default may be given
    begin = next(iter(titles)) if taken or wanted not in titles else wanted
    chosen = pickers.select("Class neuron", titles, begin, class_key(subject))
    st.session_state[CHOSEN] = of, start, None if chosen == order[0] else chosen
    return chosen


def class_key(subject: Subject) -> str:
    """Return the key of the field of the class: a new one for another picture, whose classes have other places."""
    return "_".join(("class_neuron", *subject.identity))


def _pick_channel(start: Choice, layer: str, shape: LayerShape) -> int:
    most = shape.channels - 1
    # A default, which every run sends: a value that is set once in the session state may never reach the browser.
    first: int | Literal["min"] = min(start.channel or 0, most) if start.layer == layer else 0
    if st.session_state.pop(TAKEN, False):  # in the run after a click, which did set the value, none may be given
        first = "min"
    return int(st.number_input(f"Channel (0 to {most})", 0, most, first, key=_channel_key(layer)))


def _pick_position(start: Choice, layer: str, shape: LayerShape) -> tuple[int, int] | None:
    """Draw the choice of a single neuron, ``(row, column)``; None: the whole channel."""
    if shape.rows * shape.columns == 1:
        return None
    asked = start.position if start.layer == layer else None
    columns = st.columns([3, 1.5, 1.5, 1.4], vertical_alignment="bottom")
    if not columns[0].toggle("A single neuron of the channel", asked is not None, key=f"single_{layer}"):
        return None
    row, column = asked or (shape.rows // 2, shape.columns // 2)
    most = shape.rows - 1, shape.columns - 1
    row = columns[1].number_input(f"Row (0 to {most[0]})", 0, most[0], row, key=f"row_{layer}")
    column = columns[2].number_input(f"Column (0 to {most[1]})", 0, most[1], column, key=f"column_{layer}")
    return int(row), int(column)


def _channel_key(layer: str) -> str:
    return f"channel_{layer}"


def take(layer: str, channel: int, subject: Subject) -> None:
    """Make a channel of the layer the chosen one, and ask for its drawing; called by a click."""
    state = st.session_state
    key = class_key(subject) if layer == LOGITS else _channel_key(layer)
    state[key], state["neuron_filter"] = channel, ""
    state[ASKED] = state[TAKEN] = True
