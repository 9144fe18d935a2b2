"""Where a participant stands: all that a page draws, read in one transaction; and turns of the instructions' pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.study.data.store import Store
from spade_core.study.data.tables import Event, PageTime, Participant, Trial
from spade_core.study.data.writes import write
from spade_core.study.design.schedule import ROUND
from spade_core.study.running.answers import is_given
from spade_core.study.running.person import Person, person_in
from spade_core.study.running.phases import never_shown, plan_of
from spade_core.study.vocabulary import ACTIVE, COMPREHENSION, INSTRUCTIONS, PHASES, PRACTICE, TERMINAL

_READ = "feedback_read_utc"  # among a practice trial's details


@dataclass(frozen=True)
class Standing:
    """A participant as of one moment.

    Attributes:
        who: the person; page: of the instructions, from 0; progress: 0 to 1, which is reached when all is saved.
        trial: the one that waits for an answer; None: nothing is left in this phase.
        said: the answered practice trial whose feedback is still to be read.
        right: how many of the round of practice before were right, where ``trial`` is the first one after it.
        upcoming: the trial planned after the one that is shown, in the same phase: its pictures can be sent ahead.
        begins_block: whether ``trial`` comes after a break, as the first of its block and not of the first block.
        answered: ids of all trials that have an answer, in their order.
        wrong: questions of the comprehension check, as they are put, that the last attempt at it has wrong.
    """

    who: Person
    page: int
    progress: float
    trial: Trial | None
    said: Trial | None
    right: int | None
    upcoming: Trial | None
    begins_block: bool
    answered: list[str]
    wrong: tuple[str, ...] = ()

    @property
    def pauses(self) -> bool:
        """Return whether something comes before the trial: a break, or a word on the practice before it.

        A trial that was given to a browser is past that.
        """
        between = self.said is None and (self.begins_block or self.right is not None)
        return between and self.trial is not None and not is_given(self.trial)


def look(store: Store, key: str, token: str) -> Standing | None:
    """Return where the participant of a token stands, or None where it finds nobody.

    Raises:
        ConfigError: no such study.
    """

    def work(session: Session) -> Standing | None:
        who = person_in(session, key, token)
        return None if who is None else standing_in(session, who)

    return store.read(work)


def standing_in(session: Session, who: Person, plan: Sequence[Trial] | None = None) -> Standing:
    """Return where a person stands, whose row is as it was read, as part of a transaction.

    Args:
        plan: all of the person's trials as they are now, where they were read already.
    """
    phase = who.row.phase
    plan = plan_of(session, who.row) if plan is None else plan
    after_practice = [trial for trial in plan if trial.type != PRACTICE]
    of_phase = [trial for trial in plan if (trial.type == PRACTICE) == (phase == PRACTICE) and PHASES[phase].trials]
    current = next((trial for trial in of_phase if trial.answered is None), None)
    said = _unread(plan)
    shown = said or current
    alike = [trial for trial in plan if shown is not None and (trial.type == PRACTICE) == (shown.type == PRACTICE)]
    later = (trial for trial in alike if shown is not None and trial.index > shown.index and trial.answered is None)
    blocks = [trial.block for trial in after_practice if current is not None and trial.index < current.index]
    return Standing(
        who,
        page_of(session, who) if phase == INSTRUCTIONS else 0,
        _progress(who, after_practice),
        trial=current,
        said=said,
        right=_right_before(plan, current),
        upcoming=next(later, None),
        begins_block=current is not None and bool(blocks) and blocks[-1] < current.block,
        answered=[trial.id for trial in plan if trial.answered is not None],
        wrong=_wrong(session, who) if phase == COMPREHENSION and who.row.comprehension_tries else (),
    )


def _wrong(session: Session, who: Person) -> tuple[str, ...]:
    noted = select(Event.details).where(Event.participant_uid == who.row.uid, Event.kind == COMPREHENSION)
    last = session.scalar(noted.order_by(Event.id.desc()).limit(1)) or {}
    given = zip(who.design.texts.comprehension, last.get("answers", ()), strict=False)
    return tuple(asked.question for asked, answer in given if answer != asked.correct)


def _unread(plan: Sequence[Trial]) -> Trial | None:
    """Return the practice trial that was answered last of all, unless its feedback was read."""
    last = next((trial for trial in reversed(plan) if trial.answered is not None), None)
    if last is None or last.type != PRACTICE or never_shown(last) or _READ in (last.details or {}):
        return None
    return last


def _right_before(plan: Sequence[Trial], current: Trial | None) -> int | None:
    """Return how many answers of the round of practice just before a trial were right; None: there is none."""
    before = [trial for trial in plan if current is not None and trial.index < current.index]
    if current is None or not before or before[-1].type != PRACTICE:
        return None
    number = before[-1].index // ROUND
    in_round = (trial for trial in before if trial.index // ROUND == number)
    return None if current.index // ROUND == number else sum(t.choice == t.reference_side for t in in_round)


def read_feedback(store: Store, who: Person, trial_id: str) -> None:
    """Note that a participant has read what was said of an answered practice trial; a second time changes nothing."""

    def work(session: Session) -> None:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is not None:
            read_feedback_in(session, plan_of(session, row), trial_id, store.clock())

    store.run(work, locks=True)


def read_feedback_in(session: Session, plan: Iterable[Trial], trial_id: str, now: float) -> None:
    """Do the same to a participant's trials in a transaction that has locked the row; ``now``: UTC seconds."""
    trial = next((one for one in plan if one.id == trial_id and one.answered is not None), None)
    if trial is not None and _READ not in (trial.details or {}):
        write(session, trial, details={**(trial.details or {}), _READ: now})


def _progress(who: Person, after_practice: Sequence[Trial]) -> float:
    if who.row.status in TERMINAL:
        return 1.0
    done = sum(trial.answered is not None for trial in after_practice)
    order = list(PHASES)
    before = order.index(who.row.phase) / order.index("main")
    return round(0.1 * min(before, 1.0) + 0.85 * (done / len(after_practice) if after_practice else 0.0), 3)


def page_of(session: Session, who: Person) -> int:
    """Return the page of the instructions that a participant reads, from 0."""
    turned = select(PageTime.part).where(PageTime.participant_uid == who.row.uid, PageTime.page == INSTRUCTIONS)
    shown = session.scalar(turned.order_by(PageTime.id.desc()).limit(1)) or 1
    return min(shown, len(who.design.texts.instructions)) - 1


def turn_page(store: Store, who: Person, page: int) -> int:
    """Note that a participant goes to a page, from 0, forward or back; return the page that they are at afterwards.

    A page that the design does not have, the same page once more, and a turn outside the instructions change nothing.
    """

    def work(session: Session) -> int:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        before = page_of(session, who)
        reading = row is not None and row.status == ACTIVE and row.phase == INSTRUCTIONS
        if row is None or not reading or page == before or not 0 <= page < len(who.design.texts.instructions):
            return before
        session.add(PageTime(participant_uid=row.uid, page=INSTRUCTIONS, part=page + 1, at=store.clock()))
        row.last_seen = store.clock()
        return page

    return store.run(work)
