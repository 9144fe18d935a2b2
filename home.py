"""The home page: finished cases that answer at once, and the ways on; the server runs it by ``app.py``."""

from __future__ import annotations

import streamlit as st

from spade_core.gallery.cases import Case, plainest
from spade_core.ui.common.frame import frame
from spade_core.ui.common.text import literal
from spade_core.ui.gallery.case import offer_picture, show_facts, show_gain, show_links, show_slider
from spade_core.ui.gallery.tiles import chosen, show_tiles

SIDE = 440  # px of the slider; it never leaves the page
WHAT = (
    "SPADE prunes a **copy** of a model to the connections that **one picture** uses. Any method of "
    "interpretability then runs on this *trace*, and shows what the decision rests on. Drag the divider."
)


def _render() -> None:
    st.title("See why a vision model decided")
    st.markdown(WHAT)
    case = chosen()
    row = st.container(horizontal=True, gap="medium")
    with row.container(width=SIDE):
        show_slider(case, "hero")
    with row.container():
        st.subheader(literal(case.title))
        st.markdown(literal(case.see))
        show_facts(case)
        if case == plainest():
            show_gain()
        _offer(case)
    st.markdown("**Gallery** :gray[finished cases: each opens at once, and is filled in on its own page]")
    show_tiles(case)


def _offer(case: Case) -> None:
    """Draw the one button, and the ways on."""
    with st.container(horizontal=True, vertical_alignment="center"):
        offer_picture()
        show_links(case)
        st.page_link("pages/tour.py", label="Tour (3 min)", icon=":material/slideshow:")


frame("Home", _render)
