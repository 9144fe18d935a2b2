"""Take an answer: only for the participant's current trial, only allowed values, the first write wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.tables import Event, Participant, Trial
from spade_core.study.design.design import Design
from spade_core.study.design.questions import Replies, read_replies
from spade_core.study.running.person import Person
from spade_core.study.running.phases import GRACE, after_answer, close_when_over, never_shown, open_trial
from spade_core.study.vocabulary import CHOICES

SOURCES = ("browser", "server")
RELOADED = "reloaded"  # stored in place of “browser”: the person had seen the trial before this onset
LONGEST_RT_MS = 24 * 3600 * 1000.0
MARGIN_MS = 2000.0  # by which the clocks of browser and server may differ within a trial
MOST_DETAILS = 200  # entries of a list that comes with an answer
LARGEST = 1e15  # of a number that comes from a browser
_RESIZE = ("ms", "width", "height")
_DETAILS = (
    "confidence_rt_ms",
    "extra_rt_ms",
    "input",
    "early_answers",
    "focus_losses",
    "resizes",
    "onset_utc",
    "shown",
    "width",
    "height",
    "dpr",
)


@dataclass(frozen=True)
class Receipt:
    """What became of an answer.

    Attributes:
        stored: whether the database holds an answer to this trial now, this one or an earlier one: the sender may stop.
        fresh: whether this call wrote it; refusal: why not, in a word; correct: for practice feedback only.
    """

    stored: bool
    fresh: bool
    refusal: str | None = None
    correct: bool | None = None


def submit(store: Store, who: Person, answer: Mapping[str, Any]) -> Receipt:
    """Store one answer in one transaction and move on.

    Args:
        answer: ``trial_id, choice, confidence, extra, rt_ms, rt_source, timed_out`` and what else the trial component
            sends; ``extra`` holds the replies to the design's own questions.

    A repeated answer is acknowledged and changes nothing. A conflicting, skipping, foreign or impossible one is refused
    and noted as an event.
    """

    def work(session: Session) -> Receipt:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is None:
            return Receipt(False, False, "deleted")
        trial = session.get(Trial, str(answer.get("trial_id"))[:32])
        close_when_over(session, store, row, who.design, grace=GRACE)
        fault = _fault(store, session, row, trial, answer, who)
        if fault is None and trial is not None:
            _write(store, trial, answer, who)
            row.last_seen = store.clock()
            session.flush()
            after_answer(store, session, row, who.study)
            practice = trial.type == "practice"
            return Receipt(True, True, correct=trial.choice == trial.reference_side if practice else None)
        known = trial is not None and trial.participant_uid == row.uid and trial.answered is not None
        if not (known and fault == "repeated"):
            details = {"reason": fault, "trial_id": str(answer.get("trial_id"))[:32]}
            session.add(Event(participant_uid=row.uid, at=store.clock(), kind="refused answer", details=details))
        return Receipt(known, False, fault)

    return store.run(work)


def _fault(
    store: Store, session: Session, row: Participant, trial: Trial | None, answer: Mapping[str, Any], who: Person
) -> str | None:
    """Return in a word why an answer cannot be taken, or None."""
    if trial is None or trial.participant_uid != row.uid:
        return "foreign"
    if trial.answered is not None:
        before = (trial.choice, trial.confidence, trial.extra or {})
        same = before == (answer.get("choice"), answer.get("confidence"), _replies(trial, answer, who))
        return "late" if never_shown(trial) else "repeated" if same else "conflicting"
    current = open_trial(session, row)
    if row.status != "active" or row.phase not in ("practice", "main") or current is None or current.id != trial.id:
        return "skipping"
    if _impossible(answer, who) or _replies(trial, answer, who) is None:
        return "impossible"
    passed = elapsed_ms(trial, store.clock())
    return "impossible" if passed is not None and (answer.get("rt_ms") or 0.0) > passed + MARGIN_MS else None


def _impossible(answer: Mapping[str, Any], who: Person) -> bool:
    """Return whether the design allows no such answer; after a time-out there is nothing but the time-out."""
    design, choice, confidence = who.design, answer.get("choice"), answer.get("confidence")
    if answer.get("timed_out") is True:
        return design.time_limit_ms is None or choice is not None or confidence is not None
    asked = (type(confidence) is int and 1 <= confidence <= 3) if design.confidence else confidence is None
    if choice not in CHOICES or not asked or answer.get("rt_source") not in SOURCES:
        return True
    least = design.min_view_ms if answer["rt_source"] == "browser" else 0
    most = LONGEST_RT_MS if design.time_limit_ms is None else design.time_limit_ms + MARGIN_MS
    rt = answer.get("rt_ms")
    return not (is_number(rt) and least <= rt <= most)


def _replies(trial: Trial, answer: Mapping[str, Any], who: Person) -> Replies | None:
    """Return the replies to the design's questions, or None: they cannot be taken. A time-out comes without any."""
    asked = () if answer.get("timed_out") is True else who.design.questions.of(trial.type)
    return read_replies(asked, answer.get("extra"))


def _write(store: Store, trial: Trial, answer: Mapping[str, Any], who: Person) -> None:
    trial.answered = store.clock()
    trial.choice, trial.confidence = answer.get("choice"), answer.get("confidence")
    trial.timed_out = answer.get("timed_out") is True
    trial.rt_ms = None if trial.timed_out else float(answer["rt_ms"])
    trial.rt_source = _source(answer)
    trial.extra = _replies(trial, answer, who) or None
    kept = {name: _short(answer[name]) for name in _DETAILS if name in answer}
    trial.details = {**(trial.details or {}), **kept}


def _source(answer: Mapping[str, Any]) -> str | None:
    """Return where the response time comes from; after a reload it is no time of looking, whoever measured it."""
    source, onsets = answer.get("rt_source"), answer.get("shown")
    if source == "browser" and is_number(onsets) and onsets > 1:
        return RELOADED
    return source if source in SOURCES else None


def _short(value: Any) -> Any:
    """Keep what comes from a browser small and plain: numbers and resizes in lists, short texts."""
    if isinstance(value, list):
        return [entry for entry in map(_entry, value[:MOST_DETAILS]) if entry is not None]
    return value if value is None or isinstance(value, bool) or is_number(value) else str(value)[:80]


def _entry(value: Any) -> Any:
    """Return a number, a resize (``ms, width, height``), or None for anything else."""
    if isinstance(value, Mapping):
        return {name: value[name] for name in _RESIZE} if all(is_number(value.get(name)) for name in _RESIZE) else None
    return value if is_number(value) else None


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value from outside is a number that a database holds, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST


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
