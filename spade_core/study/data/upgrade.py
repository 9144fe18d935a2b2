"""Bring a database's tables up to this program's version: one migrator, a backup first, all or nothing."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, inspect, literal, select, text
from sqlalchemy.orm import Session

from spade_core.errors import DatabaseError
from spade_core.study.data import migrations
from spade_core.study.data.address import sqlite_file
from spade_core.study.data.dumps import dump
from spade_core.study.data.tables import Base

logger = logging.getLogger(__name__)

Run = Callable[[Callable[[Session], Any]], Any]
LOCK = 0x5350414445  # PostgreSQL's advisory lock of migrators: “SPADE”
_lock = threading.Lock()


def bring_up_to_date(engine: Engine, run: Run, *, now: float, backups: Path) -> None:
    """Upgrade the tables to the newest version, unless they are of it.

    Whoever comes second waits, and finds the work done. The tables change in one transaction. A database with rows is
    saved first: SQLite's beside its file, PostgreSQL's in ``backups``.

    Args:
        run: runs work in one transaction, repeating a disturbed one; now: UTC seconds.

    Raises:
        DatabaseError: the tables are newer than this program or not its own, or the backup fails.
    """
    if _is_current(run(lambda session: version_of(session.connection()))):
        return
    saved: list[Path] = []  # a repeated transaction makes no second backup

    def climb(session: Session) -> None:
        connection = session.connection()
        version = version_of(connection)
        if _is_current(version):
            return
        if version is not None and not saved and populated(connection):
            saved.append(stamped(engine.url, f"version-{version}", now, backups))
            saved[0].parent.mkdir(parents=True, exist_ok=True)
            dump(engine.url, saved[0])
            logger.info("backup of the study database before its upgrade: %s", saved[0])
        logger.info("upgrading the study database from %s to %s", version or "nothing", migrations.HEAD)
        migrations.upgrade(connection)

    with _lock, _single_migrator(engine):
        run(climb)


def version_of(connection: Connection) -> str | None:
    """Return the version that the tables have; None: there are none.

    Raises:
        DatabaseError: there are tables of our names that no version of this program made.
    """
    names = set(inspect(connection).get_table_names())
    if "alembic_version" in names:
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if version is not None:
            return str(version)
    if names & set(Base.metadata.tables):
        raise DatabaseError(
            "The database holds tables that SPADE Studio did not make: name another one in SPADE_DATABASE_URL or "
            "SPADE_DATA_DIR."
        )
    return None


def check_known(version: str | None, what: str = "The study database") -> None:
    """Refuse tables of a newer version.

    Raises:
        DatabaseError: this program does not know the version.
    """
    if version is not None and version not in migrations.VERSIONS:
        raise DatabaseError(f"{what} was written by a newer version of SPADE Studio: update the program.")


def stamped(url: URL, what: str, now: float, folder: Path) -> Path:
    """Return the name of a backup that the program makes by itself: which database, why, and when (UTC)."""
    when = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = sqlite_file(url) or folder / str(url.database)
    names = (
        stem.with_name(f"{stem.name}.{what}-{when}{extra}.backup") for extra in ("", *map("-{}".format, range(2, 100)))
    )
    return next(name for name in names if not name.exists())


def own_backups(url: URL, folder: Path) -> list[Path]:
    """Return the files whose names are of :func:`stamped`'s making for this database, in their order."""
    stem = sqlite_file(url) or folder / str(url.database)
    made = re.compile(rf"{re.escape(stem.name)}\.(version-\d+|before-restore)-\d{{8}}T\d{{6}}Z(-\d+)?\.backup")
    return sorted(path for path in stem.parent.glob("*.backup") if made.fullmatch(path.name) and path.is_file())


def _is_current(version: str | None) -> bool:
    check_known(version)
    return version == migrations.HEAD


def populated(connection: Connection) -> bool:
    """Return whether any table has a row."""
    names = set(inspect(connection).get_table_names())
    present = [table for table in Base.metadata.sorted_tables if table.name in names]
    return any(connection.scalar(select(literal(1)).select_from(table).limit(1)) for table in present)


@contextmanager
def _single_migrator(engine: Engine) -> Iterator[None]:
    """Let one process at a time migrate; SQLite's ``BEGIN IMMEDIATE`` does so by itself."""
    if engine.dialect.name == "sqlite":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
