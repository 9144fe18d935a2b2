"""The section of the experimenter's page where free texts are read and shared or withheld, one by one."""

from __future__ import annotations

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.study.data.studies import is_blind, opened
from spade_core.study.export.export import safe_cell
from spade_core.study.monitoring.free_texts import FreeText, free_texts, review
from spade_core.study.vocabulary import SIMULATED
from spade_core.ui.common.frame import study_store
from spade_core.ui.study.access import guarded, notify, who_acts

CHOSEN = "texts_chosen"
DONE = {"shared": "may be shared", "withheld": "stay out of shareable exports"}
SNIPPET = 60  # characters of a text in the list to choose from


def show_texts(key: str) -> None:
    """Show the texts with their decisions, and let the experimenter decide."""
    store = study_store()
    study = opened(store, key)
    st.caption(
        "Shareable exports hold a text only after somebody has read it here and shared it. Withhold what could tell "
        "who wrote it. A decision is void once the text changes."
    )
    if study.design.questions.texts and is_blind(store, study):
        hidden = "Blinded: what people wrote about trials is shown once the study is unblinded; comments are."
        st.info(hidden, icon=":material/visibility_off:")
    texts = free_texts(store, key)
    if not texts:
        st.info("There are no texts yet.", icon=":material/notes:")
        return
    waiting = sum(text.decision is None for text in texts)
    st.markdown(f"**{waiting} of {len(texts)} not read yet**")
    st.dataframe([_shown(text) for text in texts], hide_index=True, key="texts_table")
    flat = {text.id: " ".join(text.words.split()) for text in texts}
    snippets = {one: f"{one} · {words[:SNIPPET]}{'…' if len(words) > SNIPPET else ''}" for one, words in flat.items()}
    st.multiselect("Texts", list(snippets), format_func=lambda one: snippets[one], key=CHOSEN)
    share, withhold, _ = st.columns([1, 1, 2])
    share.button("Share", key="share", width="stretch", on_click=guarded(_decide), args=(key, "shared"))
    withhold.button("Withhold", key="withhold", width="stretch", on_click=guarded(_decide), args=(key, "withheld"))


def _decide(key: str, decision: str) -> None:
    chosen = list(st.session_state[CHOSEN])
    if not chosen:
        raise ConfigError("Choose the texts first that you have read.")
    review(study_store(), key, chosen, decision, by=who_acts())
    st.session_state[CHOSEN] = []
    notify(f"Texts: {len(chosen)}; they {DONE[decision]}.")


def _shown(text: FreeText) -> dict[str, str]:
    return {
        "id": text.id,
        "question": text.name,
        "text": safe_cell(text.words),
        "decision": text.decision or "not read yet",
        "by": text.by or "",
        "whose": SIMULATED if text.simulated else "",
    }
