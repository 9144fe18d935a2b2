"""One job: what it is, how far it is, how it ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from weakref import WeakSet

from spade_core.errors import JobError, SpadeError

CANCELLED = "Cancelled."
SMOOTHING = 2.0  # seconds over which the estimate follows a change of pace

Files = dict[str, bytes] | None


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
        return self.state in ("done", "failed", "cancelled")


class Job:
    """One computation and what is known of it; a lane writes, tickets read."""

    def __init__(self, serial: int, key: str, kind: str, payload: Mapping[str, object], owner: str = "") -> None:
        self.serial, self.key, self.kind, self.payload, self.owner = serial, key, kind, payload, owner
        self.tickets: WeakSet[Ticket] = WeakSet()  # a closed session's tickets vanish and no longer count
        self.cancelling = False
        self.files: dict[str, bytes] = {}
        self.error: SpadeError | None = None
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._state, self._fraction, self._note = "queued", 0.0, ""
        self._partials: dict[str, bytes] = {}
        self._started = self._stopped = self._reported = 0.0
        self._expected: float | None = None  # seconds from start to end

    def begin(self) -> None:
        """The job is about to run."""
        with self._lock:
            self._state, self._note = "running", "starting"
            self._started = self._reported = time.monotonic()

    def report(self, fraction: float, note: str) -> None:
        """Note the progress; the estimate follows its pace, smoothed over a few seconds."""
        with self._lock:
            now = time.monotonic()
            self._fraction, self._note = min(1.0, max(self._fraction, fraction)), note
            if self._fraction > 0.02:
                projected = (now - self._started) / self._fraction
                weight = 1.0 if self._expected is None else 1 - math.exp((self._reported - now) / SMOOTHING)
                self._expected = (self._expected or 0.0) * (1 - weight) + projected * weight
            self._reported = now

    def add(self, files: Mapping[str, bytes]) -> None:
        """Add partial results."""
        with self._lock:
            self._partials.update(files)

    def end(self, state: str, note: str, *, files: Files = None, error: SpadeError | None = None) -> None:
        """Settle the job; the first end counts."""
        with self._lock:
            if self.ended.is_set():
                return
            self._state, self._note, self.files, self.error = state, note, files or {}, error
            self._fraction = 1.0 if state == "done" else self._fraction
            self._stopped = time.monotonic()
            self.ended.set()

    def partials(self) -> dict[str, bytes]:
        """Return the partial results so far."""
        with self._lock:
            return dict(self._partials)

    def status(self, position: int) -> Status:
        """Return a consistent view."""
        with self._lock:
            now = self._stopped or time.monotonic()
            elapsed = now - self._started if self._started else 0.0
            running = self._state == "running" and self._expected is not None
            remaining = max(0.0, (self._expected or 0.0) - elapsed) if running else None
            return Status(self._state, self._fraction, self._note, elapsed, remaining, position)


class Ticket:
    """One user's interest in a job; several tickets may share it.

    Hold on to it while the result matters: a job is stopped when a ticket is cancelled and no other living one waits.

    Args:
        position: tells how many jobs come before this one.
        give_up: takes the ticket back, and sets ``given_up`` unless its job has ended.
        owner: the session that holds it.

    Attributes:
        key: content key of the job.
        given_up: whether this ticket was cancelled before its job ended.
    """

    def __init__(
        self, job: Job, position: Callable[[Job], int], give_up: Callable[[Ticket, Job], None], owner: str = ""
    ) -> None:
        self.key, self.owner, self.given_up = job.key, owner, False
        self._job, self._position, self._give_up = job, position, give_up
        job.tickets.add(self)

    @property
    def error(self) -> SpadeError | None:
        """Why there is no result, in the error's own type."""
        return JobError(CANCELLED) if self.given_up else self._job.error

    def status(self) -> Status:
        """Return how the job stands now; ``cancelled`` once this ticket was, even if others still wait for the job."""
        status = self._job.status(self._position(self._job))
        if not self.given_up:
            return status
        return Status("cancelled", status.fraction, CANCELLED, status.elapsed, None, 0)

    def partials(self) -> dict[str, bytes]:
        """Return the files that are ready so far."""
        return self._job.partials()

    def wait(self, timeout: float | None = None) -> Status:
        """Wait until the job is finished or the time (seconds) is over."""
        if not self.given_up:
            self._job.ended.wait(timeout)
        return self.status()

    def result(self) -> dict[str, bytes]:
        """Return the files of a finished job.

        Raises:
            SpadeError: the job's own error; a JobError if it was cancelled or is not finished.
        """
        error = self.error
        if error is not None:
            raise type(error)(str(error))
        if not self._job.ended.is_set():
            raise JobError("The computation is not finished: wait for it.")
        return dict(self._job.files)

    def cancel(self) -> None:
        """Give up; the job is stopped once nobody else waits for it."""
        self._give_up(self, self._job)
