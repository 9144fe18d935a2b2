"""Put a backup in the database's place; whoever was deleted since stays deleted.

The backup is loaded beside the database, brought up to this program's version, and copied over row by row in one
transaction, under which a running server sees the old state or the new one. So tombstones apply before anybody can see
the rows, and a SQLite backup may also fill a PostgreSQL database.
"""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, NullPool, Table, create_engine, delete, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.data.deletion import tombstone_of, unname, wipe
from spade_core.study.data.dumps import NotABackupError, dump, kind_of, load_dump, open_copy
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Audit, BarredId, Base, Details, Participant, Tombstone
from spade_core.study.data.upgrade import check_known, own_backups, populated, stamped, version_of

logger = logging.getLogger(__name__)

BATCH = 1000  # rows in memory at once


def restore(store: Store, file: str | Path) -> Path | None:
    """Replace all rows by a backup's, less those of people whom the present database or the backup knows as deleted.

    The present audit is kept beside the backup's, so that a restore hides nothing that was done.

    Returns:
        Where the present rows were saved first; None: there were none.

    Raises:
        ConfigError: the file is no backup, of a newer version or of the other engine's server; or saving fails.
    """
    file = Path(file)
    with loaded(store, file) as source:
        saved = None
        if store.run(lambda session: populated(session.connection())):
            saved = stamped(store.engine.url, "before-restore", store.clock(), store.backups)
            saved.parent.mkdir(parents=True, exist_ok=True)
            dump(store.engine.url, saved)
        store.run(lambda session: _replace(store, session, source))
    wipe(store)
    logger.info("restored the study database from %s", file)
    return saved


@contextmanager
def loaded(store: Store, file: Path) -> Iterator[Store]:
    """Yield a backup as a database of its own, which is deleted afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spade-restore-")))
        if kind_of(file) == "postgresql":
            url = stack.enter_context(_scratch_database(store))
            load_dump(file, url)
        else:
            url = URL.create("sqlite", database=str(folder / "backup.sqlite3"))
            open_copy(file, folder / "backup.sqlite3")
        _check_version(url, file)
        source = Store(url.render_as_string(hide_password=False), backups=folder)  # nobody needs a backup of the copy
        yield stack.enter_context(closing(source))


def _check_version(url: URL, file: Path) -> None:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        try:
            version = version_of(connection)
        except ConfigError:
            version = None
    if version is None:
        raise NotABackupError(file)
    check_known(version, f"The backup {file}")


@contextmanager
def _scratch_database(store: Store) -> Iterator[URL]:
    if store.file is not None:
        raise ConfigError("This is a backup of PostgreSQL: set SPADE_DATABASE_URL to the database that it shall fill.")
    name = f"spade_restore_{secrets.token_hex(8)}"
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.execute(text(f"CREATE DATABASE {name}"))
        except DBAPIError as error:
            raise ConfigError(
                "Restoring needs a second database for a moment, and the server refuses to create one: give the "
                "database's user the right CREATEDB."
            ) from error
        try:
            yield store.engine.url.set(database=name)
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _replace(store: Store, session: Session, source: Store) -> None:
    connection = session.connection()
    stones, audit = _rows(connection, Tombstone), _rows(connection, Audit)
    barred = _rows(connection, BarredId)
    tables = Base.metadata.sorted_tables
    for table in reversed(tables):
        connection.execute(delete(table))
    with source.engine.connect() as other:
        deleted = {row["uid_sha256"] for row in [*stones, *_rows(other, Tombstone)]}
        gone = {uid for uid in other.scalars(select(Participant.uid)) if tombstone_of(uid) in deleted}
        for table in tables:
            _copy(other, connection, table, gone)
    _add_missing(connection, Tombstone, stones, ["uid_sha256"])
    _add_missing(connection, BarredId, barred, ["id_hmac"])
    _count_on(connection)
    _add_missing(connection, Audit, audit, ["study_id", "at", "action"])
    unname(session, gone)
    session.add(Audit(at=store.clock(), action="restore", details={"deleted_again": len(gone)}))


def _rows(connection: Connection, of: type[Base]) -> list[Details]:
    return [dict(row) for row in connection.execute(select(of.__table__)).mappings()]


def _copy(source: Connection, target: Connection, table: Table, gone: set[str]) -> None:
    """Copy a table in batches, without the rows of people who are gone."""
    owner = {"participants": "uid"}.get(table.name, "participant_uid")
    found = source.execution_options(yield_per=BATCH).execute(select(table)).mappings()
    for batch in found.partitions(BATCH):
        rows = [dict(row) for row in batch if row.get(owner) not in gone]
        if rows:
            target.execute(insert(table), rows)


def _add_missing(connection: Connection, to: type[Base], rows: Sequence[Details], names: Sequence[str]) -> None:
    """Add the rows that a table lacks, compared by some columns; numbers given by the database are given anew."""
    known = {tuple(row[name] for name in names) for row in _rows(connection, to)}
    fresh = [row for row in rows if tuple(row[name] for name in names) not in known]
    missing = [{name: value for name, value in row.items() if name != "id"} for row in fresh]
    if missing:
        connection.execute(insert(to.__table__), missing)  # type: ignore[arg-type]


def _count_on(connection: Connection) -> None:
    """Let PostgreSQL's counters go on after the copied numbers; SQLite's do by themselves."""
    if connection.dialect.name != "postgresql":
        return
    for table in Base.metadata.sorted_tables:
        if table.autoincrement_column is not None:
            counter = f"pg_get_serial_sequence('{table.name}', 'id')"
            count = f'SELECT setval({counter}, coalesce(max(id), 0) + 1, false) FROM "{table.name}"'  # noqa: S608 - our own names
            connection.execute(text(count))


def backup(store: Store, out: str | Path) -> None:
    """Write a backup: SQLite's own backup of the open database, or ``pg_dump``'s.

    Raises:
        ConfigError: the file exists or cannot be written, or ``pg_dump`` is missing or fails.
    """
    dump(store.engine.url, Path(out))


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
    stones = store.read(lambda session: list(session.scalars(select(Tombstone))))
    if paths:
        folders = [sorted(path.glob("*.backup")) if path.is_dir() else [path] for path in map(Path, paths)]
        named = dict.fromkeys(file for files in folders for file in files)
        return {str(file): _scrub(store, file, stones) for file in named}
    found = {}
    for file in own_backups(store.engine.url, store.backups):
        try:
            if kind_of(file) != store.engine.dialect.name:
                raise NotABackupError(file)
            found[str(file)] = _scrub(store, file, stones)
        except NotABackupError:
            logger.warning("%s is no backup of the study database, whatever its name says: it was left as it is", file)
    return found


def _scrub(store: Store, file: Path, stones: Sequence[Tombstone]) -> int:
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
        raise ConfigError(
            f"{file} cannot be written ({error.strerror}) and holds deleted people: remove it, or let it be written."
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    logger.info("deleted %d people from the backup %s", gone, file)
    return gone


def _delete(session: Session, stones: Sequence[Tombstone]) -> int:
    """Delete everybody with a tombstone, leave the tombstones in the backup too; return how many were there."""
    known = {stone.uid_sha256 for stone in stones}
    gone = [uid for uid in session.scalars(select(Participant.uid)) if tombstone_of(uid) in known]
    for uid in gone:
        session.execute(delete(Participant).where(Participant.uid == uid))
    for stone in stones:
        session.merge(stone)
    unname(session, gone)
    return len(gone)
