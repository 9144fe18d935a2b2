"""What the neuron page shows: forming images, the finished pair, downloads."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from PIL import Image, ImageDraw

from spade_core.ui.common.command import picture_words, trace_words
from spade_core.ui.common.downloads import read_array, read_json
from spade_core.ui.common.link import Choice

SIDES = (("dense", "Dense"), ("spade", "SPADE"))
FRAME = "#f59e0b"


def show_forming(files: Mapping[str, bytes], steps: int) -> None:
    """Show the images while they form."""
    if "dense.png" not in files:
        st.caption("The first picture comes within seconds.")
        return
    step = int(read_json(files["step.json"])) + 1
    columns = st.columns(3)
    if "crop.npy" in files:
        columns[0].image(read_array(files["crop.npy"]), caption="Picture", width="stretch")
    for column, (name, title) in zip(columns[1:], SIDES, strict=True):
        if f"{name}.png" in files:
            column.image(files[f"{name}.png"], caption=f"{title}, step {step} of {steps}", width="stretch")


def framed(picture: bytes, region: Sequence[int]) -> tuple[Image.Image, str]:
    """Return the picture with a frame around ``(top, left, bottom, right)``, and its caption."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    top, left, bottom, right = region
    if (top, left, right, bottom) == (0, 0, *image.size):
        return image, "Picture · this neuron reads all of it"
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=3)
    return image, "Picture · framed: what the neuron looks at"


def show_pair(files: Mapping[str, bytes], described: Mapping[str, Any]) -> None:
    """Show picture with its most active region, dense and SPADE image, and how their values grew."""
    columns = st.columns(3)
    picture, caption = framed(files["picture.png"], described["region"])
    columns[0].image(picture, caption=caption, width="stretch")
    for column, (name, title) in zip(columns[1:], SIDES, strict=True):
        image = described["images"][name]
        column.image(files[f"{name}.png"], caption=f"{title} · reached {image['last_value']:.2f}", width="stretch")
        for note in image["notes"]:
            column.caption(f":material/info: {note}")
    _show_more(files, described["images"])
    st.caption("Dense and SPADE share seed, initial noise and transforms; only the weights differ. Click to zoom.")
    with st.expander("How the neuron's value grew", icon=":material/show_chart:"):
        values = read_json(files["values.json"])
        figure = go.Figure([go.Scatter(y=values[name], name=_title(name), mode="lines") for name in values])
        figure.update_layout(
            height=240, margin={"l": 4, "r": 4, "t": 8, "b": 4}, xaxis_title="step", yaxis_title="value"
        )
        st.plotly_chart(figure, width="stretch", key="values_plot")


def _show_more(files: Mapping[str, bytes], images: Mapping[str, Mapping[str, Any]]) -> None:
    """Show the further drawings of several, each pair in a row below the first."""
    for number in range(1, len(images) // len(SIDES)):
        for column, (side, _) in zip(st.columns(3)[1:], SIDES, strict=True):
            name = f"{side}_{number}"
            caption = f"{_title(name)} · reached {images[name]['last_value']:.2f}"
            column.image(files[f"{name}.png"], caption=caption, width="stretch")
            for note in images[name]["notes"]:
                if note not in images[side]["notes"]:  # what all drawings share is said once
                    column.caption(f":material/info: {note}")


def _title(drawing: str) -> str:
    """Return what people call a drawing: ``dense``, or ``dense_1``, which is the second one."""
    side, _, number = drawing.partition("_")
    return dict(SIDES)[side] + (f" {int(number) + 1}" if number else "")


def show_downloads(files: Mapping[str, bytes], command: str) -> None:
    """Offer the images and the manifest, and the command that makes the same result."""
    st.subheader("Take it with you")
    columns = st.columns(3)
    for column, label, name, kind in (
        (columns[0], "Dense (PNG)", "dense.png", "image/png"),
        (columns[1], "SPADE (PNG)", "spade.png", "image/png"),
        (columns[2], "Manifest (JSON)", "manifest.json", "application/json"),
    ):
        column.download_button(label, files[name], name, kind, key=f"get_{name}", on_click="ignore", width="stretch")
    st.caption("The same from the command line:")
    st.code(command, language="bash", wrap_lines=True)


def neuron_command(choice: Choice, spec: Mapping[str, Any], picture: str) -> str:
    """Return the command that draws the same neuron."""
    words = ["python", "-m", "spade_core", "visualize", *picture_words(choice, spec, picture)]
    if choice.layer == "logits":
        words += ["--class", str(choice.channel)]
    else:
        words += ["--layer", str(choice.layer), "--channel", str(choice.channel)]
        words += ["--position", "{},{}".format(*choice.position)] if choice.position is not None else []
        words += ["--target", str(choice.target)] if choice.target is not None else []
    images = ["--images", str(choice.images)] if choice.images > 1 else []
    return shlex.join([*words, "--steps", str(choice.steps), *images, *trace_words(choice), "--out", "results"])
