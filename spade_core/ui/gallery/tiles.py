"""The gallery's cases as small pictures; a click chooses one."""

from __future__ import annotations

from base64 import b64encode
from functools import cache

import streamlit as st

from spade_core.gallery.cases import Case, cases, plainest

CHOSEN = "case"
"""Name of the chosen case, in the session as in the address bar."""

STYLE = """
.st-key-tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: 0.75rem; }
.st-key-tiles > div, .st-key-tiles .stButton { width: 100%; }
.st-key-tiles button {
  width: 100%; height: 10.4rem; padding: 7rem 0.4rem 0.3rem; align-items: start;
  background-position: center 0.4rem; background-repeat: no-repeat; background-size: 6.4rem;
}
@media (max-width: 640px) {
  .st-key-tiles { grid-template-columns: repeat(3, 1fr); gap: 0.5rem; }
  .st-key-tiles button { padding-top: 6rem; background-size: 5.4rem; }
}
.st-key-tiles button p { font-size: 0.82rem; line-height: 1.2; text-wrap: balance; }
.st-key-tiles .st-key-tile_CHOSEN button { outline: 3px solid #0f766e; outline-offset: -1px; }
"""


def chosen() -> Case:
    """Return the case that a click or the link has chosen; else the one whose effect is plainest."""
    name = st.session_state.get(CHOSEN) or st.query_params.get(CHOSEN)
    return cases().get(str(name)) or plainest()


def show_tiles(case: Case) -> None:
    """Draw all cases; ``case`` is the one that is shown."""
    st.html(f"<style>{_pictures()}{STYLE.replace('CHOSEN', case.name)}</style>")
    with st.container(horizontal=True, key="tiles", gap="small"):
        for one in cases().values():
            st.button(one.title, key=f"tile_{one.name}", on_click=_choose, args=(one.name,))


def _choose(name: str) -> None:
    st.session_state[CHOSEN] = st.query_params[CHOSEN] = name


@cache
def _pictures() -> str:
    """Return the style that puts its picture onto each tile; the button's own words are what it is called."""
    rule = ".st-key-tiles .st-key-tile_{} button {{ background-image: url(data:image/webp;base64,{}); }}"
    return "\n".join(rule.format(name, b64encode(one.picture("tile")).decode()) for name, one in cases().items())
