"""The trials' own route in a process that is forked in no time, to be killed and started again.

The process mounts what ``app.py`` mounts of the trials (``trial_routes``) in Starlette and uvicorn, without Streamlit's
pages around it: route, turns, transactions and database are those of the product. Its database's clock is the wall
clock and what is added to it: a harder one than the product's own, which does not step while a process lives.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Mapping
from multiprocessing import connection, get_context, parent_process
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from unittest.mock import patch

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from benchmarks.kills.trap import Trap, Watched
from benchmarks.serving import free_port
from spade_core.config import Settings
from spade_core.study.data import store
from spade_core.ui.participant.route import trial_routes

PATIENCE = 60.0  # seconds until it has to listen
_FORK = get_context("fork")


class Server:
    """A server of the trials on this computer, used as a context manager.

    Attributes:
        host: address and port; trap: that it runs into; log: file of what it writes to standard error.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._port, self._environment, self.log = free_port(), dict(environment), log
        self.host, self.trap, self._ahead = f"127.0.0.1:{self._port}", Trap(), RawValue("d", 0.0)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.trap.close()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = _FORK.Process(target=self._serve, daemon=True)
        self._process.start()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.is_alive():
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(0.005)
            else:
                return
        raise RuntimeError(f"the server does not listen: {self.log.read_text()[-2000:]}")

    @property
    def lives(self) -> bool:
        """Return whether its process is there."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self._process.kill()
        self._process.join()

    def step_clock(self, seconds: float) -> None:
        """Turn its clock by so much, or back by it where it would be further from the right time than that."""
        ahead = self._ahead.value + seconds
        self._ahead.value = ahead if abs(ahead) <= abs(seconds) else ahead - 2 * seconds

    def limit_files(self, size: int) -> None:
        """Let it write no file beyond this size, bytes; ``RLIM_INFINITY``: as it likes."""
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid or 0, resource.RLIMIT_FSIZE, (size, most))

    def _serve(self) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(self._environment)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        self.trap.lay()
        app = Starlette(routes=trial_routes(), middleware=[Middleware(Watched, trap=self.trap)])
        with patch.object(store, "open_store", self._open):
            uvicorn.run(app, host="127.0.0.1", port=self._port, log_level="error", lifespan="off", loop="asyncio")

    def _open(self, settings: Settings) -> store.Store:
        return store.Store(
            settings.database_url or f"sqlite:///{settings.data_dir / 'study.sqlite3'}",
            clock=lambda: time.time() + self._ahead.value,
            backups=settings.data_dir / "backups",
        )


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(0)
