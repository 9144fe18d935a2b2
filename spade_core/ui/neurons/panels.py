"""What the neuron page shows: forming images, the finished pair, downloads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypedDict

import plotly.graph_objects as go
import streamlit as st
from PIL import Image, ImageDraw

from spade_core.ui.common.downloads import read_array, read_json
from spade_core.ui.common.frame import show_folded, show_notes
from spade_core.ui.common.panels import show_chart
from spade_core.ui.common.text import literal

SIDES = (("dense", "Dense"), ("spade", "SPADE"))
FRAME = "#f59e0b"
SEEN = "The picture, as the model sees it"
MARGIN = {"l": 4, "r": 4, "t": 8, "b": 4}


def show_forming(files: Mapping[str, bytes], steps: int, what: str) -> None:
    """Show the images while they form; ``what`` is drawn."""
    st.caption(f"Drawing **{literal(what)}** by the dense model and by the trace.")
    if "dense.png" not in files:
        st.caption("The first picture comes within seconds.")
        return
    step = int(read_json(files["step.json"])) + 1
    columns = st.columns(3)
    if "crop.npy" in files:
        columns[0].image(read_array(files["crop.npy"]), caption="Picture", width="stretch", alt=SEEN)
    for column, (name, title) in zip(columns[1:], SIDES, strict=True):
        if f"{name}.png" in files:
            caption = f"{title}, step {step} of {steps}"
            column.image(files[f"{name}.png"], caption=caption, width="stretch", alt=_alt(name))


def framed(picture: bytes, region: Sequence[int]) -> tuple[Image.Image, str]:
    """Return the picture with a frame around ``(top, left, bottom, right)``, and its caption."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    top, left, bottom, right = region
    if (top, left, right, bottom) == (0, 0, *image.size):
        return image, "Picture · this neuron reads all of it"
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=3)
    return image, "Picture · framed: what the neuron looks at"


class Drawing(TypedDict):
    """A manifest's entry of one drawing."""

    last_value: float
    notes: list[str]


def show_pair(files: Mapping[str, bytes], region: Sequence[int], drawings: Mapping[str, Drawing]) -> None:
    """Show picture with its most active region, dense and SPADE image, and, for whom asks, how their values grew."""
    columns = st.columns(3)
    both = [
        note for note in drawings[SIDES[0][0]]["notes"] if all(note in drawings[name]["notes"] for name, _ in SIDES)
    ]
    picture, caption = framed(files["picture.png"], region)
    columns[0].image(picture, caption=caption, width="stretch", alt=SEEN)
    for column, (name, title) in zip(columns[1:], SIDES, strict=True):
        image = drawings[name]
        caption = f"{title} · reached {image['last_value']:.2f}"
        column.image(files[f"{name}.png"], caption=caption, width="stretch", alt=_alt(name))
        show_notes([note for note in image["notes"] if note not in both], column)
    _show_more(files, drawings)
    show_notes(both)  # once, below
    st.caption("Dense and SPADE share seed, initial noise and transforms; only the weights differ. Click to zoom.")
    grew = partial(_show_values, files["values.json"])
    show_folded("How the neuron's value grew", grew, key="values", icon=":material/show_chart:")


def _show_values(data: bytes) -> None:
    values = read_json(data)
    figure = go.Figure([go.Scatter(y=values[name], name=_title(name), mode="lines") for name in values])
    above = {"orientation": "h", "y": 1.15}  # beside the curves it takes a third of a phone
    figure.update_layout(height=240, margin=MARGIN, xaxis_title="step", yaxis_title="value", legend=above)
    show_chart(figure, "values_plot", "The neuron's value as its image was drawn, step by step")


def _show_more(files: Mapping[str, bytes], images: Mapping[str, Drawing]) -> None:
    """Show the further drawings of several, each pair in a row below the first."""
    for number in range(1, len(images) // len(SIDES)):
        for column, (side, _) in zip(st.columns(3)[1:], SIDES, strict=True):
            name = f"{side}_{number}"
            caption = f"{_title(name)} · reached {images[name]['last_value']:.2f}"
            column.image(files[f"{name}.png"], caption=caption, width="stretch", alt=_alt(name))
            shared = images[side]["notes"]  # what all drawings share is said once
            show_notes([note for note in images[name]["notes"] if note not in shared], column)


def _alt(drawing: str) -> str:
    """Return what a drawing is for who cannot see it."""
    return f"The neuron, drawn by the {'dense model' if drawing.startswith('dense') else 'trace'}: {_title(drawing)}"


def _title(drawing: str) -> str:
    """Return what people call a drawing: ``dense``, or ``dense_1``, which is the second one."""
    side, _, number = drawing.partition("_")
    return dict(SIDES)[side] + (f" {int(number) + 1}" if number else "")
