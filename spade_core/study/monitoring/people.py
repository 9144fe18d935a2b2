"""What an experimenter sees of participants while a study runs, and what may be decided about them.

Nothing here says which condition somebody saw or whether a main trial was answered as the reference. To exclude
somebody from the analysis is one thing, payment another: payment follows the completion code alone, and its list is not
sorted like the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, audit, blind_in, find, opened_in
from spade_core.study.data.tables import ExternalId, PageTime, Participant, Study, Trial
from spade_core.study.monitoring.checks import check_person
from spade_core.study.monitoring.status import LEFT, status_in, status_now
from spade_core.study.running.phases import never_shown, read_in_time

REASON_LENGTH = 200
REGION_CHOICES = ("region_1", "region_2")


@dataclass(frozen=True)
class Monitor:
    """A study at one moment.

    Attributes:
        status: of :func:`spade_core.study.monitoring.status.status_of`; bots: whether the rest is about bots, else
            about people.
        rows: one a participant, the newest first; summary: numbers over them, None where there is nothing to count;
        left_at: phase -> how many left there.
    """

    status: dict[str, Any]
    bots: bool
    rows: list[dict[str, Any]]
    summary: dict[str, float | int | None]
    left_at: dict[str, int]


def monitor(store: Store, key: str, *, bots: bool | None = None) -> Monitor:
    """Return how a study goes, all of it at one moment.

    Args:
        bots: about bots, or about people; None: about bots where there is nobody else.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> tuple[Opened, dict[str, Any], bool, list[Participant], list[Trial], list[PageTime]]:
        study = opened_in(session, key)
        status = status_in(session, study, now)
        about_bots = bool(status["bots"]) and not status["people"] if bots is None else bots
        mine = (
            Participant.study_id == study.row.id, Participant.is_bot.is_(about_bots), Participant.is_preview.is_(False),
        )  # fmt: skip
        people = select(Participant).where(*mine).order_by(Participant.started.desc(), Participant.uid)
        answers = select(Trial).join(Participant).where(*mine, Trial.answered.is_not(None)).order_by(Trial.index)
        pages = select(PageTime).join(Participant).where(*mine).order_by(PageTime.id)
        found, trials, times = (session.scalars(query).all() for query in (people, answers, pages))
        return study, status, about_bots, list(found), list(trials), list(times)

    now = store.clock()
    study, status, about_bots, found, trials, pages = read_in_time(store, key, work)
    by_person: dict[str, list[Trial]] = {}
    read: dict[str, list[PageTime]] = {}
    for trial in trials:
        by_person.setdefault(trial.participant_uid, []).append(trial)
    for page in pages:
        read.setdefault(page.participant_uid, []).append(page)
    rows = [_row(row, by_person.get(row.uid, []), read.get(row.uid, []), study, now) for row in found]
    if not status["blind"]:  # with one condition a person, the cell tells it
        rows = [{**row, "cell": person.cell} for row, person in zip(rows, found, strict=True)]
    left = Counter(row["phase"] for row in rows if row["status"] == LEFT)
    return Monitor(status, about_bots, rows, _summary(rows), dict(left))


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
        study = find(session, key)
        _participant(session, study, uid).excluded = reason or None
        details = {"blind": blind_in(session, study)}
        audit(session, store, study.id, "exclude" if reason else "include", details)

    store.run(work)


def payments(store: Store, key: str) -> list[dict[str, Any]]:
    """Return the external ids with the outcome and completion code of each, sorted by id and apart from the answers.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> list[dict[str, Any]]:
        study = opened_in(session, key)
        query = select(ExternalId.external_id, Participant.status).join(Participant).where(
            ExternalId.study_id == study.row.id, Participant.is_bot.is_(False), Participant.is_preview.is_(False)
        ).order_by(ExternalId.external_id)  # fmt: skip
        return [
            {"external_id": external_id, "status": status, "code": getattr(study.design.codes, status, "")}
            for external_id, status in session.execute(query)
        ]

    return read_in_time(store, key, work)


def _participant(session: Session, study: Study, uid: str) -> Participant:
    row = session.get(Participant, uid)
    if row is None or row.study_id != study.id:
        raise ConfigError(f"This study has no participant {uid[:40]}: the list of participants shows them.")
    return row


def _row(
    person: Participant, answered: Sequence[Trial], pages: Sequence[PageTime], study: Opened, now: float
) -> dict[str, Any]:
    verdict = check_person(person, answered, study.design, pages)
    status = status_now(person.status, person.last_seen, study.design, now)
    later = [trial for trial in answered if trial.type != "practice" and not never_shown(trial)]
    times = [trial.rt_ms for trial in later if trial.rt_ms is not None and trial.rt_source == "browser"]
    sides = Counter(trial.choice for trial in later if trial.choice in REGION_CHOICES and trial.type != "attention")
    caught = [trial.choice == trial.reference_side for trial in later if trial.type == "catch"]
    return {
        "participant_uid": person.uid, "policy": person.policy, "status": status,
        "phase": person.phase, "consented": person.consented is not None, "answers": len(later),
        "progress": 1.0 if status == "complete" else len(later) / study.design.after_practice,
        "idle_minutes": None if person.finished else max(0.0, now - person.last_seen) / 60,
        "minutes": None if person.finished is None else (person.finished - person.started) / 60,
        "median_rt_ms": median(times) if times else None,
        "catch_right": sum(caught), "catch": len(caught),
        "one_side": max(sides.values()) / sides.total() if sides else None,
        "checks": "; ".join(_told(name, details) for name, details in verdict.failed.items()),
        "failed": tuple(verdict.failed), "practice_flagged": person.practice_flagged,
        "included": verdict.included, "excluded": person.excluded or "", "comment": person.comment or "",
    }  # fmt: skip


def _told(name: str, details: Mapping[str, Any]) -> str:
    """Return a failed check with its details, such as ``catch: 0 of 2 right``."""
    if name == "catch":
        return f"catch: {details['right']} of {details['of']} right"
    if name == "attention":
        return f"attention: {details['followed']} of {details['of']} followed"
    if name == "too_fast":
        return f"too fast: median {details['median_ms']:.0f} ms"
    if name == "same_side":
        return f"same side: {details['share']:.0%} of the decided answers"
    if name == "practice_rounds":
        return f"practice: {details['rounds']} rounds" + (", never passed" if details["never_passed"] else "")
    if name == "total_time":
        return f"total time: {details['minutes']:.1f} minutes"
    if name == "instruction_time":
        return f"instructions: {details['seconds']:.0f} s"
    return name


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, float | int | None]:
    status = Counter(row["status"] for row in rows)
    consented = sum(row["consented"] for row in rows)
    gone = sum(row["consented"] and row["status"] == LEFT for row in rows)
    caught = sum(row["catch"] for row in rows)
    failed = Counter(name for row in rows for name in row["failed"])

    def middle(name: str, of: Sequence[dict[str, Any]]) -> float | None:
        values = [row[name] for row in of if row[name] is not None]
        return median(values) if values else None

    complete = [row for row in rows if row["status"] == "complete"]
    return {
        "started": len(rows), "active": status["active"], "complete": status["complete"], "left": status[LEFT],
        "drop_out": gone / consented if consented else None,
        "median_minutes": middle("minutes", complete), "median_rt_ms": middle("median_rt_ms", rows),
        "catch_right": sum(row["catch_right"] for row in rows) / caught if caught else None,
        "failed_catch": failed["catch"], "failed_attention": failed["attention"],
        "too_fast": failed["too_fast"], "same_side": failed["same_side"],
    }  # fmt: skip
