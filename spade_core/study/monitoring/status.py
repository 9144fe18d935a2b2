"""Counts that may be shown while a study is blind: participants by status, and how full the cells are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, blind_in, opened_in
from spade_core.study.data.tables import Participant
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import cells
from spade_core.study.running.phases import read_in_time

LEFT = "left"


@dataclass(frozen=True)
class Seen:
    """What is counted of one participant."""

    is_bot: bool
    is_preview: bool
    status: str
    cell: int | None


def status_now(status: str, last_seen: float, design: Design, now: float) -> str:
    """Return how a participation stands at a time, UTC seconds: who is active but was idle for too long has left."""
    return LEFT if status == "active" and last_seen < now - 60 * design.expire_minutes else status


def status_of(store: Store, key: str) -> dict[str, Any]:
    """Return what can be shown while a study is blind: participants by status, and how full the cells are.

    ``…_by_cell`` counts those who completed, ``…_active_by_cell`` those who have begun and not been idle for too long.

    Raises:
        ConfigError: no such study.
    """
    return read_in_time(store, key, lambda session: status_in(session, opened_in(session, key), store.clock()))


def status_in(session: Session, study: Opened, now: float) -> dict[str, Any]:
    """Return the same as part of a transaction."""
    seen, row = _seen(session, study, now), study.row
    real = [one for one in seen if not one.is_preview]
    people, bots = [one for one in real if not one.is_bot], [one for one in real if one.is_bot]
    return {
        "key": row.key, "name": row.name, "status": row.status, "demo": row.demo, "quota": study.design.quota,
        "frozen": row.frozen is not None, "blind": blind_in(session, row),
        "people": _by_status(people), "bots": _by_status(bots),
        "previews": _by_status(one for one in seen if one.is_preview),
        "people_by_cell": _by_cell(study, people, "complete"), "bots_by_cell": _by_cell(study, bots, "complete"),
        "people_active_by_cell": _by_cell(study, people, "active"),
        "bots_active_by_cell": _by_cell(study, bots, "active"),
    }  # fmt: skip


def cell_counts(store: Store, key: str, *, bots: bool) -> list[int]:
    """Return how many participants completed in each cell.

    Raises:
        ConfigError: no such study.
    """
    return status_of(store, key)["bots_by_cell" if bots else "people_by_cell"]


def _seen(session: Session, study: Opened, now: float) -> list[Seen]:
    query = select(
        Participant.is_bot, Participant.is_preview, Participant.status, Participant.last_seen, Participant.cell
    ).where(Participant.study_id == study.row.id)
    return [
        Seen(bot, preview, status_now(status, last_seen, study.design, now), cell)
        for bot, preview, status, last_seen, cell in session.execute(query)
    ]


def _by_status(seen: Iterable[Seen]) -> dict[str, int]:
    return dict(Counter(one.status for one in seen))


def _by_cell(study: Opened, seen: Sequence[Seen], status: str) -> list[int]:
    found = Counter(one.cell for one in seen if one.status == status)
    return [found[number] for number in range(len(cells(study.design, study.stimuli)))]
