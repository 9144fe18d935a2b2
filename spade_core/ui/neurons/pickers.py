"""The neuron page's inputs: layer, channel or class, place, and the channels that stand out for the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import streamlit as st

from spade_core.neurons import LOGITS, PARAMETRIZATIONS, RANKINGS, STARTS, LayerShape
from spade_core.ui.common import downloads, pickers
from spade_core.ui.common.jobs import files_of
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject, asked_by_link, wait_for
from spade_core.ui.common.text import literal

STEPS = (64, 128, 256, 512, 1024, 2048)
IMAGES = (1, 2, 4)
SEVERAL = (
    "Several drawings of the neuron by each network, kept apart by a diversity term: what else does it answer to? Each "
    "takes its own time."
)
TOP = 10
ASKED, TAKEN = "neurons_ranked", "neurons_taken"


def asked_by_ranking() -> bool:
    """Return, once, whether a ranked channel was clicked."""
    return bool(st.session_state.pop(ASKED, False))


def pick_neuron(page: str, start: Choice, subject: Subject, choice: Choice) -> Choice:
    """Draw the choice of layer, neuron, steps and, for a hidden layer, of the class to explain."""
    found = wait_for("layers", {"model": subject.spec}, "Looking at the layers …")["layers.json"]
    shapes = {row["name"]: LayerShape(**row) for row in reversed(downloads.read_json(found))}
    if problem := _link_problem(start, subject, shapes):
        st.error(literal(problem), icon=":material/link_off:")
        asked_by_link(page)  # a link that cannot be followed draws nothing
        start = replace(start, layer=None, channel=None, position=None)
    names = list(shapes)
    wanted = names.index(start.layer) if start.layer in names else 0
    columns = st.columns([3, 3, 1.2, 1.2])
    hint = "Type to search; values are read before the activation. ★ marks what is most worth drawing."
    title = {name: str(shape) for name, shape in shapes.items()}.__getitem__
    layer = columns[0].selectbox("Layer", names, wanted, format_func=title, key="layer", help=hint)
    if shapes[layer].advice:
        columns[0].caption(f"★ {shapes[layer].advice}")
    with columns[1]:
        channel = _pick_class(start, subject) if layer == LOGITS else _pick_channel(start, layer, shapes[layer])
    counts = sorted({*STEPS, start.steps})
    steps = columns[2].selectbox("Steps", counts, index=counts.index(start.steps), key="steps")
    several = sorted({*IMAGES, start.images})
    images = columns[3].selectbox("Images", several, several.index(start.images), key="images", help=SEVERAL)
    choice = replace(choice, layer=layer, channel=channel, steps=steps, images=images)
    choice = _pick_drawing(choice, start)
    if layer == LOGITS:
        return choice
    with st.sidebar:
        described = subject.described
        target = pickers.pick_target(start, described.labels, described.probabilities, subject.identity)
    choice = replace(choice, target=target, position=_pick_position(start, layer, shapes[layer]))
    _offer_ranked(choice, subject)
    return choice


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


def _pick_class(start: Choice, subject: Subject) -> int:
    labels, probabilities = subject.described.labels, subject.described.probabilities
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])
    asked = start.channel if start.layer in (None, LOGITS) else None
    wanted = asked if asked in order else order[0]
    titles = {index: f"{labels[index]} · {probabilities[index]:.1%}" for index in order}
    return pickers.select("Class neuron", titles, wanted, "class_neuron")


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


def _offer_ranked(choice: Choice, subject: Subject) -> None:
    """Offer the channels that stand out for this picture; a click chooses one and draws it."""
    with st.expander("Which neuron? Channels that stand out for this picture", icon=":material/leaderboard:"):
        title = {slug: ranking.title for slug, ranking in RANKINGS.items()}.__getitem__
        by = st.segmented_control("Rank by", list(RANKINGS), default="activation", key="by", format_func=title)
        if by is None or not st.toggle("Rank the channels (makes the trace first)", key="rank"):
            return
        st.caption(RANKINGS[by].help)
        what = {"target": choice.target, "layer": choice.layer, "by": by, "top": TOP}
        traced = {"model": subject.spec, "picture": subject.source, "trace": choice.trace_arguments()}
        files = files_of("ranking", {**traced, **what})
        if files is None:
            return
        scores = {row["channel"]: row["score"] for row in downloads.read_json(files["ranking.json"])}
        key = f"ranked_{choice.layer}_{by}"
        st.session_state[key] = choice.channel if choice.channel in scores else None  # marks what is chosen above
        label, take = "Channels, highest first: click to draw", partial(_take, key, str(choice.layer))
        title = {channel: f"{channel} ({score:.3g})" for channel, score in scores.items()}.__getitem__
        st.pills(label, list(scores), key=key, on_change=take, format_func=title)


def _take(key: str, layer: str) -> None:
    """Make the clicked channel the chosen one, and ask for its drawing."""
    picked = st.session_state[key]
    if picked is not None:
        st.session_state[_channel_key(layer)] = int(picked)
        st.session_state[ASKED] = st.session_state[TAKEN] = True
