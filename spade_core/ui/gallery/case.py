"""One case of the gallery on a page: its pictures with a divider between them, what to see, and what was measured."""

from __future__ import annotations

from base64 import b64encode
from html import escape

import streamlit as st

from spade_core.gallery.cases import Case, cases
from spade_core.roles import allows
from spade_core.ui.common.before_after import before_after
from spade_core.ui.common.frame import settings
from spade_core.ui.common.uploads import UPLOADED

OPENED = {
    "saliency": ("pages/saliency.py", "Open the maps", ":material/blur_on:"),
    "neurons": ("pages/neurons.py", "Open the drawing", ":material/hub:"),
    "trace": ("pages/trace.py", "Open the trace", ":material/account_tree:"),
}
HINTS = {
    "Its probability": "In the whole model, and in the trace.",
    "Trojan AUC": "How well the map finds the trigger, the known right answer: at 100 its pixels come before others.",
    "Error of the map": "Of what the whole model's map lacks of a Trojan AUC of 100.",
    "Faithfulness": "Insertion minus deletion: how much the answer hangs on the pixels that the map calls strongest.",
}
STYLE = """<style>
.stMainBlockContainer h3 { padding-top: 0; }
.told { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; align-items: start; }
.told dl { display: grid; grid-template-columns: max-content max-content; gap: 0.15rem 1rem; margin: 0; padding: 0; }
.told dt { margin: 0; opacity: 0.75; font-weight: 400; }
.told dd { margin: 0; font-weight: 600; }
.told figure { margin: 0; width: 8rem; font-size: 0.85rem; }
.told img { width: 100%; border-radius: 0.4rem; display: block; margin-bottom: 0.2rem; }
</style>"""


def show_slider(case: Case, key: str) -> None:
    """Show the case's two pictures on top of each other, with a divider."""
    alt = f"{case.title}. {case.see}"
    pictures = case.picture("before"), case.picture("after")
    before_after(*pictures, labels=case.labels, alt=alt, key=key, start=case.divider)


def show_facts(case: Case) -> None:
    """Show what was measured, as a list of pairs, and what the model saw."""
    rows = "".join(
        f'<dt title="{escape(HINTS.get(name, ""))}">{escape(name)}</dt><dd>{escape(value)}</dd>'
        for name, value in case.facts.items()
    )
    picture = image(case.picture("picture"), f"{case.title}: the picture itself")
    seen = f"<figure>{picture}<figcaption>What the model sees</figcaption></figure>"
    st.html(f'{STYLE}<div class="told"><dl>{rows}</dl>{seen}</div>')


def image(data: bytes, alt: str) -> str:
    """Return the HTML of a picture that a page holds in itself: bytes of a WebP file."""
    return f'<img src="data:image/webp;base64,{b64encode(data).decode()}" alt="{escape(alt)}">'


def show_links(case: Case) -> None:
    """Offer the same on the other pages, already filled in."""
    for page, query in case.links.items():
        target, label, icon = OPENED[page]
        st.page_link(target, label=label, icon=icon, query_params=dict(query))


def offer_picture() -> None:
    """Draw the button that leads to maps of a picture of one's own, where this server takes some."""
    own = allows(settings().mode, "bring")
    if st.button("Try your own picture" if own else "Try another picture", type="primary", key="own"):
        st.switch_page("pages/saliency.py", query_params={"picture": UPLOADED} if own else None)


def show_gain() -> None:
    """Say that a case was chosen by what was measured, and among how many."""
    scored = [one for one in cases().values() if one.gain is not None]
    lost = sum(one.gain < 0 for one in scored if one.gain is not None)
    st.caption(
        f"Shown first because it was measured to gain most: of {len(scored)} cases here whose right answer is known, "
        f"its trace removes the largest share of the map's error. In {lost} of them a trace makes the map worse."
    )
