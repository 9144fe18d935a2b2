"""Heavy work outside the page process: progress, cancel, a bounded queue, and results kept by content.

A server has one :class:`JobManager`. It runs one job at a time in a worker subprocess and keeps a second, warm worker in
reserve: where a job does not answer a cancel in time, its worker is killed and the reserve takes over at once. Requests
with the same content share one job and one result.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spade_core.config import Settings
from spade_core.errors import JobError
from spade_core.images import Picture
from spade_core.store import ResultStore, keep_file
from spade_core.worker import DEFAULT_TASKS, Runner

__all__ = ["JobManager", "Status", "Ticket", "code_version", "job_key", "manager"]

logger = logging.getLogger(__name__)

GRACE = 0.7  # seconds a job has to answer a cancel before its worker is killed
POLL = 0.02
IDLE = 0.25
FINISHED = ("done", "failed", "cancelled")
PICTURE_BYTES = 2**29
DIED = "The computation was stopped: its process ended, perhaps out of memory; take fewer views or a smaller model."


@cache
def code_version() -> str:
    """Return the sha256 over the library's sources, without the user interface: results of other code are not reused."""
    found = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        if "ui" not in file.relative_to(root).parts:
            found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def job_key(kind: str, payload: Mapping[str, Any]) -> str:
    """Return the content key of a request: kind, payload and code. Where the picture lies is not part of it."""
    content = {name: value for name, value in payload.items() if name != "picture"}
    picture = payload.get("picture")
    if picture:
        content["picture"] = {name: value for name, value in picture.items() if name != "path"}
    text = json.dumps([kind, content, code_version()], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Status:
    """How a job stands.

    Attributes:
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        fraction: done, 0 to 1; note: what is going on, or the error.
        elapsed, remaining: seconds; remaining is an estimate, None where there is none yet.
        position: jobs that come first, 0 for the running one.
    """

    state: str
    fraction: float
    note: str
    elapsed: float
    remaining: float | None
    position: int

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINISHED


@dataclass(eq=False)
class _Entry:
    key: str
    kind: str
    payload: Mapping[str, Any]
    state: str = "queued"
    fraction: float = 0.0
    note: str = ""
    started: float = 0.0
    ended: float = 0.0
    interested: int = 0
    cancelled_at: float | None = None
    partials: dict[str, bytes] = field(default_factory=dict)
    finished: threading.Event = field(default_factory=threading.Event)


class Ticket:
    """One user's interest in a job; several tickets may share it."""

    def __init__(self, manager: JobManager, entry: _Entry) -> None:
        self._manager, self._entry = manager, entry
        self._given_up = False

    @property
    def key(self) -> str:
        """Content key of the job."""
        return self._entry.key

    def status(self) -> Status:
        """Return how the job stands now."""
        entry = self._entry
        elapsed = (entry.ended or time.monotonic()) - entry.started if entry.started else 0.0
        remaining = elapsed * (1 - entry.fraction) / entry.fraction if entry.fraction > 0.05 else None
        position = self._manager.position(entry)
        return Status(entry.state, entry.fraction, entry.note, elapsed, remaining, position)

    def partials(self) -> dict[str, bytes]:
        """Return the files that are ready so far."""
        return dict(self._entry.partials)

    def wait(self, timeout: float | None = None) -> Status:
        """Wait until the job is finished or the time is over."""
        self._entry.finished.wait(timeout)
        return self.status()

    def result(self) -> dict[str, bytes]:
        """Return the files of a finished job.

        Raises:
            JobError: it failed, was cancelled, or is not finished.
        """
        files = self._manager.store.get(self.key) if self._entry.state == "done" else None
        if files is None:
            raise JobError(self._entry.note or f"The job is {self._entry.state}: start it again.")
        return files

    def cancel(self) -> None:
        """Give up; the job is stopped once nobody else waits for it."""
        if not self._given_up:
            self._given_up = True
            self._manager.give_up(self._entry)


class _Process:
    """A worker subprocess and the channel to it."""

    def __init__(self, device: str, tasks: str) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "spade_core.worker", "--channel", str(theirs.fileno())]
        self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, "--device", device, "--tasks", tasks],
            pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self.channel = Connection(ours.detach())

    def send(self, message: tuple) -> None:
        self.channel.send(message)

    def kill(self) -> None:
        self.process.kill()
        self.channel.close()
        self.process.wait()


class JobManager:
    """Queue, worker and results of one server and device. Safe to use from several threads."""

    def __init__(self, settings: Settings, *, tasks: str = DEFAULT_TASKS) -> None:
        self.settings, self.tasks = settings, tasks
        self.store = ResultStore(settings.data_dir / "results", settings.results_bytes)
        self._entries: dict[str, _Entry] = {}
        self._queue: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._running: _Entry | None = None
        self._closed = self._warm = False
        self._worker: _Process | None = None
        self._reserve: _Process | None = None
        self._inline = settings.jobs_mode == "inline"
        if not self._inline:
            self._worker, self._reserve = self._start(), None
            threading.Thread(target=self._serve, name="spade-jobs", daemon=True).start()

    def shelve(self, picture: Picture, data: bytes | None) -> dict[str, str]:
        """Return how a payload names ``picture``; uploaded ``data`` is kept in a file by its content."""
        path = picture.name
        if data is not None:
            path = str(keep_file(self.settings.data_dir / "pictures", picture.sha256, data, PICTURE_BYTES))
        return {"path": path, "name": picture.name, "sha256": picture.sha256}

    def submit(self, kind: str, payload: Mapping[str, Any]) -> Ticket:
        """Ask for a job; one of the same content that is kept, running or queued is joined.

        Raises:
            JobError: too many jobs wait already.
        """
        key = job_key(kind, payload)
        with self._changed:
            entry = self._entries.get(key)
            if entry is None or entry.state in ("failed", "cancelled") or not self._still_kept(entry):
                entry = self._enter(_Entry(key, kind, payload))
            entry.interested += 1
            self._changed.notify_all()
        if self._inline and entry.state == "queued":
            self._run_inline(entry)
        return Ticket(self, entry)

    def find(self, key: str) -> Ticket | None:
        """Return a ticket of a job that is known or kept, or None."""
        with self._changed:
            entry = self._entries.get(key)
            if entry is None and self.store.get(key) is not None:
                entry = self._remember_kept(_Entry(key, "", {}))
            if entry is not None:
                entry.interested += 1
        return Ticket(self, entry) if entry is not None else None

    def position(self, entry: _Entry) -> int:
        """Return how many jobs come before this one."""
        with self._changed:
            return 1 + self._queue.index(entry) if entry in self._queue else 0

    def give_up(self, entry: _Entry) -> None:
        """One ticket less; without any the job is cancelled."""
        with self._changed:
            entry.interested -= 1
            if entry.interested > 0 or entry.state in FINISHED:
                return
            if entry.state == "queued" and entry in self._queue:
                self._queue.remove(entry)
                self._finish(entry, "cancelled", "Cancelled.")
            else:
                entry.cancelled_at = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the workers; waiting jobs are cancelled."""
        with self._changed:
            self._closed = True
            for entry in self._queue:
                self._finish(entry, "cancelled", "The server is stopping.")
            self._queue.clear()
            self._changed.notify_all()
        for process in (self._worker, self._reserve):
            if process is not None:
                process.kill()

    def _still_kept(self, entry: _Entry) -> bool:
        return entry.state != "done" or self.store.get(entry.key) is not None

    def _enter(self, entry: _Entry) -> _Entry:
        if self.store.get(entry.key) is not None:
            return self._remember_kept(entry)
        if len(self._queue) >= self.settings.queue_length:
            raise JobError(f"{len(self._queue)} jobs are waiting already: try again in a few minutes.")
        self._entries[entry.key] = entry
        if not self._inline:
            self._queue.append(entry)
        return entry

    def _remember_kept(self, entry: _Entry) -> _Entry:
        self._entries[entry.key] = entry
        entry.fraction = 1.0
        self._finish(entry, "done", "found among the kept results")
        return entry

    def _finish(self, entry: _Entry, state: str, note: str) -> None:
        entry.state, entry.note = state, note
        entry.ended = time.monotonic()
        entry.partials = {} if state != "done" else entry.partials
        entry.finished.set()

    def _start(self) -> _Process:
        return _Process(self.settings.device, self.tasks)

    def _serve(self) -> None:
        while not self._closed:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait(IDLE)
                    self._prepare_reserve()
                if self._closed:
                    return
                entry = self._running = self._queue.popleft()
                entry.state, entry.started, entry.note = "running", time.monotonic(), "starting"
            try:
                self._run(entry)
            except (OSError, EOFError, ValueError):
                self._replace_worker(entry, "failed", DIED)
            self._running = None

    def _prepare_reserve(self) -> None:
        """Start the reserve while nothing else is to do, once the worker itself is warm."""
        if self._reserve is None and self._worker is not None and not self._queue and not self._closed:
            try:
                self._warm = self._warm or (self._worker.channel.poll() and self._worker.channel.recv() == ("ready",))
                if self._warm:
                    self._reserve = self._start()
            except (OSError, EOFError):
                self._worker.kill()
                self._worker = self._start()

    def _run(self, entry: _Entry) -> None:
        worker = self._worker
        assert worker is not None  # noqa: S101 - the serving thread always has one
        worker.send(("run", entry.key, entry.kind, dict(entry.payload)))
        asked = False
        while not entry.finished.is_set():
            if worker.channel.poll(POLL):
                self._handle(entry, worker.channel.recv())
            if entry.cancelled_at is not None:
                if not asked:
                    asked = True
                    worker.send(("cancel", entry.key))
                elif time.monotonic() - entry.cancelled_at > GRACE and not entry.finished.is_set():
                    self._replace_worker(entry, "cancelled", "Cancelled.")

    def _handle(self, entry: _Entry, message: tuple) -> None:
        if message[0] == "ready":
            self._warm = True
            return
        if message[1] != entry.key:
            return
        if message[0] == "progress":
            entry.fraction, entry.note = max(entry.fraction, message[2]), message[3]
        elif message[0] == "partial":
            entry.partials.update(message[2])
        elif message[0] == "done":
            self.store.put(entry.key, message[2])
            entry.fraction = 1.0
            self._finish(entry, "done", "done")
        else:
            cancelled = message[0] == "cancelled"
            self._finish(entry, "cancelled" if cancelled else "failed", "Cancelled." if cancelled else message[2])

    def _replace_worker(self, entry: _Entry, state: str, note: str) -> None:
        if self._closed:
            return
        if self._worker is not None:
            self._worker.kill()
        self._worker, self._reserve, self._warm = self._reserve or self._start(), None, False
        self._finish(entry, state, note)

    def _run_inline(self, entry: _Entry) -> None:
        entry.state, entry.started = "running", time.monotonic()
        runner = Runner(self.tasks, self.settings.device, lambda message: self._handle(entry, message))
        runner.run(entry.key, entry.kind, json.loads(json.dumps(entry.payload)))


_MANAGERS: dict[Settings, JobManager] = {}
_LOCK = threading.Lock()


def manager(settings: Settings | None = None) -> JobManager:
    """Return the process's manager for these settings, starting its worker on the first call."""
    settings = settings or Settings.from_environment()
    with _LOCK:
        if settings not in _MANAGERS:
            _MANAGERS[settings] = JobManager(settings)
            atexit.register(_MANAGERS[settings].close)
        return _MANAGERS[settings]
