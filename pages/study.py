"""The experimenter's page: make a study, hand out its links, follow it, export and analyse it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.study.data.studies import cautions, list_studies, publish, save_draft, set_status
from spade_core.study.data.tables import Study
from spade_core.study.design.design import TEMPLATE, Design, demo_design, parse_design
from spade_core.study.stimuli import stimulus_set
from spade_core.study.stimuli.stimulus_set import StimulusSet
from spade_core.study.vocabulary import STATES
from spade_core.ui.common.frame import frame, study_store
from spade_core.ui.common.login import is_open, show_login, show_who
from spade_core.ui.common.text import literal
from spade_core.ui.study.access import NOTICES, guarded, notify, show_notices
from spade_core.ui.study.bots import show_bots
from spade_core.ui.study.design import show_design
from spade_core.ui.study.links import show_links
from spade_core.ui.study.people import show_monitor, show_people, show_texts
from spade_core.ui.study.power import show_power
from spade_core.ui.study.results import show_analysis, show_export

CHOSEN = "study_key"
SECTIONS = {
    "Monitor": show_monitor,
    "Links": show_links,
    "Participants": show_people,
    "Bots": show_bots,
    "Texts": show_texts,
    "Export": show_export,
    "Analysis": show_analysis,
    "Power": show_power,
    "Design": show_design,
}
ABOUT = {
    "draft": "It takes no participants yet: preview it, edit it under Design, and open it when it is ready.",
    "open": "It takes participants.",
    "paused": "Nobody new gets in; who has begun may finish.",
    "closed": "Closed for good: nobody new gets in, who has begun may finish, and it is never opened again.",
}
CLOSING = "Closing is for good: nobody new gets in, and it cannot be opened again. To stop for a while, pause."


def _render() -> None:
    st.title("Studies")
    if not is_open():
        st.session_state.pop(NOTICES, None)  # of an action that came too late: what follows says why
        show_login()
        return
    show_who()
    show_notices()
    studies = list_studies(study_store())
    template = TEMPLATE.read_text(encoding="utf-8")
    begun = st.session_state.get("design_text", template) != template  # what was pasted stays in sight
    _render_new(template, expanded=begun or not studies)
    if not studies:
        st.info("There are no studies yet: the demo takes one click.", icon=":material/touch_app:")
        return
    chosen = _pick(studies)
    _render_status(chosen)
    section = st.segmented_control("Section", list(SECTIONS), default="Monitor", required=True, key="section")
    SECTIONS[str(section)](chosen.key)


def _render_new(template: str, *, expanded: bool) -> None:
    with st.expander("New study", expanded=expanded, icon=":material/add:", key="new_study", on_change="rerun"):
        st.button("Make the demo study", type="primary", key="demo", on_click=guarded(_make), args=("demo",))
        st.caption("From the shipped set, at once. It tries the software and measures nothing.")
        st.divider()
        st.text_area("Design: the template, or paste your own YAML", template, height=300, key="design_text")
        st.text_input("Folder of the stimulus set, made by “study build --images”", key="set_folder")
        check, draft, make, _ = st.columns([1, 1, 1, 2])
        check.button("Check", key="check", width="stretch", on_click=guarded(_check))
        draft.button("Save as draft", key="draft", width="stretch", on_click=guarded(_make), args=("draft",))
        make.button("Publish", key="publish", width="stretch", on_click=guarded(_make), args=("open",))


# Callbacks read the widgets as they are at the click: arguments would be as old as the last drawing of the page.
def _make(what: Literal["demo", "draft", "open"]) -> None:
    demo, add = what == "demo", save_draft if what == "draft" else publish
    design = demo_design() if demo else parse_design(st.session_state.get("design_text", ""))
    stimuli = stimulus_set.load_set(stimulus_set.DEMO_SET) if demo else _stimuli()
    st.session_state[CHOSEN] = add(study_store(), design, stimuli)
    _warn(design, stimuli)
    draft, made = "saved as a draft: preview it under Links, edit it under Design", "open: its links are under Links"
    notify(f"“{design.name}” is {draft if what == 'draft' else made}.")


def _warn(design: Design, stimuli: StimulusSet) -> None:
    if found := cautions(design, stimuli):
        notify(" ".join(found), "warning")


def _check() -> None:
    design = parse_design(st.session_state.get("design_text", ""))
    left = "" if design.demo else ", ".join(design.placeholders())
    if st.session_state["set_folder"].strip():
        stimuli = _stimuli()
        design.check_set(stimuli)
        _warn(design, stimuli)
    notify(f"The design is valid; before publishing, fill in: {left}." if left else "The design is valid.")


def _stimuli() -> StimulusSet:
    folder = str(st.session_state["set_folder"]).strip()
    if not folder:
        raise ConfigError("Give the folder of a stimulus set; “study build --images DIR --out DIR” makes one.")
    return stimulus_set.load_set(Path(folder).expanduser())


def _pick(studies: list[Study]) -> Study:
    by_key = {row.key: row for row in studies}
    rows = [
        {
            **{name: getattr(row, name) for name in ("name", "key", "status", "demo")},
            "created": f"{datetime.fromtimestamp(row.created, UTC):%Y-%m-%d %H:%M} UTC",
            "unblinded": row.unblinded is not None,
        }
        for row in studies
    ]
    st.dataframe(rows, hide_index=True, key="studies")
    if st.session_state.get(CHOSEN) not in by_key:
        st.session_state[CHOSEN] = studies[0].key
    key = st.selectbox("Study", list(by_key), format_func=lambda key: f"{by_key[key].name} · {key}", key=CHOSEN)
    return by_key[key]


def _render_status(row: Study) -> None:
    text, move, close = st.columns([3, 1, 1], vertical_alignment="center")
    demo = " A demo: it measures nothing." if row.demo else ""
    text.markdown(f"**{literal(row.name)}** is **{row.status}**.{demo} {ABOUT[row.status]}")
    after = STATES[row.status].next
    for status, do in {"open": "Open", "paused": "Pause"}.items():
        if status in after:
            to = (row.key, status)
            move.button(do, key=f"set_{status}", width="stretch", on_click=guarded(_set_status), args=to)
    if "closed" in after:
        with close.popover("Close", width="stretch"):
            st.markdown(CLOSING)
            st.button("Close for good", key="set_closed", on_click=guarded(_set_status), args=(row.key, "closed"))


def _set_status(key: str, status: str) -> None:
    set_status(study_store(), key, status)
    notify(ABOUT[status])


frame("Studies", _render, "manage")
