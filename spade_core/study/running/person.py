"""Who takes part: entering, coming back, and what is known of a person."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened, find, opened_in
from spade_core.study.data.tables import Event, ExternalId, Participant
from spade_core.study.design.design import Design
from spade_core.study.vocabulary import ADMITS_PEOPLE, ADMITS_TRIALS, TERMINAL

ID_LENGTH = 100


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


def owns(who: Person, tab: str) -> bool:
    """Return whether no newer tab has taken the participation over."""
    return (who.row.device or {}).get("tab") == tab


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


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
