"""What follows from a step: the next phase, a cell with its planned trials, rounds of practice, the end of the time.

``flow`` and ``answers`` take the steps; all here is part of their transactions. A study may have a time limit: who is
overdue has ended with it for whoever looks, written down or not. So reads take :func:`as_of`, which shows such people
as ended and writes nothing; :func:`close_when_over` writes the same once they act again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, bindparam, false, func, select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened
from spade_core.study.data.tables import PageTime, Participant, Study, Trial, by_person
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import Planned, cells, main_schedule, practice_schedule, seeded
from spade_core.study.vocabulary import (
    ACTIVE,
    COMPLETE,
    COMPREHENSION,
    INSTRUCTIONS,
    LIMITED,
    PHASES,
    PRACTICE,
    TIME_OVER,
)

GRACE = 2.0  # seconds after the end in which an answer that was on its way still counts


_PLAN = select(Trial).where(Trial.participant_uid == bindparam("uid")).order_by(Trial.index)


def plan_of(session: Session, row: Participant) -> list[Trial]:
    """Return all planned trials of a participant, in their order."""
    return list(session.scalars(_PLAN, {"uid": row.uid}))


def open_trial(plan: Iterable[Trial], row: Participant) -> Trial | None:
    """Return the first unanswered trial of a participant's phase."""
    waiting = (trial for trial in plan if trial.answered is None)
    return next((trial for trial in waiting if (trial.type == PRACTICE) == (row.phase == PRACTICE)), None)


def after_answer(store: Store, session: Session, row: Participant, study: Opened, plan: Iterable[Trial]) -> None:
    """Move on where the answer just written was the last one of its phase."""
    if open_trial(plan, row) is not None:
        return
    before = row.phase
    if row.phase == PRACTICE:
        _judge_practice(store, session, row, study)
    else:
        advance(row, "main")
    if row.phase != before:
        session.add(reached(row, store.clock()))


def reached(row: Participant, now: float) -> PageTime:
    """Return the page time of a participant who has just come to a phase; of the instructions it is the first page."""
    return PageTime(participant_uid=row.uid, page=row.phase, part=1 if row.phase == INSTRUCTIONS else None, at=now)


def advance(row: Participant, phase: str) -> None:
    """Let somebody who is in this phase go on to the next one."""
    if row.status == ACTIVE and row.phase == phase:
        order = list(PHASES)
        row.phase = order[order.index(phase) + 1]


def end(row: Participant, status: str, at: float) -> None:
    """End a participation at a time, UTC seconds."""
    row.status, row.finished = status, at


def take_cell(store: Store, session: Session, row: Participant, study: Opened) -> None:
    """Assign the least filled cell; real people, bots and previews are counted apart, so that none takes another's."""
    design, all_cells, now = study.design, cells(study.design, study.stimuli), store.clock()
    still = (Participant.status == ACTIVE) & (Participant.last_seen >= now - 60 * design.expire_minutes)
    taken = (
        select(Participant.cell, func.count())
        .where(Participant.study_id == row.study_id, Participant.uid != row.uid, Participant.cell.is_not(None))
        .where(Participant.is_bot == row.is_bot, Participant.is_preview == row.is_preview)
        .where((Participant.status == COMPLETE) | (still & ~_overdue(design, now)))
    )
    counts = {cell: count for cell, count in session.execute(taken.group_by(Participant.cell)) if cell is not None}
    if sum(counts.values()) >= design.quota and not row.is_preview:
        end(row, "screened_out", now)
        return
    rng = seeded(row.seed)  # breaks ties, repeatable from the stored seed
    least = min(counts.get(number, 0) for number in range(len(all_cells)))
    row.cell = rng.choice([number for number in range(len(all_cells)) if counts.get(number, 0) == least])
    advance(row, "consent")
    _add_trials(session, row, main_schedule(design, study.stimuli, all_cells[row.cell], int(row.seed, 16)))
    if not (row.is_bot or row.is_preview):
        stored = session.get(Study, row.study_id)
        if stored is not None and stored.frozen is None:
            stored.frozen = now


def begin_practice(session: Session, row: Participant, study: Opened) -> None:
    """Go on from the comprehension check to practice, or past it where the design has none."""
    advance(row, COMPREHENSION)
    if study.design.practice:
        _add_practice(session, row, study)
    else:
        advance(row, PRACTICE)


def _judge_practice(store: Store, session: Session, row: Participant, study: Opened) -> None:
    """End practice, repeat it, or after the last round leave or go on flagged."""
    design = study.design
    answered = select(Trial).where(Trial.participant_uid == row.uid, Trial.type == PRACTICE)
    last = session.scalars(answered.order_by(Trial.index.desc()).limit(design.practice))
    passed = sum(trial.choice == trial.reference_side for trial in last) >= design.practice_pass
    row.practice_round += 1
    if not passed and row.practice_round < design.practice_rounds:
        _add_practice(session, row, study)
    elif not passed and design.practice_fail == "leave":
        end(row, "screened_out", store.clock())
    else:
        row.practice_flagged = not passed
        advance(row, PRACTICE)


def _add_practice(session: Session, row: Participant, study: Opened) -> None:
    _add_trials(session, row, practice_schedule(study.design, study.stimuli, row.practice_round, int(row.seed, 16)))


def _add_trials(session: Session, row: Participant, plan: Sequence[Planned]) -> None:
    """Write planned trials; their ids are random and say nothing of what is shown."""
    ids = {trial.index: secrets.token_hex(16) for trial in plan}
    for trial in plan:
        planned = asdict(trial) | {"repeat_of": None if trial.repeat_of is None else ids[trial.repeat_of]}
        session.add(Trial(id=ids[trial.index], participant_uid=row.uid, **planned))


def ends_at(design: Design, row: Participant) -> float | None:
    """Return when a participant's time is over, UTC seconds; None: nothing is running."""
    if design.minutes_limit is None or row.consented is None or row.status != ACTIVE or row.phase not in LIMITED:
        return None
    return row.consented + 60 * design.minutes_limit


def is_over(design: Design, row: Participant, now: float) -> bool:
    """Return whether a participant's time is over at ``now``, UTC seconds, and the participation not ended yet."""
    ends = ends_at(design, row)
    return ends is not None and now >= ends


def _overdue(design: Design, now: float) -> ColumnElement[bool]:
    """Return :func:`is_over` as a condition of a query."""
    if design.minutes_limit is None:
        return false()
    running = (Participant.status == ACTIVE) & Participant.phase.in_(LIMITED)
    return running & (func.coalesce(Participant.consented, now) + 60 * design.minutes_limit <= now)


def status_at(design: Design, row: Participant, now: float) -> str:
    """Return the status of a participation at ``now``, UTC seconds, whether or not its end is written down already."""
    return TIME_OVER if is_over(design, row, now - GRACE) else row.status


def as_of(
    session: Session, study: Opened, now: float, *which: ColumnElement[bool]
) -> tuple[list[Participant], dict[str, list[Trial]]]:
    """Return participants in the order of their starts, and the answered trials of each in their order, for a read.

    Who is overdue has ended with the time. The rows belong to the reader alone: the session knows them no more.

    Args:
        now: UTC seconds; which: conditions on participants.
    """
    mine = (Participant.study_id == study.row.id, *which)
    answered = Trial.answered.is_not(None) | _overdue(study.design, now - GRACE)
    people = list(session.scalars(select(Participant).where(*mine).order_by(Participant.started, Participant.uid)))
    trials = by_person(session.scalars(select(Trial).join(Participant).where(*mine, answered).order_by(Trial.index)))
    for one in (*people, *(trial for found in trials.values() for trial in found)):
        session.expunge(one)
    for row in people:
        if is_over(study.design, row, now - GRACE):
            _close(study.design, row, trials.get(row.uid, ()), now)
    return people, trials


def close_when_over(session: Session, store: Store, row: Participant, design: Design, *, grace: float = 0.0) -> None:
    """End a participation whose time is over: its unanswered trials are timed out.

    Args:
        grace: seconds after the end that still count; negative ones end it earlier.
    """
    if is_over(design, row, store.clock() - grace):
        left = select(Trial).where(Trial.participant_uid == row.uid, Trial.answered.is_(None))
        _close(design, row, session.scalars(left), store.clock())


def _close(design: Design, row: Participant, trials: Iterable[Trial], now: float) -> None:
    """End a participation with its time, however late that is noticed; what was still to come is timed out."""
    at = min(now, ends_at(design, row) or now)
    for trial in trials:
        if trial.answered is None:
            trial.answered, trial.timed_out = at, True
            trial.details = {**(trial.details or {}), TIME_OVER: True}
    end(row, TIME_OVER, at)


def never_shown(trial: Trial) -> bool:
    """Return whether a trial was still to come when the study's time was over: nobody has failed it."""
    return TIME_OVER in (trial.details or {})
