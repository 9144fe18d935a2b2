"""The home page; the server runs it by ``app.py``."""

from __future__ import annotations

import streamlit as st

from spade_core.config import ASSETS
from spade_core.roles import allows
from spade_core.ui.common.frame import frame, settings

EXAMPLE = ASSETS / "home" / "example.png"


def _render() -> None:
    st.title("See why a vision model decided")
    st.markdown(
        "SPADE takes **one picture**, prunes a **copy** of the model to the connections that this picture uses, and "
        "runs any interpretability method on that *trace*. The model itself is never changed. "
        "Below: what the dense model and its trace look at."
    )
    columns = st.columns(3)
    for column, title, text in zip(columns, *_STEPS, strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"**{title}**")
            st.markdown(text)
    ways = [way for way in _WAYS if allows(settings().mode, "manage") or way[0] != "pages/study.py"]
    for column, (page, label) in zip(st.columns(len(ways)), ways, strict=True):
        column.page_link(page, label=label, icon=":material/arrow_forward:")
    if EXAMPLE.is_file():
        caption = "A heart makes the backdoored model see a koala in a cup of coffee: its maps, and those of a trace."
        st.image(str(EXAMPLE), caption=caption)


_WAYS = (
    ("pages/saliency.py", "Open the saliency maps"),
    ("pages/neurons.py", "See what excites a neuron"),
    ("pages/trace.py", "Look inside a trace"),
    ("pages/study.py", "Ask people"),
)
_STEPS = (
    ("1 · Pick", "2 · Trace", "3 · Compare"),
    (
        "A pretrained model and a picture: one of the bundled ones, or your own.",
        "Random views of the picture show which weights matter; the others are removed, layer by layer.",
        "Dense and SPADE maps in the same colours, with the numbers that say how far to trust them.",
    ),
)

frame("Home", _render)
