"""A participant's way through a study, as a state machine over the database.

Page and bots call the same functions. Every one of them is a single transaction that reads the participant's state,
decides, and writes; called twice with the same input, it changes nothing the second time.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.admission.devices import is_mobile, told
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, find, last_version, opened_in
from spade_core.study.data.tables import Event, ExternalId, Participant, Study, Trial
from spade_core.study.design.design import Design
from spade_core.study.design.questions import plain
from spade_core.study.running.phases import begin_practice, end, go, open_trial, reached, take_cell

logger = logging.getLogger(__name__)

PHASES = ("device", "consent", "instructions", "comprehension", "practice", "main", "debrief")
TERMINAL = ("complete", "declined", "screened_out", "failed", "time_over")
COMPREHENSION_TRIES = 2
ATTENTION_FAILURES = 2  # failed explicit checks that change the completion code; nothing else does
ID_LENGTH = 100
SEEN_EVERY = 30.0  # seconds between two signs of life that are written down for their own sake
MOBILE = "mobile device refused"
ADMITS_PEOPLE, ADMITS_TRIALS = ("open",), ("draft", "open", "paused")  # states that let people, or bots and previews in


@dataclass(frozen=True)
class Entry:
    """What entering gives: the participant, and the token that finds it again (kept by the browser alone)."""

    uid: str
    token: str
    returned: bool


@dataclass(frozen=True)
class Person:
    """A participant and the study, as of one moment."""

    row: Participant
    study: Opened

    @property
    def design(self) -> Design:
        """Return the study's design."""
        return self.study.design

    @property
    def code(self) -> str | None:
        """Return the completion code that the person's status earns."""
        return getattr(self.design.codes, self.row.status) if self.row.status in TERMINAL else None


def enter(
    store: Store,
    key: str,
    *,
    external_id: str | None = None,
    details: Mapping[str, str] | None = None,
    is_bot: bool = False,
    is_preview: bool = False,
    policy: str | None = None,
    seed: str | None = None,
) -> Entry:
    """Begin a participation, or go on with the one that an external id has begun.

    Args:
        external_id: at most 100 printable characters; None: a participation that only its token finds again.
        details: further ids of the recruiting service; seed: 32 hexadecimal digits, None: drawn.

    Raises:
        ConfigError: no such study, a paused or closed one, or an unusable id.
    """
    if external_id is not None and not _usable(external_id):
        raise ConfigError(f"The participant id must have 1 to {ID_LENGTH} letters, digits or signs: check the link.")
    token = secrets.token_hex(16)

    def work(session: Session) -> tuple[str, bool]:
        study = find(session, key)
        known = _known(session, study.id, external_id)
        if known is not None:
            known.resume_sha256, known.last_seen = _sha256(token), store.clock()
            session.add(Event(participant_uid=known.uid, at=store.clock(), kind="entered again"))
            return known.uid, True
        if study.status not in (ADMITS_TRIALS if is_bot or is_preview else ADMITS_PEOPLE):
            raise ConfigError("This study takes no new participants at the moment. Thank you for your interest.")
        row = Participant(
            uid=secrets.token_hex(16), study_id=study.id, is_bot=is_bot, is_preview=is_preview, policy=policy,
            phase="device", status="active", seed=seed or secrets.token_hex(16), resume_sha256=_sha256(token),
            started=store.clock(), last_seen=store.clock(), comprehension_tries=0, practice_round=0,
            practice_flagged=False, native=False,
        )  # fmt: skip
        session.add(row)
        session.flush()
        if external_id is not None:
            session.add(
                ExternalId(
                    participant_uid=row.uid, study_id=study.id, external_id=external_id, details=dict(details or {})
                )
            )
        return row.uid, False

    uid, returned = store.run(work)
    return Entry(uid, token, returned)


def person(store: Store, key: str, token: str) -> Person | None:
    """Return the participant of a token, or None where it finds nobody: a newer tab has taken over."""
    return store.read(lambda session: person_in(session, key, token))


def person_in(session: Session, key: str, token: str) -> Person | None:
    """Return the same as part of a transaction, which must be one that only reads."""
    study = opened_in(session, key)
    row = session.scalar(
        select(Participant).where(Participant.resume_sha256 == _sha256(token), Participant.study_id == study.row.id)
    )
    return None if row is None else Person(row, study)


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


def owns(who: Person, tab: str) -> bool:
    """Return whether no newer tab has taken the participation over."""
    return (who.row.device or {}).get("tab") == tab


def check_device(
    store: Store, who: Person, *, width: int | None, device: Mapping[str, Any], native: bool = False
) -> Person:
    """Record the device and go on to the consent; a too narrow window stays where it is, and may be enlarged.

    A phone or tablet stays there too where the design excludes them, noted once: its owner may come back on a computer.

    Args:
        width: of the window, px; None where it is unknown, which the plain form allows.
        device: what the browser says, see :func:`spade_core.study.admission.devices.told`.
        native: trials as a plain form, an announced choice for screen readers; it is fixed from here on.
    """

    def change(row: Participant, session: Session) -> None:
        row.device = {**(row.device or {}), **told(device), "width": width}
        if who.design.mobile == "excluded" and is_mobile(row.device):
            _note_once(session, row, MOBILE, store.clock())
        elif native or (width or 0) >= who.design.min_width:
            row.native = native if row.phase == "device" else row.native
            go(row, "device", "consent")

    return _changed(store, who, change)


def consent(store: Store, who: Person, *, given: bool) -> Person:
    """Record the decision; a given consent is stored with its version and hash, and takes a cell.

    The cell is the least filled one of people who completed or are still at it; idle starts count no more. Where the
    quota is full the participation ends as ``screened_out``.

    Raises:
        ConfigError: the design was edited since the text was shown: the decision was about another text.
    """

    def change(row: Participant, session: Session) -> None:
        if row.phase != "consent" or row.status != "active":
            return
        stored = session.get(Study, row.study_id)
        if stored is None or stored.design_sha256 != who.study.row.design_sha256:
            raise ConfigError("This study was changed a moment ago: reload the page and read it once more.")
        if not given:
            end(store, row, "declined")
            return
        row.consented, row.consent_version = store.clock(), who.design.version
        row.consent_design_version = last_version(session, row.study_id)
        row.consent_sha256 = who.design.consent_sha256
        take_cell(store, session, row, who.study)

    return _changed(store, who, change)


def finish_instructions(store: Store, who: Person) -> Person:
    """Go on to the comprehension check, or past it where the design asks nothing."""

    def change(row: Participant, session: Session) -> None:
        go(row, "instructions", "comprehension")
        if not who.design.texts.comprehension:
            begin_practice(session, row, who.study)

    return _changed(store, who, change)


def comprehend(store: Store, who: Person, answers: tuple[int, ...]) -> Person:
    """Judge the comprehension check: two attempts, then the participation ends as ``screened_out``."""

    def change(row: Participant, session: Session) -> None:
        if row.phase != "comprehension" or row.status != "active":
            return
        row.comprehension_tries += 1
        if answers == tuple(question.correct for question in who.design.texts.comprehension):
            begin_practice(session, row, who.study)
        elif row.comprehension_tries >= COMPREHENSION_TRIES:
            end(store, row, "screened_out")

    return _changed(store, who, change)


def current_trial(store: Store, who: Person) -> Trial | None:
    """Return the trial that waits for an answer, or None: nothing is left in this phase."""
    return store.read(lambda session: open_trial(session, who.row))


def finish_study(store: Store, who: Person) -> Person:
    """End the participation: ``failed`` after two failed explicit attention checks, ``complete`` otherwise."""

    def change(row: Participant, session: Session) -> None:
        if row.phase == "debrief" and row.status == "active":
            wrong = select(func.count()).where(
                Trial.participant_uid == row.uid, Trial.type == "attention", Trial.required != Trial.choice
            )
            end(store, row, "failed" if (session.scalar(wrong) or 0) >= ATTENTION_FAILURES else "complete")

    return _changed(store, who, change)


def remark(store: Store, who: Person, text: str) -> Person:
    """Keep a comment, at most 2,000 characters."""

    def change(row: Participant, _session: Session) -> None:
        row.comment = plain(text)[:2000] or None

    return _changed(store, who, change)


def _known(session: Session, study_id: str, external_id: str | None) -> Participant | None:
    if external_id is None:
        return None
    return session.scalar(
        select(Participant).join(ExternalId).where(
            ExternalId.study_id == study_id, ExternalId.external_id == external_id
        ).with_for_update()
    )  # fmt: skip


def _usable(external_id: str) -> bool:
    return 0 < len(external_id) <= ID_LENGTH and external_id.isprintable() and external_id.strip() == external_id


def _changed(store: Store, who: Person, change: Any) -> Person:
    """Run ``change(row, session)`` on the participant's present row and return the person afterwards."""

    def work(session: Session) -> Participant:
        row = session.get(Participant, who.row.uid, with_for_update=True)
        if row is None:
            raise ConfigError("This participation was deleted.")
        before = row.phase
        change(row, session)
        if row.phase != before:
            session.add(reached(row, store.clock()))
        row.last_seen = store.clock()
        return row

    return Person(store.run(work), who.study)


def _note_once(session: Session, row: Participant, kind: str, now: float) -> None:
    noted = select(Event.id).where(Event.participant_uid == row.uid, Event.kind == kind)
    if row.status == "active" and session.scalar(noted.limit(1)) is None:
        session.add(Event(participant_uid=row.uid, at=now, kind=kind))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
