"""Counts that may be shown while a study is blind: participants by status, and how full the cells are."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, blind_in, opened_in
from spade_core.study.data.tables import Participant
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import cells
from spade_core.study.running.phases import status_at
from spade_core.study.vocabulary import ACTIVE, COMPLETE, LEFT


class StudyStatus(TypedDict):
    """A study's counts; ``…_by_cell``: who completed, ``…_active_by_cell``: who has begun and was not idle for long."""

    key: str
    name: str
    status: str
    demo: bool
    quota: int
    frozen: bool
    blind: bool
    people: dict[str, int]
    bots: dict[str, int]
    previews: dict[str, int]
    people_by_cell: list[int]
    bots_by_cell: list[int]
    people_active_by_cell: list[int]
    bots_active_by_cell: list[int]


def status_now(row: Participant, design: Design, now: float) -> str:
    """Return how a participation stands at a time, UTC seconds: who is active but was idle for too long has left."""
    status = status_at(design, row, now)
    return LEFT if status == ACTIVE and row.last_seen < now - 60 * design.expire_minutes else status


def status_of(store: Store, key: str) -> StudyStatus:
    """Return what can be shown while a study is blind.

    Raises:
        ConfigError: no such study.
    """
    return store.read(lambda session: status_in(session, opened_in(session, key), store.clock()))


def status_in(session: Session, study: Opened, now: float) -> StudyStatus:
    """Return the same as part of a transaction."""
    row, number = study.row, len(cells(study.design, study.stimuli))
    seen: Counter[tuple[str, str, int | None]] = Counter()
    by_status: dict[str, Counter[str]] = {group: Counter() for group in ("people", "bots", "previews")}
    for one in session.scalars(select(Participant).where(Participant.study_id == row.id)):
        group = "previews" if one.is_preview else "bots" if one.is_bot else "people"
        status = status_now(one, study.design, now)
        seen[group, status, one.cell] += 1
        by_status[group][status] += 1

    def by_cell(group: str, status: str) -> list[int]:
        return [seen[group, status, cell] for cell in range(number)]

    return {
        "key": row.key,
        "name": row.name,
        "status": row.status,
        "demo": row.demo,
        "quota": study.design.quota,
        "frozen": row.frozen is not None,
        "blind": blind_in(session, row),
        "people": dict(by_status["people"]),
        "bots": dict(by_status["bots"]),
        "previews": dict(by_status["previews"]),
        "people_by_cell": by_cell("people", COMPLETE),
        "bots_by_cell": by_cell("bots", COMPLETE),
        "people_active_by_cell": by_cell("people", ACTIVE),
        "bots_active_by_cell": by_cell("bots", ACTIVE),
    }


def cell_counts(store: Store, key: str, *, bots: bool) -> list[int]:
    """Return how many participants completed in each cell.

    Raises:
        ConfigError: no such study.
    """
    return status_of(store, key)["bots_by_cell" if bots else "people_by_cell"]
