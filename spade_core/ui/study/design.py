"""The section of the experimenter's page that shows, edits and copies a study's design."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from spade_core.study.analysis.report import preregistration
from spade_core.study.data.studies import Opened, opened
from spade_core.study.data.versions import FROZEN, copy, edit, versions
from spade_core.study.design.design import parse_design
from spade_core.study.stimuli.stimulus_set import StimulusSet, load_set
from spade_core.ui.common.frame import study_store
from spade_core.ui.study.access import guarded, notify, offer


def show_design(key: str) -> None:
    """Show the design with all its saved versions and its pre-registration, and let it be edited or copied."""
    study = opened(study_store(), key)
    frozen = "frozen: somebody has begun" if study.row.frozen else "nobody has begun"
    st.caption(f"SHA-256 {study.row.design_sha256} · {frozen} · stimulus set {study.row.stimuli_sha256[:16]}…")
    text = preregistration(study.design, study.stimuli)
    left, right, _ = st.columns([1, 1, 2])
    file = f"{key}.yaml"
    offer(left, "Design (YAML)", file, lambda: study.row.design, f"download_{file}", mime="text/yaml")
    file = f"{key}_preregistration.md"
    offer(right, "Pre-registration", file, lambda: text, f"download_{file}")
    with st.expander("Pre-registration text", expanded=True):
        st.markdown(text)
    with st.expander("Design: edit or copy"):
        _show_editor(study)
    st.markdown("**Saved versions**")
    rows = [
        {
            "version": version.number,
            "saved": f"{datetime.fromtimestamp(version.saved, UTC):%Y-%m-%d %H:%M} UTC",
            "SHA-256": version.design_sha256,
            "set's SHA-256": version.stimuli_sha256,
        }
        for version in reversed(versions(study_store(), key))
    ]
    st.dataframe(rows, hide_index=True, key="versions")


def _show_editor(study: Opened) -> None:
    key, can_change = study.row.key, study.row.frozen is None and study.row.status != "closed"
    # A key of its own for every version: a text that was edited and saved elsewhere is not kept in the widget.
    of = f"{key}_{study.row.design_sha256[:8]}"
    st.text_area("Design", study.row.design, height=400, key=f"edit_{of}", label_visibility="collapsed")
    st.text_input("Folder of another stimulus set; empty: the same", key=f"edit_set_{of}")
    st.caption(FROZEN if study.row.frozen else "What bots and previews left behind goes with the version before.")
    save, new, _ = st.columns([1, 1, 1])
    title, may = "Save as the next version", not can_change
    save.button(title, key="edit", width="stretch", disabled=may, on_click=guarded(_edit), args=(key, of))
    new.button("Save as a new study", key="copy", width="stretch", on_click=guarded(_copy), args=(key, of))


# Callbacks read the widgets as they are at the click: arguments would be as old as the last drawing of the page.
def _edit(key: str, of: str) -> None:
    number = edit(study_store(), key, parse_design(st.session_state[f"edit_{of}"]), _other_set(of))
    notify(f"Saved: this is version {number}.")


def _copy(key: str, of: str) -> None:
    made = copy(study_store(), key, parse_design(st.session_state[f"edit_{of}"]), _other_set(of))
    st.session_state["study_key"] = made
    notify("Saved as a new study, a draft without participants.")


def _other_set(of: str) -> StimulusSet | None:
    folder = str(st.session_state[f"edit_set_{of}"]).strip()
    return load_set(Path(folder).expanduser()) if folder else None
