"""From one phase to the next: cells, planned trials, practice rounds. Called inside a transaction of ``flow``."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from typing import TypeVar, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, opened_in
from spade_core.study.data.tables import PageTime, Participant, Study, Trial
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import Planned, cells, main_schedule, practice_schedule
from spade_core.study.running.person import Person
from spade_core.study.vocabulary import LIMITED


def open_trial(session: Session, row: Participant) -> Trial | None:
    """Return the first unanswered trial of a participant's phase."""
    waiting = select(Trial).where(
        Trial.participant_uid == row.uid,
        Trial.answered.is_(None),
        (Trial.type == "practice") == (row.phase == "practice"),
    )
    return session.scalar(waiting.order_by(Trial.index).limit(1))


def after_answer(store: Store, session: Session, row: Participant, study: Opened) -> None:
    """Move on where the answer just written was the last one of its phase."""
    if open_trial(session, row) is not None:
        return
    before = row.phase
    if row.phase == "practice":
        judge_practice(store, session, row, study)
    elif row.phase == "main":
        go(row, "main", "debrief")
    if row.phase != before:
        session.add(reached(row, store.clock()))


def reached(row: Participant, now: float) -> PageTime:
    """Return the page time of a participant who has just come to a phase; of the instructions it is the first page."""
    return PageTime(participant_uid=row.uid, page=row.phase, part=1 if row.phase == "instructions" else None, at=now)


def go(row: Participant, before: str, after: str) -> None:
    if row.status == "active" and row.phase == before:
        row.phase = after


def end(store: Store, row: Participant, status: str, *, at: float | None = None) -> None:
    row.status, row.finished = status, store.clock() if at is None else at


def take_cell(store: Store, session: Session, row: Participant, study: Opened) -> None:
    """Assign the least filled cell; real people, bots and previews are counted apart, so that none takes another's."""
    design, all_cells = study.design, cells(study.design, study.stimuli)
    still = (Participant.status == "active") & (Participant.last_seen >= store.clock() - 60 * design.expire_minutes)
    if design.minutes_limit is not None:
        in_time = Participant.consented > store.clock() - 60 * design.minutes_limit
        still &= Participant.phase.not_in(LIMITED) | in_time
    taken = session.execute(
        select(Participant.cell, func.count()).where(
            Participant.study_id == row.study_id, Participant.is_bot == row.is_bot,
            Participant.is_preview == row.is_preview, Participant.cell.is_not(None), Participant.uid != row.uid,
            (Participant.status == "complete") | still,
        ).group_by(Participant.cell)
    ).all()  # fmt: skip
    counts = {cell: count for cell, count in taken if cell is not None}
    if sum(counts.values()) >= design.quota and not row.is_preview:
        end(store, row, "screened_out")
        return
    rng = random.Random(row.seed)  # noqa: S311 - breaks ties, repeatable from the stored seed
    least = min(counts.get(number, 0) for number in range(len(all_cells)))
    row.cell = rng.choice([number for number in range(len(all_cells)) if counts.get(number, 0) == least])
    row.phase = "instructions"
    plan = main_schedule(design, study.stimuli, all_cells[row.cell], int(row.seed, 16))
    _add_trials(session, row, plan)
    if not (row.is_bot or row.is_preview):
        stored = session.get(Study, row.study_id)
        if stored is not None and stored.frozen is None:
            stored.frozen = store.clock()


def begin_practice(session: Session, row: Participant, study: Opened) -> None:
    if study.design.practice == 0:
        row.phase = "main"
        return
    row.phase = "practice"
    _add_trials(session, row, practice_schedule(study.design, study.stimuli, row.practice_round, int(row.seed, 16)))


def judge_practice(store: Store, session: Session, row: Participant, study: Opened) -> None:
    """End practice, repeat it, or after the last round leave or go on flagged."""
    design = study.design
    last = session.scalars(
        select(Trial).where(Trial.participant_uid == row.uid, Trial.type == "practice")
        .order_by(Trial.index.desc()).limit(design.practice)
    ).all()  # fmt: skip
    right = sum(trial.choice == trial.reference_side for trial in last)
    row.practice_round += 1
    if right >= design.practice_pass:
        go(row, "practice", "main")
    elif row.practice_round < design.practice_rounds:
        _add_trials(session, row, practice_schedule(design, study.stimuli, row.practice_round, int(row.seed, 16)))
    elif design.practice_fail == "leave":
        end(store, row, "screened_out")
    else:
        row.practice_flagged = True
        go(row, "practice", "main")


def _add_trials(session: Session, row: Participant, plan: list[Planned]) -> None:
    """Write planned trials; their ids are random and say nothing of what is shown."""
    ids = {trial.index: secrets.token_hex(16) for trial in plan}
    session.add_all(
        Trial(
            id=ids[trial.index], participant_uid=row.uid, index=trial.index, block=trial.block, type=trial.type,
            stimulus_id=trial.stimulus_id, condition=trial.condition, reference_side=trial.reference_side,
            required=trial.required, repeat_of=None if trial.repeat_of is None else ids[trial.repeat_of],
        )
        for trial in plan
    )  # fmt: skip


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
