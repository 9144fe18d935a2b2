"""The links that people get."""

from __future__ import annotations

import re
import time

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.study.admission import links
from spade_core.study.data.studies import opened
from spade_core.ui.common.frame import settings, study_store
from spade_core.ui.study.access import guarded

DAY = 86_400  # s
MOST_LINKS = 1000  # personal links made at once
LOCAL = "http://127.0.0.1:8501"
PLAIN = "For anybody"
PROLIFIC = "For Prolific, as the study link; ids come by URL parameters"
PREVIEW = "Preview as a participant; marked, never counted; opens without a login for an hour"


def show_links(key: str) -> None:
    """Offer the links into the study."""
    here = re.match(r"https?://[^/?#]+(?:/[^?#]+(?=/study))?", st.context.url or "")  # of this page without the page
    own_address = here.group() if here else LOCAL
    base = st.text_input("Address that participants reach this server at", value=own_address, key="base")
    way = opened(study_store(), key).design.entry
    preview = links.signer(settings()).preview(base, key, study_store().clock())
    offered = {PLAIN: links.plain(base, key)} if way in ("open", "typed") else {}
    offered |= {PROLIFIC: links.prolific(base, key)} if way != "signed" else {}
    for title, link in {**offered, PREVIEW: preview}.items():
        st.markdown(f"**{title}**")
        st.code(link, language=None, wrap_lines=True)
    st.link_button("Open the preview", preview, icon=":material/preview:")
    st.markdown("**Personal links**, signed: each works for one person and until it expires")
    st.text_area("Codes, one a line (no names: links are seen by others)", key="labels", height=120)
    st.number_input("Days until they expire", 1, 365, 30, key="days")

    def make() -> None:
        labels = list(dict.fromkeys(str(st.session_state["labels"]).split()))
        if not 0 < len(labels) <= MOST_LINKS:
            raise ConfigError(f"Give 1 to {MOST_LINKS} codes, one a line.")
        signer, until = links.signer(settings()), time.time() + int(st.session_state["days"]) * DAY
        made = [signer.personal(st.session_state["base"], key, label, until) for label in labels]
        st.session_state[f"links_{key}"] = "\n".join(made)

    st.button("Make personal links", key="make_links", on_click=guarded(make))
    if made := st.session_state.get(f"links_{key}"):
        st.code(made, language=None, wrap_lines=True)
