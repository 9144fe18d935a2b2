"""What an experimenter sees of participants while a study runs, and what may be decided about them.

Nothing here says which condition somebody saw or whether a main trial was answered as the reference. To exclude
somebody from the analysis is one thing, payment another: payment follows the completion code alone, and its list is not
sorted like the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NotRequired, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, audit, blind_in, find, opened_in
from spade_core.study.data.tables import ExternalId, PageTime, Participant, Trial, by_person
from spade_core.study.monitoring.checks import check_person, judged
from spade_core.study.monitoring.status import StudyStatus, status_in, status_now
from spade_core.study.running.phases import as_of, status_at
from spade_core.study.vocabulary import ACTIVE, COMPLETE, LEFT

REASON_LENGTH = 200


class Watched(TypedDict):
    """What is seen of one participant; ``cell`` only where it tells no condition."""

    participant_uid: str
    status: str
    phase: str
    consented: bool
    answers: int
    progress: float
    idle_minutes: float | None
    minutes: float | None
    median_rt_ms: float | None
    catch_right: int
    catch: int
    one_side: float | None
    checks: str
    failed: tuple[str, ...]
    practice_flagged: bool
    included: bool
    excluded: str
    comment: str
    cell: NotRequired[int | None]


@dataclass(frozen=True)
class Monitor:
    """A study at one moment.

    Attributes:
        status: of :func:`spade_core.study.monitoring.status.status_of`; bots: whether the rest is about bots, else
            about people.
        rows: one a participant, the newest first; summary: numbers over them, None where there is nothing to count;
        left_at: phase -> how many left there.
    """

    status: StudyStatus
    bots: bool
    rows: list[Watched]
    summary: dict[str, float | int | None]
    left_at: dict[str, int]


def monitor(store: Store, key: str, *, bots: bool | None = None) -> Monitor:
    """Return how a study goes, all of it at one moment.

    Args:
        bots: about bots, or about people; None: about bots where there is nobody else.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> Monitor:
        study, now = opened_in(session, key), store.clock()
        status = status_in(session, study, now)
        about_bots = bool(status["bots"]) and not status["people"] if bots is None else bots
        which = (Participant.is_bot.is_(about_bots), Participant.is_preview.is_(False))
        found, trials = as_of(session, study, now, *which)
        mine = select(PageTime).join(Participant).where(Participant.study_id == study.row.id, *which)
        pages = by_person(session.scalars(mine.order_by(PageTime.id)))
        found.sort(key=lambda row: (-row.started, row.uid))
        rows = [_watched(row, trials.get(row.uid, ()), pages.get(row.uid, ()), study, now) for row in found]
        if not status["blind"]:  # with one condition a person, the cell tells it
            for row, person in zip(rows, found, strict=True):
                row["cell"] = person.cell
        left = Counter(row["phase"] for row in rows if row["status"] == LEFT)
        return Monitor(status, about_bots, rows, _summary(rows), dict(left))

    return store.read(work)


def exclude(store: Store, key: str, uid: str, reason: str) -> None:
    """Leave a participant out of the analysis, or with an empty reason take them in again; payment does not change.

    The audit notes that it was done and whether the study was blind then, but not whom it was about.

    Raises:
        ConfigError: nobody in this study has the uid, or the reason is too long.
    """
    reason = " ".join(reason.split())
    if len(reason) > REASON_LENGTH:
        raise ConfigError(f"The reason has {len(reason)} characters: keep it within {REASON_LENGTH}.")

    def work(session: Session) -> None:
        study, row = find(session, key), session.get(Participant, uid)
        if row is None or row.study_id != study.id:
            raise ConfigError(f"This study has no participant {uid[:40]}: the list of participants shows them.")
        row.excluded = reason or None
        details = {"blind": blind_in(session, study)}
        audit(session, store, study.id, "exclude" if reason else "include", details)

    store.run(work)


def payments(store: Store, key: str) -> list[dict[str, str]]:
    """Return the external ids with the outcome and completion code of each, sorted by id and apart from the answers.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> list[dict[str, str]]:
        study, now = opened_in(session, key), store.clock()
        people = (ExternalId.study_id == study.row.id, ~Participant.is_bot, ~Participant.is_preview)
        query = select(ExternalId.external_id, Participant).join(Participant).where(*people)
        sorted_by_id = session.execute(query.order_by(ExternalId.external_id))
        found = [(name, status_at(study.design, row, now)) for name, row in sorted_by_id]
        codes = study.design.codes
        return [{"external_id": name, "status": one, "code": getattr(codes, one, "")} for name, one in found]

    return store.read(work)


def _watched(
    person: Participant, answered: Sequence[Trial], pages: Sequence[PageTime], study: Opened, now: float
) -> Watched:
    seen, verdict = judged(person, answered, pages), check_person(person, answered, study.design, pages)
    status, count = status_now(person, study.design, now), len(seen.trials)
    return {
        "participant_uid": person.uid,
        "status": status,
        "phase": person.phase,
        "consented": person.consented is not None,
        "answers": count,
        "progress": 1.0 if status == COMPLETE else count / study.design.after_practice,
        "idle_minutes": None if person.finished else max(0.0, now - person.last_seen) / 60,
        "minutes": None if person.total_s is None else person.total_s / 60,
        "median_rt_ms": median(seen.browser_times_ms) if seen.browser_times_ms else None,
        "catch_right": sum(seen.caught),
        "catch": len(seen.caught),
        "one_side": seen.one_side,
        "checks": verdict.noticed,
        "failed": tuple(verdict.failed),
        "practice_flagged": person.practice_flagged,
        "included": verdict.included,
        "excluded": person.excluded or "",
        "comment": person.comment or "",
    }


def _summary(rows: Sequence[Watched]) -> dict[str, float | int | None]:
    status = Counter(row["status"] for row in rows)
    consented = sum(row["consented"] for row in rows)
    gone = sum(row["consented"] and row["status"] == LEFT for row in rows)
    caught = sum(row["catch"] for row in rows)
    failed = Counter(name for row in rows for name in row["failed"])
    minutes = [row["minutes"] for row in rows if row["status"] == COMPLETE and row["minutes"] is not None]
    times = [row["median_rt_ms"] for row in rows if row["median_rt_ms"] is not None]
    return {
        "started": len(rows),
        "active": status[ACTIVE],
        "complete": status[COMPLETE],
        "left": status[LEFT],
        "drop_out": gone / consented if consented else None,
        "median_minutes": median(minutes) if minutes else None,
        "median_rt_ms": median(times) if times else None,
        "catch_right": sum(row["catch_right"] for row in rows) / caught if caught else None,
        "failed_catch": failed["catch"],
        "failed_attention": failed["attention"],
        "too_fast": failed["too_fast"],
        "same_side": failed["same_side"],
    }
