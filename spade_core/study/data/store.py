"""The study database: one engine, one way to run a transaction.

SQLite: write-ahead log, foreign keys, full synchronisation, five seconds of patience, and ``BEGIN IMMEDIATE`` for every
transaction that may write, since each of ours decides on what it has read (by default a read opens no transaction at
all, and two writers decide on the same state); one that only reads sees one state and keeps nobody from writing.
Writers of a process take turns at a lock of its own: SQLite lets those who wait ask again and again, which keeps them
waiting longer than the writers before them take.
PostgreSQL: SERIALIZABLE, run again when the server finds a conflict; where many people want the same row at once that
would be most of the runs, and such a transaction locks what it decides on (READ COMMITTED).
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from spade_core.config import Settings
from spade_core.errors import DatabaseError
from spade_core.study.data.address import parse, shown, sqlite_file
from spade_core.study.data.clock import STEADY
from spade_core.study.data.upgrade import bring_up_to_date

logger = logging.getLogger(__name__)

T = TypeVar("T")
UNREACHABLE = (DatabaseError, OperationalError, InterfaceError, PoolTimeout, OSError)
"""What is raised while the database is down, its disk is full, or it is busy for long: time may heal it."""
PATIENCE_MS = 5_000  # SQLite's busy timeout
SAFE = ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", "secure_delete=ON")
PRAGMAS = (f"busy_timeout={PATIENCE_MS}", *SAFE)
APPLICATION = 0x53504144  # “SPAD”, in the header of a SQLite file
READS = "reads"  # execution option of transactions that write nothing
TRIES = 40  # of a transaction that another one disturbed
KEY_TRIES = 5  # of one whose key was taken: the next run sees the other's row, unless the fault is our own
CONFLICTS = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
BUSY = ("database is locked", "database table is locked", "database schema is locked")
_ANYBODY = nullcontext()


class Store:
    """The database of one installation.

    Args:
        url: of SQLAlchemy.
        clock: returns UTC seconds and never steps; tests give their own.
        backups: folder of the backups made before PostgreSQL's tables are upgraded (default: ``backups`` in the data
            folder); SQLite's lie beside its file.
        lasting: False: SQLite does not wait for the disk, for a database that is thrown away anyhow.

    Raises:
        DatabaseError: the database cannot be opened, or its tables are of a newer version.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] = STEADY, backups: Path | None = None, lasting: bool = True
    ) -> None:
        self.clock = clock
        self.backups = backups or Settings.from_environment().data_dir / "backups"
        address = parse(url)
        try:
            self.engine = _engine(address, PRAGMAS if lasting else (*PRAGMAS, "synchronous=OFF"))
            file = sqlite_file(self.engine.url)
            self._locking = self.engine if file else self.engine.execution_options(isolation_level="READ COMMITTED")
            self._turns: AbstractContextManager[object] = threading.Lock() if file else _ANYBODY
            self._reading = self.engine.execution_options(**{READS: True, "postgresql_readonly": True})
            bring_up_to_date(self.engine, self.run, now=self.clock(), backups=self.backups)
        except (DBAPIError, ImportError, OSError) as error:
            logger.info("opening the study database failed: %s", type(error).__name__)
            said = [*str(getattr(error, "orig", None) or error).splitlines(), type(error).__name__]
            raise DatabaseError(
                f"The study database {shown(address)} cannot be opened ({said[0]}): correct SPADE_DATABASE_URL "
                "or SPADE_DATA_DIR."
            ) from error

    @property
    def file(self) -> Path | None:
        """Return SQLite's file; None: PostgreSQL."""
        return sqlite_file(self.engine.url)

    def run(self, work: Callable[[Session], T], *, locks: bool = False) -> T:
        """Run ``work`` in one transaction and return what it returns; a disturbed one is run again.

        Args:
            work: takes the session; called again after a conflict, so it must not act outside the database.
            locks: whether ``work`` locks the rows that it decides on before it reads anything else: others wait for
                it, and nobody is disturbed.

        Raises:
            DatabaseError: the database stayed busy.
        """
        return self._repeated(self._locking if locks else self.engine, work, self._turns)

    def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` on one state of the database and return what it returns; it cannot write.

        Writers go on meanwhile. Everything that must fit together belongs into one such transaction.

        Raises:
            DatabaseError: the database stayed busy.
        """
        return self._repeated(self._reading, work)

    def _repeated(
        self, engine: Engine, work: Callable[[Session], T], turns: AbstractContextManager[object] = _ANYBODY
    ) -> T:
        busy: Exception | None = None
        for attempt in range(TRIES):
            try:
                with turns, Session(engine, expire_on_commit=False) as session, session.begin():
                    return work(session)
            except PoolTimeout as error:
                busy = error
            except DBAPIError as error:
                if not _again(error, attempt):
                    raise
                busy = error
            time.sleep(secrets.SystemRandom().uniform(0, 0.02 * 2 ** min(attempt, 4)))  # parts two writers
        raise DatabaseError("The study database stayed busy: try again in a moment.") from busy

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(settings: Settings) -> Store:
    """Return the installation's database: ``SPADE_DATABASE_URL``, or a SQLite file in the data folder."""
    backups = settings.data_dir / "backups"
    if settings.database_url:
        return Store(settings.database_url, backups=backups)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return Store(f"sqlite:///{settings.data_dir / 'study.sqlite3'}", backups=backups)


def _engine(url: URL, pragmas: Sequence[str]) -> Engine:
    file = sqlite_file(url)
    if file is None:
        return create_engine(url, isolation_level="SERIALIZABLE", pool_pre_ping=True)
    if file.parent.is_dir():
        _create(file)
    if file.is_file() and file.stat().st_size == 0:
        raise DatabaseError(
            f"The study database {file} is an empty file, which a full disk or a broken copy leaves behind: restore a "
            "backup, or delete the file to begin anew."
        )
    engine = create_engine(url, connect_args={"timeout": PATIENCE_MS / 1000})

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = bool(connection.get_execution_options().get(READS, False))
        if connection.info.get(READS) is not reads:  # as it was left by the transaction before
            connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reads else 'OFF'}")
            connection.info[READS] = reads
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _create(file: Path) -> None:
    """Make a database without tables, unless the file is there; nobody ever finds it empty, or half made."""
    if file.exists():
        return
    made = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # for identities; its log inherits this
        with closing(sqlite3.connect(made)) as connection:
            connection.execute(f"PRAGMA application_id={APPLICATION}")  # writes the first page
        with suppress(FileExistsError):
            os.link(made, file)
    finally:
        made.unlink(missing_ok=True)


def _again(error: DBAPIError, attempt: int) -> bool:
    if isinstance(error, IntegrityError):
        return attempt < KEY_TRIES - 1  # two transactions wrote the same key, or the fault is our own
    if not isinstance(error, OperationalError):
        return False
    return getattr(error.orig, "sqlstate", None) in CONFLICTS or any(text in str(error.orig) for text in BUSY)
