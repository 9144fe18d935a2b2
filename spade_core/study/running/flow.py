"""The steps of a participant's way through a study: a state machine over the database, whose states are the phases.

``person`` lets somebody in; the steps of this module lead from phase to phase, except that ``answers`` takes the
answers to trials; ``phases`` holds what follows from a step, ``standing`` says where a participant stands afterwards,
and ``trial_view`` what the browser gets of a trial. Page and ``bots`` call the same functions. Every step is a single
transaction that reads the participant's state, decides, and writes; taken twice with the same input, it changes nothing
the second time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.admission.devices import Device, is_mobile
from spade_core.study.data.store import Store
from spade_core.study.data.studies import last_version
from spade_core.study.data.tables import Details, Event, Participant, Study, Trial, text_sha256
from spade_core.study.design.questions import plain
from spade_core.study.running import phases
from spade_core.study.running.person import Person
from spade_core.study.vocabulary import ACTIVE, COMPLETE, COMPREHENSION, INSTRUCTIONS, STOPPED

COMPREHENSION_TRIES = 2
ATTENTION_FAILURES = 2  # failed explicit checks that change the completion code; nothing else does
SEEN_EVERY = 30.0  # seconds between two signs of life that are written down for their own sake
MOBILE = "mobile device refused"


def seen(store: Store, who: Person) -> Person:
    """Note a sign of life, unless the last one is so recent that nothing follows from it."""
    if store.clock() - who.row.last_seen < min(SEEN_EVERY, 6 * who.design.expire_minutes):
        return who
    return _changed(store, who, lambda _row, _session: None)


def claim(store: Store, who: Person, tab: str) -> Person:
    """Let a tab take the participation over; the one before finds out by :func:`owns`."""

    def change(row: Participant, session: Session) -> None:
        before = (row.device or {}).get("tab")
        if before not in (None, tab):
            session.add(Event(participant_uid=row.uid, at=store.clock(), kind="another tab"))
        row.device = {**(row.device or {}), "tab": tab}

    return _changed(store, who, change)


def check_device(store: Store, who: Person, *, width: int | None, device: Device, native: bool = False) -> Person:
    """Record the device and go on to the consent; a too narrow window stays where it is, and may be enlarged.

    A phone or tablet stays there too where the design excludes them, noted once: its owner may come back on a computer.

    Args:
        width: of the window, px; None where it is unknown, which the plain form allows.
        device: what the browser says.
        native: trials as a plain form, an announced choice for screen readers; it is fixed from here on.
    """

    def change(row: Participant, session: Session) -> None:
        row.device = {**(row.device or {}), **device.told(), "width": width}
        if who.design.mobile == "excluded" and is_mobile(device):
            noted = select(Event.id).where(Event.participant_uid == row.uid, Event.kind == MOBILE)
            if row.status == ACTIVE and session.scalar(noted.limit(1)) is None:
                session.add(Event(participant_uid=row.uid, at=store.clock(), kind=MOBILE))
        elif native or (width or 0) >= who.design.min_width:
            row.native = native if row.phase == "device" else row.native
            phases.advance(row, "device")

    return _changed(store, who, change)


def consent(store: Store, who: Person, *, given: bool, withdrawal: str | None = None) -> Person:
    """Record the decision; a given consent is stored with its version and hash, and takes a cell.

    The cell is the least filled one of people who completed or are still at it; idle starts count no more. Where the
    quota is full the participation ends as ``screened_out``.

    Args:
        withdrawal: the code that was shown with the consent, of which the hash is kept.

    Raises:
        ConfigError: the design was edited since the text was shown: the decision was about another text.
    """

    def change(row: Participant, session: Session) -> None:
        if not _at_it(row, "consent"):
            return
        # One after the other: all who come at once want the least filled cell. Entries, which refer to the row, go on.
        stored = session.get(Study, row.study_id, with_for_update={"key_share": True})
        if stored is None or stored.design_sha256 != who.study.row.design_sha256:
            raise ConfigError("This study was changed a moment ago: reload the page and read it once more.")
        if not given:
            phases.end(row, "declined", store.clock())
            return
        row.consented, row.consent_version = store.clock(), who.design.version
        row.consent_design_version = last_version(session, row.study_id)
        row.consent_sha256 = who.design.consent_sha256
        row.withdrawal_sha256 = None if withdrawal is None else text_sha256(withdrawal)
        phases.take_cell(store, session, row, who.study)

    return _changed(store, who, change, locks=True)


def finish_instructions(store: Store, who: Person) -> Person:
    """Go on to the comprehension check, or past it where the design asks nothing."""

    def change(row: Participant, session: Session) -> None:
        phases.advance(row, INSTRUCTIONS)
        if _at_it(row, COMPREHENSION) and not who.design.texts.comprehension:
            phases.begin_practice(session, row, who.study)

    return _changed(store, who, change)


def comprehend(store: Store, who: Person, answers: tuple[int, ...]) -> Person:
    """Judge the comprehension check: two attempts, then the participation ends as ``screened_out``.

    An attempt that fails is noted, so that people can be told which of their answers were wrong.
    """

    def change(row: Participant, session: Session) -> None:
        if not _at_it(row, COMPREHENSION):
            return
        row.comprehension_tries += 1
        if answers == tuple(question.correct for question in who.design.texts.comprehension):
            phases.begin_practice(session, row, who.study)
            return
        details: Details = {"answers": list(answers)}
        session.add(Event(participant_uid=row.uid, at=store.clock(), kind=COMPREHENSION, details=details))
        if row.comprehension_tries >= COMPREHENSION_TRIES:
            phases.end(row, "screened_out", store.clock())

    return _changed(store, who, change)


def current_trial(store: Store, who: Person) -> Trial | None:
    """Return the trial that waits for an answer, or None: nothing is left in this phase."""
    return store.read(lambda session: phases.open_trial(phases.plan_of(session, who.row), who.row))


def finish_study(store: Store, who: Person) -> Person:
    """End the participation: ``failed`` after two failed explicit attention checks, ``complete`` otherwise."""

    return _changed(store, who, partial(_finish, store))


def _finish(store: Store, row: Participant, session: Session) -> None:
    if _at_it(row, "debrief"):
        wrong = select(func.count()).where(
            Trial.participant_uid == row.uid, Trial.type == "attention", Trial.required != Trial.choice
        )
        failed = (session.scalar(wrong) or 0) >= ATTENTION_FAILURES
        phases.end(row, "failed" if failed else COMPLETE, store.clock())


def stop(store: Store, who: Person) -> Person:
    """End the participation early and keep its answers.

    It is ``declined`` before the consent and ``stopped`` afterwards; whoever has answered everything has finished.
    """

    def change(row: Participant, session: Session) -> None:
        _finish(store, row, session)
        if row.status == ACTIVE:
            phases.end(row, STOPPED if row.consented is not None else "declined", store.clock())

    return _changed(store, who, change)


def remark(store: Store, who: Person, text: str) -> Person:
    """Keep a comment, at most 2,000 characters."""

    def change(row: Participant, _session: Session) -> None:
        row.comment = plain(text)[:2000] or None

    return _changed(store, who, change)


def run_out(store: Store, who: Person, *, ahead: float = 0.0) -> Person:
    """End a participation whose time is over and return the person afterwards.

    Args:
        ahead: seconds that a bot's participation would have taken longer than it did.
    """

    def work(session: Session) -> Participant:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is None:
            return who.row
        phases.close_when_over(session, store, row, who.design, grace=-ahead)
        return row

    return Person(store.run(work), who.study)


def _at_it(row: Participant, phase: str) -> bool:
    return row.status == ACTIVE and row.phase == phase


def _changed(
    store: Store, who: Person, change: Callable[[Participant, Session], None], *, locks: bool = False
) -> Person:
    """Run ``change`` on the participant's present row; return the person afterwards. ``locks``: see ``Store.run``."""

    def work(session: Session) -> Participant:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is None:
            raise ConfigError("This participation was deleted.")
        before = row.phase
        change(row, session)
        if row.phase != before:
            session.add(phases.reached(row, store.clock()))
        row.last_seen = store.clock()
        return row

    return Person(store.run(work, locks=locks), who.study)
