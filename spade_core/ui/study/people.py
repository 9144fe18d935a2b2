"""Sections of the experimenter's page that follow and steer a running study: monitor, participants, free texts.

None of them shows a condition."""

from __future__ import annotations

import hashlib

import streamlit as st

from spade_core.cells import safe_cell
from spade_core.errors import ConfigError
from spade_core.study.data.deletion import delete_participant
from spade_core.study.data.studies import is_blind, opened
from spade_core.study.monitoring import people
from spade_core.study.monitoring.free_texts import free_texts, review
from spade_core.study.monitoring.people import Monitor, Watched
from spade_core.study.vocabulary import SIMULATED
from spade_core.ui.common.frame import errors_as_sentences, study_store
from spade_core.ui.common.login import who_acts
from spade_core.ui.study.access import guarded, notify, require_access

EVERY = 10.0  # seconds between two looks at a running study
DELETING = "Delete the id, all answers, events and page times of this participant. This cannot be undone."
PERSON = "person"  # session state: whose row is chosen
CHOSEN = "texts_chosen"  # session state: ids of the texts to decide about
DONE = {"shared": "may be shared", "withheld": "stay out of shareable exports"}
SNIPPET = 60  # characters of a text in the list to choose from


@st.fragment(run_every=EVERY)
def show_monitor(key: str) -> None:
    """Show how the study goes, kept up to date."""
    with errors_as_sentences():
        require_access()
        found = people.monitor(study_store(), key, bots=st.session_state.get(f"bots_{key}"))
        st.toggle("Bots in place of people", value=found.bots, key=f"bots_{key}")
        if found.bots:
            st.caption(f"{SIMULATED}: these are bots.")
        _show_summary(found)


def _show_summary(found: Monitor) -> None:
    status, summary = found.status, found.summary
    people_or_bots = status["bots"] if found.bots else status["people"]
    values = (
        ("Completed", f"{summary['complete']} of {status['quota']}"),
        ("At it now", str(summary["active"])),
        ("Drop-out", _percent(summary["drop_out"])),
        ("Median duration", _number(summary["median_minutes"], "min", 1)),
        ("Catch trials right", _percent(summary["catch_right"])),
        ("Median answer time", _number(summary["median_rt_ms"], "ms", 0)),
        ("Same-side answering", str(summary["same_side"])),
        ("Too fast", str(summary["too_fast"])),
    )
    for column, (label, value) in zip((*st.columns(4), *st.columns(4)), values, strict=True):
        column.metric(label, value)
    st.caption(
        f"By status: {_counts(people_or_bots) or 'nobody yet'}. Previews: {_counts(status['previews']) or 'none'}. "
        f"Left at: {_counts(found.left_at) or 'nowhere'}."
    )
    st.markdown("**Cells**")
    done = status["bots_by_cell"] if found.bots else status["people_by_cell"]
    active = status["bots_active_by_cell"] if found.bots else status["people_active_by_cell"]
    st.dataframe({"cell": range(len(done)), "completed": done, "at it now": active}, hide_index=True, key="cells")
    if noticed := [row for row in found.rows if row["checks"]]:
        st.markdown("**Data quality: what was noticed**")
        rows = [(row["participant_uid"], row["checks"], row["status"]) for row in noticed]
        titles = ("participant", "noticed", "status")
        st.dataframe([dict(zip(titles, row, strict=True)) for row in rows], hide_index=True)


def show_people(key: str) -> None:
    """Show participants one by one, with what was noticed; whoever is chosen can be excluded or deleted."""
    store = study_store()
    found = people.monitor(store, key, bots=False)
    if not found.rows:
        st.info("Nobody has begun yet.", icon=":material/hourglass_empty:")
        return
    uid = _choose(found.rows)
    st.caption("Excluding somebody concerns the analysis alone. Payment follows the completion code.")
    if found.status["frozen"] and not found.status["blind"]:  # before the first consent there is nothing to hide
        st.warning("This study is unblinded: excluding somebody now is noted as done with conditions in sight.")
    st.markdown("Choose a row to act on a participant." if uid is None else f"Chosen: participant **{uid}**")
    if uid is not None:
        _show_acts(key, uid)
    with st.popover("Payment list"):
        st.caption("Ids from outside with their completion codes, sorted by id and apart from the answers.")
        safe = [{name: safe_cell(value) for name, value in row.items()} for row in people.payments(store, key)]
        st.dataframe(safe, hide_index=True, key="payments")


def _choose(rows: list[Watched]) -> str | None:
    """Show the table and return whose row is chosen.

    A row is chosen by its place: among other people the table is another one, and begins with the row chosen before.
    """
    uids = [row["participant_uid"] for row in rows]
    before = st.session_state.get(PERSON)
    progress = st.column_config.ProgressColumn(format="%.0f %%", max_value=100, width="small")
    table = st.dataframe(
        [_shown(row) for row in rows],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [uids.index(before)] if before in uids else []}},
        column_config={"progress": progress},
        key=f"people_{hashlib.sha256(' '.join(uids).encode()).hexdigest()}",
    )
    chosen = table["selection"]["rows"]
    st.session_state[PERSON] = uids[chosen[0]] if chosen else None
    return st.session_state[PERSON]


def _show_acts(key: str, uid: str) -> None:
    st.text_input("Reason for leaving them out", max_chars=people.REASON_LENGTH, key="reason")
    out, back, gone = st.columns(3)
    out.button("Exclude from the analysis", key="exclude", width="stretch", on_click=guarded(_exclude), args=(key, uid))
    back.button("Take in again", key="include", width="stretch", on_click=guarded(_include), args=(key, uid))
    with gone.popover("Delete", width="stretch"):
        st.markdown(f"Participant **{uid}**")
        # A tick is about this one person: whoever is chosen next has to be confirmed anew.
        sure = st.checkbox(DELETING, key=f"delete_sure_{uid}")
        st.button("Delete for good", key="delete", disabled=not sure, on_click=guarded(_delete), args=(key, uid))


# What a callback reads in the widgets is as it is at the click; whom it is about is whoever stood beside the button.
def _exclude(key: str, uid: str) -> None:
    reason = str(st.session_state["reason"]).strip()
    if not reason:
        raise ConfigError("Give a reason: it stands beside the answers in the export.")
    people.exclude(study_store(), key, uid, reason)
    notify("Left out of the analysis; payment is not touched.")


def _include(key: str, uid: str) -> None:
    people.exclude(study_store(), key, uid, "")
    notify("Taken into the analysis again.")


def _delete(key: str, uid: str) -> None:
    if not st.session_state.get(f"delete_sure_{uid}"):
        raise ConfigError("Confirm first that this participant shall be deleted.")
    delete_participant(study_store(), uid, by=who_acts(), key=key)
    notify("Deleted for good. Backups made before hold it until “study backup --forget”; a restore leaves it out.")


def _shown(row: Watched) -> dict[str, str | int | float | bool | None]:
    idle = row["idle_minutes"]
    return {
        "participant": row["participant_uid"],
        "status": row["status"].replace("_", " "),
        **({"cell": row["cell"]} if "cell" in row else {}),
        "at": row["phase"],
        "progress": 100 * row["progress"],
        "last seen": "" if idle is None else f"{idle:.0f} min ago",
        "answers": row["answers"],
        "noticed": row["checks"],
        "excluded by you": safe_cell(row["excluded"]),
        "in the analysis": row["included"],
        "duration": _number(row["minutes"], "min", 1),
        "median answer": _number(row["median_rt_ms"], "ms", 0),
        "catch right": f"{row['catch_right']}/{row['catch']}",
        "most on one side": _percent(row["one_side"]),
        "practice": "flagged" if row["practice_flagged"] else "",
        "comment": safe_cell(row["comment"]),
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None, unit: str, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f} {unit}"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(found.items()))


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
    rows = [
        {
            "id": text.id,
            "question": text.name,
            "text": safe_cell(text.words),
            "decision": text.decision or "not read yet",
            "by": text.by or "",
            "whose": SIMULATED if text.simulated else "",
        }
        for text in texts
    ]
    st.dataframe(rows, hide_index=True, key="texts_table")
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
