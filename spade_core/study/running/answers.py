"""Take an answer: only for the participant's current trial, only allowed values, the first write wins.

What a browser sends is read once, here at the door, as an :class:`Answer`; what it tells besides is kept as far as it
is plain. The server notes on its own when a trial was first given to a browser, since no time of looking is longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened
from spade_core.study.data.tables import Event, Participant, Trial
from spade_core.study.data.writes import write
from spade_core.study.design.design import Design
from spade_core.study.design.questions import Replies, plain, read_replies
from spade_core.study.running.person import Person
from spade_core.study.running.phases import GRACE, after_answer, close_when_over, never_shown, open_trial, plan_of
from spade_core.study.vocabulary import ACTIVE, BROWSER, CONFIDENCE, PHASES, PRACTICE, RELOADED, ChoiceName, RtSource

LONGEST_RT_MS = 24 * 3600 * 1000.0
MARGIN_MS = 2000.0  # by which the clocks of browser and server may differ within a trial
MOST_DETAILS = 200  # entries of a list that comes with an answer
LARGEST = 1e15  # of a number that comes from a browser
REFUSED, MOST_REFUSALS = "refused answer", 200  # an event's kind; so many of one participant are noted
_GIVEN = "given_utc"  # among a trial's details


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value from outside is a number that a database holds, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _plain_list(value: object) -> list[object] | None:
    """Keep the numbers and the resizes of a list, as many as are allowed."""
    if not isinstance(value, list):
        return None
    kept = (one if _is_number(one) else _resize(one) for one in value[:MOST_DETAILS])
    return [one for one in kept if one is not None]


def _resize(value: object) -> dict[str, object] | None:
    sizes = {name: value.get(name) for name in ("ms", "width", "height")} if isinstance(value, Mapping) else {}
    return sizes if sizes and all(map(_is_number, sizes.values())) else None


_Number: TypeAlias = Annotated[int | float | None, BeforeValidator(lambda value: value if _is_number(value) else None)]
_Words: TypeAlias = Annotated[str | None, BeforeValidator(lambda value: value[:80] if isinstance(value, str) else None)]
_List: TypeAlias = Annotated[list[object] | None, BeforeValidator(_plain_list)]


class TrialDetails(BaseModel):
    """What a browser tells with an answer, None where it does not or tells another kind of value.

    Attributes:
        confidence_rt_ms, extra_rt_ms: from the choice to the confidence, and on to the end of the design's questions.
        early_answers: that came before the least viewing time; shown: onsets of the trial in this tab.
        focus_losses: ms from the onset; resizes: ``ms, width, height`` each; width, height: of the window, px.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    confidence_rt_ms: _Number = None
    extra_rt_ms: _Number = None
    input: _Words = None
    early_answers: _Number = None
    focus_losses: _List = None
    resizes: _List = None
    onset_utc: _Words = None
    shown: _Number = None
    width: _Number = None
    height: _Number = None
    dpr: _Number = None

    @property
    def onset_s(self) -> float | None:
        """Return when the picture was exposed by the browser's clock, UTC seconds."""
        try:
            return datetime.fromisoformat(self.onset_utc or "").timestamp()
        except (ValueError, OverflowError, OSError):
            return None


class Answer(BaseModel):
    """An answer whose values are such as some trial could have; :func:`submit` says whether this one does.

    Attributes:
        extra: replies to the design's own questions, by name; details: what the browser tells besides.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    choice: ChoiceName | None = None
    confidence: Annotated[StrictInt, Field(ge=1, le=len(CONFIDENCE))] | None = None
    extra: Mapping[str, object] | None = None
    rt_ms: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    rt_source: RtSource | None = None
    timed_out: StrictBool = False
    details: TrialDetails = TrialDetails()

    @classmethod
    def read(cls, told: Mapping[str, object]) -> Answer | None:
        """Return what came from outside as an answer, or None: it is none."""
        try:
            return cls.model_validate({**told, "details": told})
        except ValidationError:
            return None

    def replies(self, design: Design, trial: Trial) -> Replies | None:
        """Return the replies to the design's questions, or None: they cannot be taken. A time-out has none."""
        return read_replies(() if self.timed_out else design.questions.of(trial.type), self.extra)

    def fits(self, design: Design, trial: Trial) -> bool:
        """Return whether the design allows it; after a time-out there is nothing but the time-out."""
        if self.replies(design, trial) is None:
            return False
        if self.timed_out:
            return design.time_limit_ms is not None and self.choice is None and self.confidence is None
        if self.choice is None or self.rt_source is None or self.rt_ms is None:
            return False
        least = design.min_view_ms if self.rt_source == BROWSER else 0
        most = LONGEST_RT_MS if design.time_limit_ms is None else design.time_limit_ms + MARGIN_MS
        return (self.confidence is not None) == design.confidence and least <= self.rt_ms <= most


Refusal = Literal["foreign", "late", "repeated", "conflicting", "skipping", "impossible", "deleted"]


@dataclass(frozen=True)
class Receipt:
    """What became of an answer.

    Attributes:
        stored: whether the database holds an answer to this trial now, this one or an earlier one: the sender may stop.
        fresh: whether this call wrote it; refusal: why not, in a word; correct: for practice feedback only.
    """

    stored: bool
    fresh: bool
    refusal: Refusal | None = None
    correct: bool | None = None


def submit(store: Store, who: Person, told: Mapping[str, object]) -> Receipt:
    """Store one answer in one transaction and move on.

    Args:
        told: ``trial_id, choice, confidence, extra, rt_ms, rt_source, timed_out`` and what else the trial component
            sends; ``extra`` holds the replies to the design's own questions.

    A repeated answer is acknowledged and changes nothing. A conflicting, skipping, foreign or impossible one is refused
    and noted as an event.
    """

    def work(session: Session) -> Receipt:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is None:
            return Receipt(False, False, "deleted")
        return submit_in(store, session, row, who.study, plan_of(session, row), told)

    return store.run(work, locks=True)


def submit_in(
    store: Store,
    session: Session,
    row: Participant,
    study: Opened,
    plan: Sequence[Trial],
    told: Mapping[str, object],
) -> Receipt:
    """Do the same as part of a transaction that has locked the participant's row, and read the planned trials since."""
    answer, trial_id, design = Answer.read(told), plain(str(told.get("trial_id"))[:32]), study.design
    close_when_over(session, store, row, design, grace=GRACE)
    trial, now = next((one for one in plan if one.id == trial_id), None), store.clock()
    fault = _fault(row, plan, trial, answer, design)
    if trial is not None and answer is not None and fault is None:
        _write(session, trial, answer, design, now)
        write(session, row, last_seen=now)
        after_answer(store, session, row, study, plan)
        return Receipt(True, True, correct=trial.choice == trial.reference_side if trial.type == PRACTICE else None)
    if fault is not None and fault != "repeated":
        _note_refusal(session, row, now, fault, trial_id)
    return Receipt(trial is not None and trial.answered is not None, False, fault)


def _note_refusal(session: Session, row: Participant, now: float, fault: Refusal, trial_id: str) -> None:
    """Note that an answer was refused, unless so many are noted that somebody fills the database with them."""
    noted = select(func.count()).where(Event.participant_uid == row.uid, Event.kind == REFUSED)
    if (session.scalar(noted) or 0) < MOST_REFUSALS:
        details = {"reason": fault, "trial_id": trial_id}
        session.add(Event(participant_uid=row.uid, at=now, kind=REFUSED, details=details))


def _fault(
    row: Participant, plan: Sequence[Trial], trial: Trial | None, answer: Answer | None, design: Design
) -> Refusal | None:
    """Return why an answer cannot be taken, or None.

    Args:
        trial: of this participant; None: it is somebody else's, or there is none.
    """
    if trial is None:
        return "foreign"
    if trial.answered is not None:
        if never_shown(trial):
            return "late"
        before = (trial.choice, trial.confidence, trial.extra or {})
        same = answer is not None and before == (answer.choice, answer.confidence, answer.replies(design, trial))
        return "repeated" if same else "conflicting"
    current = open_trial(plan, row)
    if row.status != ACTIVE or not PHASES[row.phase].trials or current is None or current.id != trial.id:
        return "skipping"
    return None if answer is not None and answer.fits(design, trial) else "impossible"


def _write(session: Session, trial: Trial, answer: Answer, design: Design, now: float) -> None:
    # After a reload it is no time of looking, whoever measured it; nor is one that is longer than the trial was there.
    # No answer is refused for that: the clocks may be wrong, and the person has answered.
    passed = elapsed_ms(trial, now)
    wrong = (answer.details.shown or 0) > 1 or (passed is not None and (answer.rt_ms or 0) > passed + MARGIN_MS)
    write(
        session,
        trial,
        answered=now,
        timed_out=answer.timed_out,
        choice=answer.choice,
        confidence=answer.confidence,
        rt_ms=None if answer.timed_out else answer.rt_ms,
        rt_source=RELOADED if wrong and answer.rt_source == BROWSER else answer.rt_source,
        extra=answer.replies(design, trial) or None,
        details={**(trial.details or {}), **answer.details.model_dump(exclude_unset=True)},
    )


def give(store: Store, trial: Trial) -> Trial:
    """Note when a trial is first sent to a browser; later calls change nothing. Return it as stored."""
    if trial.answered is not None or is_given(trial):
        return trial

    def work(session: Session) -> Trial:
        session.get(Participant, trial.participant_uid, with_for_update=True)  # whose lock is that of all trials
        row = session.get(Trial, trial.id)
        if row is None:
            return trial
        give_in(session, row, store.clock())
        return row

    return store.run(work, locks=True)


def give_in(session: Session, trial: Trial, now: float) -> None:
    """Do the same as part of a transaction that has locked the participant's row; ``now``: UTC seconds."""
    if trial.answered is None and not is_given(trial):
        write(session, trial, details={**(trial.details or {}), _GIVEN: now})


def is_given(trial: Trial) -> bool:
    """Return whether a trial was sent to a browser."""
    return _GIVEN in (trial.details or {})


def elapsed_ms(trial: Trial, now: float) -> float | None:
    """Return the time since a trial was first given, ms, or None: it was given without a page.

    It is never negative: another process, before the clock was set back, may have noted a time that is still to come.

    Args:
        now: UTC seconds.
    """
    given = (trial.details or {}).get(_GIVEN)
    return None if given is None else max(0.0, 1000 * (now - given))


def remaining_ms(design: Design, trial: Trial, now: float) -> int | None:
    """Return how much of a trial's time limit is left, ms, or None where the design has no limit.

    Args:
        now: UTC seconds.
    """
    if design.time_limit_ms is None:
        return None
    return max(0, round(design.time_limit_ms - (elapsed_ms(trial, now) or 0.0)))
