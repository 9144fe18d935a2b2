"""When a trial was given to a participant: known to the server, so that a reload neither restarts nor stretches it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.tables import Trial
from spade_core.study.design.design import Design

_GIVEN = "given_utc"


def give(store: Store, trial: Trial) -> Trial:
    """Note when a trial is first sent to a browser; later calls change nothing. Return it as stored."""
    if trial.answered is not None or _GIVEN in (trial.details or {}):
        return trial

    def work(session: Session) -> Trial:
        row = session.get(Trial, trial.id, with_for_update=True)
        if row is None:
            return trial
        if row.answered is None and _GIVEN not in (row.details or {}):
            row.details = {**(row.details or {}), _GIVEN: store.clock()}
        return row

    return store.run(work)


def elapsed_ms(trial: Trial, now: float) -> float | None:
    """Return the time since a trial was first given, ms, or None: it was given without a page.

    Args:
        now: UTC seconds.
    """
    given = (trial.details or {}).get(_GIVEN)
    return None if given is None else 1000 * (now - given)


def remaining_ms(design: Design, trial: Trial, now: float) -> int | None:
    """Return how much of a trial's time limit is left, ms, or None where the design has no limit.

    Args:
        now: UTC seconds.
    """
    if design.time_limit_ms is None:
        return None
    return max(0, round(design.time_limit_ms - (elapsed_ms(trial, now) or 0.0)))
