"""Whole databases into files and back, by the engines' own means.

SQLite: its backup interface, since a copy of an open file lacks what is still in the write-ahead log. PostgreSQL:
``pg_dump`` and ``pg_restore``; the password travels in the environment, where no list of processes shows it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from spade_core.errors import ConfigError
from spade_core.study.data.address import sqlite_file

_SQLITE_HEAD, _POSTGRES_HEAD = b"SQLite format 3\0", b"PGDMP"


class NotABackupError(ConfigError):
    """A file is no backup of a study database, or it is damaged."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} is no backup of a study database, or it is damaged: choose a file that “study backup” wrote."
        )


def dump(url: URL, out: Path) -> None:
    """Write the whole database into a new file that only its owner may read.

    Raises:
        ConfigError: the file exists or cannot be written; ``pg_dump`` is missing or fails.
    """
    file = sqlite_file(url)
    program = None if file else _program("pg_dump")
    try:
        os.close(os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise ConfigError(f"{out} exists: give the backup another name.") from None
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): choose another place.") from error
    try:
        if program is None:
            with closing(sqlite3.connect(str(file))) as source, closing(sqlite3.connect(out)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")  # one file, complete without a log beside it
        else:
            _postgres(program, url, ["--format=custom", "--no-owner", f"--file={out}"])
    except BaseException:
        out.unlink(missing_ok=True)  # half a backup must not look like one
        raise


def kind_of(file: Path) -> str:
    """Return ``sqlite`` or ``postgresql``: which engine wrote a backup.

    Raises:
        NotABackupError: neither wrote it; ConfigError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}): choose another file.") from error
    if head == _SQLITE_HEAD:
        return "sqlite"
    if head.startswith(_POSTGRES_HEAD):
        return "postgresql"
    raise NotABackupError(file)


def open_copy(file: Path, copy: Path) -> None:
    """Copy a SQLite backup and check that the copy is whole.

    Raises:
        NotABackupError: it is damaged.
    """
    shutil.copyfile(file, copy)
    try:
        with closing(sqlite3.connect(copy)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        sound = False
    if not sound:
        raise NotABackupError(file)


def load_dump(file: Path, url: URL) -> None:
    """Load a dump of PostgreSQL into an empty database.

    Raises:
        ConfigError: ``pg_restore`` is missing or fails.
    """
    program = _program("pg_restore")
    _postgres(program, url, ["--no-owner", "--no-privileges", "--exit-on-error", str(file)], connect="--dbname=")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigError(
            f"PostgreSQL's program {name} is missing, and there is no backup without it: install PostgreSQL's client."
        )
    return found


def _postgres(program: str, url: URL, options: list[str], *, connect: str = "") -> None:
    query = {name: value for name, value in url.query.items() if name != "password"}
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query).render_as_string()
    password = url.password or url.query.get("password")
    secret = {"PGPASSWORD": str(password)} if password else {}
    command, env, quiet = [program, *options, connect + shown], {**os.environ, **secret}, subprocess.DEVNULL
    done = subprocess.run(command, env=env, stdin=quiet, capture_output=True, text=True, check=False)  # noqa: S603 - the program found above
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise ConfigError(f"{Path(program).name} failed ({said[0][:300]}): mend this and try again.")
