"""Delete from backups that exist already whoever has been deleted from the database since.

A deletion does not reach backups by itself: until then they hold the person's answers, though a restore leaves them
out. A changed backup is written anew, in this program's version, and takes the old one's place in one step.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.backups import loaded
from spade_core.study.data.deletion import tombstone_of, unname, wipe
from spade_core.study.data.dumps import NotABackupError, dump, kind_of
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Participant, Tombstone
from spade_core.study.data.upgrade import own_backups

logger = logging.getLogger(__name__)

Stone = tuple[str, str, float]  # uid_sha256, study_id, at


def forget(store: Store, paths: Sequence[str | Path] = ()) -> dict[str, int]:
    """Return how many people each backup has lost.

    Args:
        paths: backups, or folders whose files ending in ``.backup`` are meant; empty: those that the program made of
            this database by itself, which their names tell. One of these that turns out to be something else is logged
            and left as it is.

    Raises:
        ConfigError: a file is no backup, of a newer version or of the other engine's server, or cannot be written;
            backups before it are done.
    """
    stones = store.read(_stones)
    if paths:
        return {str(file): _scrub(store, file, stones) for file in _named(paths)}
    found = {}
    for file in own_backups(store.engine.url, store.backups):
        try:
            if kind_of(file) != store.engine.dialect.name:
                raise NotABackupError(file)
            found[str(file)] = _scrub(store, file, stones)
        except NotABackupError:
            logger.warning("%s is no backup of the study database, whatever its name says: it was left as it is", file)
    return found


def _stones(session: Session) -> list[Stone]:
    rows = session.execute(select(Tombstone.uid_sha256, Tombstone.study_id, Tombstone.at)).all()
    return [(row[0], row[1], row[2]) for row in rows]


def _named(paths: Sequence[str | Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        found.update(dict.fromkeys(sorted(path.glob("*.backup")) if path.is_dir() else [path]))
    return list(found)


def _scrub(store: Store, file: Path, stones: Sequence[Stone]) -> int:
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with loaded(store, file) as source:
            gone = source.run(lambda session: _delete(session, stones))
            if not gone:
                return 0
            wipe(source)
            dump(source.engine.url, fresh)
        os.replace(fresh, file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({error.strerror}): it still holds deleted people.") from error
    finally:
        fresh.unlink(missing_ok=True)
    logger.info("deleted %d people from the backup %s", gone, file)
    return gone


def _delete(session: Session, stones: Sequence[Stone]) -> int:
    """Delete everybody with a tombstone, leave the tombstones in the backup too; return how many were there."""
    known = {stone[0] for stone in stones}
    gone = [uid for uid in session.scalars(select(Participant.uid)) if tombstone_of(uid) in known]
    for uid in gone:
        session.execute(delete(Participant).where(Participant.uid == uid))
    for uid_sha256, study_id, at in stones:
        session.merge(Tombstone(uid_sha256=uid_sha256, study_id=study_id, at=at))
    unname(session, gone)
    return len(gone)
