"""Deleting one participation for good, withdrawal by its own token, and backups that can be trusted.

A deletion reaches the database and its log, not the backups made before; its tombstone does so when one is restored.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.study.admission.links import id_signer
from spade_core.study.data.store import PATIENCE_MS, Store
from spade_core.study.data.tables import (
    Audit,
    BarredId,
    Base,
    Details,
    Event,
    ExternalId,
    Participant,
    Study,
    Tombstone,
    text_sha256,
)

logger = logging.getLogger(__name__)

BY_ID = "entered by id"  # event of a participation that went on by its id alone
WIPE_TRIES = 5  # each as patient as any transaction


def delete_participant(store: Store, uid: str, *, by: str, key: str | None = None) -> None:
    """Delete a participant with identity, answers, events and page times.

    What is deleted is overwritten, not only unlinked: see :func:`wipe`. The audit keeps that somebody was deleted, when
    and by whom, but not who it was.

    Args:
        by: who acts, for the audit; key: of the study that the participant must be in, None: any.

    Raises:
        ConfigError: nobody has this uid, or nobody in this study.
    """

    def work(session: Session) -> None:
        row = session.get(Participant, uid)
        if row is None or key not in (None, session.get_one(Study, row.study_id).key):
            raise ConfigError(f"There is no participant {uid[:40]}: “study export” lists them.")
        _remove(store, session, row, "delete participant", {"by": by})

    store.run(work)
    wipe(store)


NO_CODE_BY_ID = (
    "You went on by your participant id alone, which others may know, so no withdrawal code is shown here: to have "
    "your data deleted, write to the contact that the study named."
)


def issue_withdrawal(store: Store, uid: str, *, replace: bool = False) -> str:
    """Return a participant's withdrawal token, 32 hexadecimal digits; the database keeps only its hash.

    Args:
        replace: whether a token given before becomes void; without, it is an error to ask twice.

    Raises:
        ConfigError: nobody has this uid, the token was shown before, or the participation went on by its id alone, so
            that whoever asks may be anybody.
    """
    token = secrets.token_hex(16)

    def work(session: Session) -> None:
        row = session.get(Participant, uid, with_for_update=True)
        if row is None:
            raise ConfigError("This participation was deleted.")
        if row.withdrawal_sha256 is not None and not replace:
            raise ConfigError("The withdrawal code was shown before and is not kept: use the one that you noted.")
        _check_owner(session, uid)
        row.withdrawal_sha256 = text_sha256(token)

    store.run(work)
    return token


def _check_owner(session: Session, uid: str) -> None:
    if session.scalar(select(Event.id).where(Event.participant_uid == uid, Event.kind == BY_ID).limit(1)):
        raise ConfigError(NO_CODE_BY_ID)


def withdraw_now(store: Store, uid: str) -> None:
    """Delete the participation of somebody who is at it, as its withdrawal code would; a second time does nothing.

    Raises:
        ConfigError: the participation went on by its id alone, so that whoever asks may be anybody.
    """

    def work(session: Session) -> None:
        row = session.get(Participant, uid, with_for_update=True)
        if row is not None:
            _check_owner(session, uid)
            _bar(store, session, row)
            _remove(store, session, row, "withdrawal")

    store.run(work)
    wipe(store)


def withdraw(store: Store, token: str) -> bool:
    """Delete the participation that a withdrawal token belongs to, without telling anybody whose it was.

    Args:
        token: as typed; spaces, hyphens and capitals do not matter.

    Returns:
        Whether somebody was deleted.
    """
    typed = re.sub(r"[\s-]", "", token).lower()

    def work(session: Session) -> bool:
        row = session.scalar(select(Participant).where(Participant.withdrawal_sha256 == text_sha256(typed)))
        if row is not None:
            _bar(store, session, row)
            _remove(store, session, row, "withdrawal")
        return row is not None

    found = store.run(work)
    if found:
        wipe(store)
    return found


def _bar(store: Store, session: Session, row: Participant) -> None:
    """Keep a keyed hash of the id of somebody who failed a check: deleting one's data is no way to a fresh start."""
    failed = row.status == "failed" or row.practice_flagged or (row.status == "screened_out" and row.cell is not None)
    external = session.scalar(select(ExternalId.external_id).where(ExternalId.participant_uid == row.uid))
    if failed and external is not None:
        kept = id_signer(Settings.from_environment()).fingerprint(row.study_id, external)
        session.merge(BarredId(id_hmac=kept, study_id=row.study_id, at=store.clock()))


def is_barred(session: Session, study_id: str, external_id: str) -> bool:
    """Return whether an id may not begin a study again, as part of a transaction."""
    known = set(session.scalars(select(BarredId.id_hmac).where(BarredId.study_id == study_id)))
    return bool(known) and id_signer(Settings.from_environment()).fingerprint(study_id, external_id) in known


def tombstone_of(uid: str) -> str:
    """Return what a tombstone keeps of a uid: its sha256; a random uid cannot be guessed from it."""
    return text_sha256(uid)


def unname(session: Session, uids: Iterable[str]) -> None:
    """Take uids out of the audit's details."""
    for entry in session.scalars(select(Audit)):
        noted = json.dumps(entry.details)
        for uid in uids:
            noted = noted.replace(uid, "deleted")
        if json.loads(noted) != entry.details:
            entry.details = json.loads(noted)


def wipe(store: Store) -> None:
    """Leave nothing of deleted rows in the database's files.

    SQLite: the file is rewritten without them (``secure_delete`` alone leaves copies of rows that had moved between
    pages) and the write-ahead log emptied, while other connections stay open; a reader that stays in the way is logged,
    and the next call ends the work. PostgreSQL: ``VACUUM``.
    """
    if store.file is None:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in Base.metadata.sorted_tables:
                connection.execute(text(f'VACUUM "{table.name}"'))
        return
    for attempt in range(WIPE_TRIES):
        if _wipe_sqlite(store.file):
            return
        time.sleep(0.1 * attempt)
    logger.warning("deleted rows remain in the write-ahead log for now: another program reads the study database")


def _wipe_sqlite(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE_MS / 1000, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("VACUUM")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        logger.debug("the study database is busy", exc_info=True)
        return False
    return busy == 0


def _remove(store: Store, session: Session, row: Participant, action: str, details: Details | None = None) -> None:
    """Delete a row, what hangs on it (by ON DELETE CASCADE) and its name in the audit; leave a tombstone."""
    uid, study_id = row.uid, row.study_id
    session.expunge(row)
    session.execute(delete(Participant).where(Participant.uid == uid))
    session.merge(Tombstone(uid_sha256=tombstone_of(uid), study_id=study_id, at=store.clock()))
    unname(session, [uid])
    session.add(Audit(study_id=study_id, at=store.clock(), action=action, details=details))
