"""Who takes part: entering, coming back, and which of several tabs goes on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, find, opened_in
from spade_core.study.data.tables import Event, ExternalId, Participant, text_sha256
from spade_core.study.design.design import Design
from spade_core.study.vocabulary import ACTIVE, PHASES, STATES, TERMINAL

ID_LENGTH = 100


@dataclass(frozen=True)
class Participation:
    """What entering gives: whose it is, and the token that finds it again (kept by the browser alone)."""

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
) -> Participation:
    """Begin a participation, or go on with the one that an external id has begun.

    Args:
        external_id: at most 100 printable characters; None: a participation that only its token finds again.
        details: further ids of the recruiting service; seed: 32 hexadecimal digits, None: drawn.

    Raises:
        ConfigError: no such study, one that takes nobody new, or an unusable id.
    """
    printable = external_id is None or (external_id.isprintable() and external_id.strip() == external_id)
    if external_id is not None and not (printable and 0 < len(external_id) <= ID_LENGTH):
        raise ConfigError(f"The participant id must have 1 to {ID_LENGTH} letters, digits or signs: check the link.")
    token = secrets.token_hex(16)

    def work(session: Session) -> Participation:
        study = find(session, key)
        named = (ExternalId.study_id == study.id, ExternalId.external_id == external_id)
        mine = select(Participant).join(ExternalId).where(*named).with_for_update()
        known = None if external_id is None else session.scalar(mine)
        if known is not None:
            known.resume_sha256, known.last_seen = text_sha256(token), store.clock()
            session.add(Event(participant_uid=known.uid, at=store.clock(), kind="entered again"))
            return Participation(known.uid, token, returned=True)
        state = STATES[study.status]
        if not (state.trials if is_bot or is_preview else state.people):
            raise ConfigError("This study takes no new participants at the moment. Thank you for your interest.")
        uid, now = secrets.token_hex(16), store.clock()
        row = Participant(uid=uid, study_id=study.id, is_bot=is_bot, is_preview=is_preview, policy=policy)
        row.phase, row.status, row.started, row.last_seen = next(iter(PHASES)), ACTIVE, now, now
        row.seed, row.resume_sha256 = seed or secrets.token_hex(16), text_sha256(token)
        session.add(row)
        session.flush()
        if external_id is not None:
            kept = dict(details or {})
            session.add(ExternalId(participant_uid=uid, study_id=study.id, external_id=external_id, details=kept))
        return Participation(uid, token, returned=False)

    return store.run(work)


def person(store: Store, key: str, token: str) -> Person | None:
    """Return the participant of a token, or None where it finds nobody: a newer tab has taken over."""
    return store.read(lambda session: person_in(session, key, token))


def person_in(session: Session, key: str, token: str) -> Person | None:
    """Return the same as part of a transaction, which must be one that only reads."""
    study = opened_in(session, key)
    row = session.scalar(
        select(Participant).where(Participant.resume_sha256 == text_sha256(token), Participant.study_id == study.row.id)
    )
    return None if row is None else Person(row, study)


def owns(who: Person, tab: str) -> bool:
    """Return whether no newer tab has taken the participation over."""
    return (who.row.device or {}).get("tab") == tab
