"""Rows for tests of the database, written without the flow."""

from __future__ import annotations

import secrets
from typing import Any

from spade_core.study.data.store import Store
from spade_core.study.data.tables import Audit, Event, ExternalId, PageTime, Participant, Study, Trial

STUDY = "s" * 32


def add_study(store: Store) -> str:
    """Add a study; return its id."""
    row = Study(
        id=STUDY,
        key="key",
        name="n",
        status="open",
        design="d",
        design_sha256="d",
        stimuli="s",
        stimuli_sha256="s",
        demo=False,
        code_version="1",
        created=1.0,
    )
    store.run(lambda session: session.add(row))
    return STUDY


def participant_values(uid: str, **changes: Any) -> dict[str, Any]:
    """Return the values of a participant, those of the first version's columns."""
    return {
        "uid": uid,
        "study_id": STUDY,
        "is_bot": False,
        "is_preview": False,
        "phase": "main",
        "status": "active",
        "seed": "0",
        "resume_sha256": secrets.token_hex(32),
        "started": 1.0,
        "last_seen": 1.0,
        "comprehension_tries": 0,
        "practice_round": 0,
        "practice_flagged": False,
        "native": False,
        **changes,
    }


def trial_values(uid: str, index: int, **changes: Any) -> dict[str, Any]:
    """Return the values of a trial, those of the first version's columns."""
    return {
        "id": secrets.token_hex(16),
        "participant_uid": uid,
        "index": index,
        "block": 0,
        "type": "main",
        "stimulus_id": f"i{index}",
        "condition": "dense",
        "reference_side": "region_1",
        **changes,
    }


def add_person(store: Store, mark: str = "mark", *, trials: int = 5) -> str:
    """Add a participant with rows in every table, each with a text of its own; return the uid."""
    uid = secrets.token_hex(16)

    def work(session: Any) -> None:
        session.add(
            Participant(**participant_values(uid, comment=f"{mark}-comment " * 20, device={"d": f"{mark}-dev"}))
        )
        session.flush()
        session.add(ExternalId(participant_uid=uid, study_id=STUDY, external_id=f"{mark}-external"))
        session.add_all(
            Trial(**trial_values(uid, index, details={"input": f"{mark}-trial", "focus_losses": [1.0] * index}))
            for index in range(trials)
        )
        session.add(Event(participant_uid=uid, at=1.0, kind="note", details={"text": f"{mark}-event"}))
        session.add(PageTime(participant_uid=uid, page=f"{mark}-page", at=1.0))
        session.add(Audit(study_id=STUDY, at=1.0, action="exclude", details={"uid": uid, "why": "slow"}))

    store.run(work)
    return uid
