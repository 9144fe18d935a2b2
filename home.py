"""The home page: finished cases that answer at once, and the ways on; the server runs it by ``app.py``."""

from __future__ import annotations

import streamlit as st

from spade_core.gallery.cases import Case, plainest
from spade_core.roles import allows
from spade_core.ui.common.frame import frame, settings
from spade_core.ui.common.link import UPLOADED
from spade_core.ui.common.text import literal
from spade_core.ui.gallery.case import show_facts, show_gain, show_links, show_slider
from spade_core.ui.gallery.tiles import chosen, show_tiles

WHAT = (
    "SPADE prunes a **copy** of a model to the connections that **one picture** uses. Any method of "
    "interpretability then runs on this *trace*, and shows what the decision rests on. Drag the divider."
)


def _render() -> None:
    st.title("See why a vision model decided")
    st.markdown(WHAT)
    case = chosen()
    pictures, told = st.columns(2, gap="medium")
    with pictures:
        show_slider(case, "hero")
    with told:
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
    own = allows(settings().mode, "bring")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try your own picture" if own else "Try another picture", type="primary", key="own"):
            st.switch_page("pages/saliency.py", query_params={"picture": UPLOADED} if own else None)
        show_links(case)
        st.page_link("pages/tour.py", label="Tour, 3 minutes", icon=":material/slideshow:")


frame("Home", _render)
