"""Where a participant stands: all that a page draws, read in one transaction that writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.tables import PageTime, Participant, Trial
from spade_core.study.running.person import Person, person_in
from spade_core.study.vocabulary import IN_TRIALS, INSTRUCTIONS, PHASES, TERMINAL


@dataclass(frozen=True)
class Standing:
    """A participant as of one moment.

    Attributes:
        who: the person; page: of the instructions, from 0; progress: 0 to 1, which is reached when all is saved.
        trial: the one that waits for an answer; None: nothing is left in this phase.
        said: the answered practice trial whose feedback is still to be read.
        upcoming: the trial planned after the one that is shown, in the same phase: its pictures can be sent ahead.
        begins_block: whether ``trial`` comes after a break, as the first of its block and not of the first block.
        answered: ids of all trials that have an answer, in their order.
    """

    who: Person
    page: int
    progress: float
    trial: Trial | None
    said: Trial | None
    upcoming: Trial | None
    begins_block: bool
    answered: list[str]


def look(store: Store, key: str, token: str, *, feedback: str | None = None) -> Standing | None:
    """Return where the participant of a token stands, or None where it finds nobody.

    Args:
        feedback: id of the practice trial whose feedback is still to be read.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> Standing | None:
        who = person_in(session, key, token)
        return None if who is None else _standing(session, who, feedback)

    return store.read(work)


def standing_of(store: Store, who: Person, *, feedback: str | None = None) -> Standing:
    """Return where a person stands, whose row is as it was read."""
    return store.read(lambda session: _standing(session, who, feedback))


def _standing(session: Session, who: Person, feedback: str | None) -> Standing:
    columns = (Trial.id, Trial.index, Trial.block, Trial.type, Trial.answered)
    plan = session.execute(
        select(*columns).where(Trial.participant_uid == who.row.uid).order_by(Trial.index)
    ).all()  # fmt: skip
    in_trials, practice = who.row.phase in IN_TRIALS, who.row.phase == "practice"
    waiting = [trial for trial in plan if in_trials and trial.answered is None and _kind(trial) == practice]
    current = waiting[0] if waiting else None
    said = next((trial for trial in plan if trial.id == feedback), None)
    wanted = {"trial": current, "said": said, "upcoming": _after(plan, said or current)}
    ids = [trial.id for trial in wanted.values() if trial is not None]
    rows = {trial.id: trial for trial in session.scalars(select(Trial).where(Trial.id.in_(ids)))} if ids else {}
    return Standing(
        who, page_of(session, who) if who.row.phase == "instructions" else 0, _progress(who, plan),
        begins_block=current is not None and _begins_block(plan, current),
        answered=[trial.id for trial in plan if trial.answered is not None],
        **{name: None if trial is None else rows[trial.id] for name, trial in wanted.items()},
    )  # fmt: skip


def _kind(trial: Any) -> bool:
    return bool(trial.type == "practice")


def _after(plan: Sequence[Any], shown: Any) -> Any:
    """Return the trial planned after the one that is shown, of its phase and without an answer."""
    if shown is None:
        return None
    later = (trial for trial in plan if trial.index > shown.index and _kind(trial) == _kind(shown))
    return next((trial for trial in later if trial.answered is None), None)


def _begins_block(plan: Sequence[Any], current: Any) -> bool:
    before = [trial.block for trial in plan if trial.index < current.index]
    return not _kind(current) and bool(before) and before[-1] < current.block


def _progress(who: Person, plan: Sequence[Any]) -> float:
    if who.row.status in TERMINAL:
        return 1.0
    later = [trial for trial in plan if not _kind(trial)]
    done = sum(trial.answered is not None for trial in later)
    before = PHASES.index(who.row.phase) / PHASES.index("main")
    return 0.1 * min(before, 1.0) + 0.85 * (done / len(later) if later else 0.0)


def page_of(session: Session, who: Person) -> int:
    """Return the page that a participant reads, from 0."""
    shown = select(PageTime.part).where(
        PageTime.participant_uid == who.row.uid, PageTime.page == INSTRUCTIONS
    ).order_by(PageTime.id.desc()).limit(1)  # fmt: skip
    return min(session.scalar(shown) or 1, len(who.design.texts.instructions)) - 1


def turn_page(store: Store, who: Person, page: int) -> int:
    """Note that a participant goes to a page, from 0, forward or back; return the page that they are at afterwards.

    A page that the design does not have, the same page once more, and a turn outside the instructions change nothing.
    """

    def work(session: Session) -> int:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        before = page_of(session, who)
        reading = row is not None and row.status == "active" and row.phase == INSTRUCTIONS
        if row is None or not reading or page == before or not 0 <= page < len(who.design.texts.instructions):
            return before
        session.add(PageTime(participant_uid=row.uid, page=INSTRUCTIONS, part=page + 1, at=store.clock()))
        row.last_seen = store.clock()
        return page

    return store.run(work)
