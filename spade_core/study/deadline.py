"""The time limit of a whole study: it runs by the server's clock from the consent on, whatever a browser does.

When it is over, answers are kept, and the trials left are missing as after a trial's own time limit. Whoever has
answered everything by then may finish. A participation whose page is closed by then ends as soon as anybody asks how
the study goes; its cell is free from the end of its time on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, opened_in
from spade_core.study.data.tables import Participant, Trial
from spade_core.study.design.design import Design
from spade_core.study.running.flow import Person
from spade_core.study.running.phases import LIMITED, end

T = TypeVar("T")
GRACE = 2.0  # seconds after the end in which an answer that was on its way still counts
TIME_OVER = "time_over"  # the status, the code, and the mark of the trials left


def ends_at(design: Design, row: Participant) -> float | None:
    """Return when a participant's time is over, UTC seconds; None: nothing is running."""
    running = row.status == "active" and row.phase in LIMITED and row.consented is not None
    if design.minutes_limit is None or not running or row.consented is None:
        return None
    return row.consented + 60 * design.minutes_limit


def is_over(design: Design, row: Participant, now: float) -> bool:
    """Return whether a participant's time is over at ``now``, UTC seconds, and the participation still open."""
    ends = ends_at(design, row)
    return ends is not None and now >= ends


def close_when_over(session: Session, store: Store, row: Participant, design: Design, *, grace: float = 0.0) -> bool:
    """End a participation whose time is over: its unanswered trials are timed out. Return whether it was.

    Args:
        grace: seconds after the end that still count; negative ones end it earlier.
    """
    if not is_over(design, row, store.clock() - grace):
        return False
    _close(session, row, store.clock())
    end(store, row, TIME_OVER)
    return True


def read_in_time(store: Store, key: str, work: Callable[[Session], T]) -> T:
    """Read how a study goes; participations whose time is over have ended by then, as of the end of that time.

    Args:
        work: see :meth:`spade_core.study.data.store.Store.read`.

    Raises:
        ConfigError: no such study.
    """

    def look(session: Session) -> tuple[Opened | None, T | None]:
        study = opened_in(session, key)
        return (study, None) if _overdue(session, store, study) else (None, work(session))

    study, found = store.read(look)
    if study is None:
        return cast(T, found)
    store.run(lambda session: _close_overdue(session, store, study))
    return store.read(work)


def _overdue(session: Session, store: Store, study: Opened) -> list[Participant]:
    if study.design.minutes_limit is None:
        return []
    running = select(Participant).where(
        Participant.study_id == study.row.id, Participant.status == "active", Participant.phase.in_(LIMITED)
    )
    return [row for row in session.scalars(running) if is_over(study.design, row, store.clock() - GRACE)]


def _close_overdue(session: Session, store: Store, study: Opened) -> None:
    for row in _overdue(session, store, study):
        ended = ends_at(study.design, row)
        _close(session, row, ended or store.clock())
        end(store, row, TIME_OVER, at=ended)


def _close(session: Session, row: Participant, at: float) -> None:
    """Time the trials out that were still to come."""
    left = select(Trial).where(Trial.participant_uid == row.uid, Trial.answered.is_(None))
    for trial in session.scalars(left):
        trial.answered, trial.timed_out = at, True
        trial.details = {**(trial.details or {}), TIME_OVER: True}


def run_out(store: Store, who: Person, *, ahead: float = 0.0) -> Person:
    """End a participation whose time is over and return the person afterwards.

    Args:
        ahead: seconds that a bot's participation would have taken longer than it did.
    """

    def work(session: Session) -> Participant:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is None:
            return who.row
        close_when_over(session, store, row, who.design, grace=-ahead)
        return row

    return Person(store.run(work), who.study)


def never_shown(trial: Trial) -> bool:
    """Return whether a trial was still to come when the study's time was over: nobody has failed it."""
    return TIME_OVER in (trial.details or {})
