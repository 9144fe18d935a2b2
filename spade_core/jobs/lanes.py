"""Where jobs run: in a worker process or, for tests, in the calling thread.

A worker lane is one thread that owns its workers: nobody else starts, feeds or kills them. Beside the working one it
keeps a reserve, started while there is nothing else to do. A cancelled job normally ends at its next report of progress
and leaves the worker warm; one that does not within ``GRACE`` seconds, deep in a single library call, is killed with
its worker, and the reserve goes on at once. After long idleness the reserve ends, and the worker gives back memory.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait

from spade_core import errors
from spade_core.errors import JobError
from spade_core.jobs.fairness import FairQueue, Limits
from spade_core.jobs.job import CANCELLED, Job
from spade_core.jobs.worker import Runner, WorkerProcess
from spade_core.memory import return_freed_memory

logger = logging.getLogger(__name__)

GRACE = 0.7  # seconds a job has to answer a cancel before its worker is killed
REPEATS = 2  # worker and reserve may both have died unnoticed
RESERVE_AFTER = 1.0  # seconds without work before the reserve is started, so that it does not slow a job down
KILLED = "The computation was stopped: its process was killed, probably out of memory; "
KILLED += "take fewer views or a smaller model."
CRASHED = "The computation was stopped: its process ended unexpectedly; run it again, and see the server's log."
NOT_STARTED = "The computation could not begin: its process ended while starting; the server's log has the details."
TOO_LONG = "The computation was stopped: it took longer than the {:.0f} s that this server gives to one; ask for less."
TOO_LARGE = "The computation was stopped: it needed more memory than this server gives to one; "
TOO_LARGE += "take fewer views or a smaller model."
LOOK = 0.5  # seconds between two looks at whether a job keeps within its limits, and whether somebody waits for it
STOPPING = "The server is stopping: run this again once it is back."

Finish = Callable[..., None]  # finish(job, state, *, files=None, error=None)
Watch = Callable[[], None]  # cancels what nobody waits for any more


def deliver(job: Job, message: tuple, finish: Finish) -> bool:
    """Let a worker's message about ``job`` take effect; return whether it was the last."""
    kind, _, *values = message
    if kind == "progress":
        job.report(*values)
    elif kind == "partial":
        job.add(*values)
    elif kind == "done":
        finish(job, "done", files=values[0])
    elif kind == "cancelled":
        finish(job, "cancelled", error=JobError(CANCELLED))
    elif kind == "error":
        name, text = values
        finish(job, "failed", error=getattr(errors, name, JobError)(text))
    return kind in ("done", "cancelled", "error")


class InlineLane:
    """Runs each job in the thread that asked for it; a :class:`WorkerLane` for tests."""

    def __init__(self, tasks: str, device: str, finish: Finish) -> None:
        self._jobs: dict[int, Job] = {}
        self._runner = Runner(tasks, device, lambda message: deliver(self._jobs[message[1]], message, finish))

    def admit(self, job: Job) -> None:
        """Prepare for the job."""
        self._jobs[job.serial] = job

    def start(self, job: Job) -> None:
        """Run the job to its end."""
        job.begin()
        try:
            self._runner.run(job.serial, job.kind, job.payload)
        finally:
            del self._jobs[job.serial]

    def cancel(self, job: Job) -> None:
        """Stop the job at its next report of progress."""
        self._runner.cancel(job.serial)

    def position(self, job: Job) -> int:  # noqa: ARG002 - nothing ever waits
        """Return 0."""
        return 0

    def close(self) -> None:
        """Nothing to stop."""


@dataclass(eq=False)
class _Turn:
    """The job that has the worker."""

    job: Job
    sent: bool = False
    started: bool = False
    repeats: int = 0  # times it was given again, because a worker died idle
    deadline: float | None = None  # when the worker is killed, once a cancel was sent
    since: float = 0.0  # when it was sent
    exceeded: str = ""  # what to say of a limit that it did not keep


class WorkerLane:
    """A bounded and fair queue in front of one worker process.

    ``admit`` is called under the manager's lock, ``start`` outside of it.
    """

    def __init__(self, tasks: str, device: str, finish: Finish, *, limits: Limits, watch: Watch) -> None:
        self._tasks, self._device, self._finish, self._limits, self._watch = tasks, device, finish, limits, watch
        self.worker: WorkerProcess | None = None
        self.reserve: WorkerProcess | None = None
        self._wants_reserve = True
        self._resting = False  # since there was nothing to do for long
        self._idle_since = time.monotonic()
        self._turn: _Turn | None = None
        self._lock = threading.Lock()  # guards the queue, the bell and closed
        self._queue = FairQueue(limits)
        self._closed = self._rung = False
        self._bell, self._button = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._serve, name=f"spade-jobs-{device}", daemon=True)
        self._thread.start()

    def admit(self, job: Job) -> None:
        """Queue the job.

        Raises:
            JobError: the queue or the session's share of it is full, or the server is stopping.
        """
        with self._lock:
            if self._closed:
                raise JobError(STOPPING)
            self._queue.add(job, spare=int(self._turn is None))

    def start(self, job: Job) -> None:  # noqa: ARG002 - the queue knows
        """Have the queue looked at."""
        self._ring()

    def cancel(self, job: Job) -> None:
        """Take the job out of the queue, or off the worker."""
        with self._lock:
            waiting = job in self._queue
            if waiting:
                self._queue.remove(job)
        if waiting:
            self._finish(job, "cancelled", error=JobError(CANCELLED))
        else:
            self._ring()

    def position(self, job: Job) -> int:
        """Return how many jobs come first; 0 for one that is running or finished."""
        with self._lock:
            return self._queue.order().index(job) + (self._turn is not None) if job in self._queue else 0

    def close(self) -> None:
        """End the workers; jobs that run or wait fail with a sentence."""
        with self._lock:
            self._closed = True
        self._ring()
        self._thread.join(3)

    def _ring(self) -> None:
        with self._lock:
            if not self._rung and not self._button.closed:
                self._rung = True
                self._button.send_bytes(b"!")

    # What follows runs in the lane's thread only.

    def _serve(self) -> None:
        try:
            self.worker = self._new_process()
            while not self._closed:
                self._advance()
                processes = [process for process in (self.worker, self.reserve) if process is not None]
                for source in wait([self._bell, *(process.channel for process in processes)], self._patience()):
                    self._hear(source)
        finally:
            with self._lock:
                self._closed = True
                waiting = self._queue.order()
                self._queue = FairQueue(self._limits)
                self._button.close()
            for process in (self.worker, self.reserve):
                if process is not None:
                    process.kill()
            if self._turn is not None:
                waiting.insert(0, self._turn.job)
            for job in waiting:
                self._finish(job, "failed", error=JobError(STOPPING))

    def _new_process(self) -> WorkerProcess:
        return WorkerProcess(self._tasks, self._device)

    def _advance(self) -> None:
        with self._lock:
            if self._turn is None and self._queue:
                self._turn = _Turn(self._queue.take())
                self._turn.job.begin()
                self._wants_reserve, self._resting = self._wants_reserve or self._resting, False
        turn = self._turn
        if turn is not None:
            self._look(turn)
        if turn is None:
            self._idle()
        elif turn.job.cancelling or turn.exceeded:
            self._cancel(turn)
        elif self.worker is None:
            self.worker = self._new_process()
        elif self.worker.ready and not turn.sent:
            turn.sent, turn.since = True, time.monotonic()
            self.worker.send("run", turn.job.serial, turn.job.kind, turn.job.payload)

    def _idle(self) -> None:
        """With nothing to do: start the reserve after a moment, rest after long."""
        if self._resting or self.worker is None or not self.worker.ready:
            return
        seconds = time.monotonic() - self._idle_since
        if seconds >= self._limits.idle:
            self._rest(self.worker)
        elif self._wants_reserve and seconds >= RESERVE_AFTER:
            self._wants_reserve = False
            self.reserve = self._new_process()

    def _rest(self, worker: WorkerProcess) -> None:
        """Give back memory until the next job, after which there will be a reserve again."""
        self._resting, self._wants_reserve = True, False
        if self.reserve is not None:
            self.reserve.kill()
            self.reserve = None
        worker.send("rest")
        return_freed_memory()

    def _look(self, turn: _Turn) -> None:
        """Note a limit that the running job does not keep; cancel what nobody waits for."""
        self._watch()
        if not turn.sent or turn.exceeded or self.worker is None:
            return
        if time.monotonic() - turn.since > self._limits.seconds:
            turn.exceeded = TOO_LONG.format(self._limits.seconds)
        elif self.worker.resident() > self._limits.resident:
            turn.exceeded, turn.deadline = TOO_LARGE, time.monotonic()  # killed at once: it would go on to take memory

    def _cancel(self, turn: _Turn) -> None:
        if not turn.sent:  # a worker that is still starting keeps its head start
            self._end_turn(CANCELLED)
        elif turn.deadline is None:
            turn.deadline = time.monotonic() + GRACE
            if self.worker is not None:
                self.worker.send("cancel", turn.job.serial)
        elif time.monotonic() >= turn.deadline:
            logger.info("a job did not answer its cancel, or took too much memory; its worker is replaced")
            if self.worker is not None:
                self.worker.kill()
            self._promote()
            self._end_turn(turn.exceeded)

    def _patience(self) -> float | None:
        """Return the seconds until there is something to do without being told."""
        now = time.monotonic()
        if self._turn is not None:
            return LOOK if self._turn.deadline is None else min(LOOK, max(0.0, self._turn.deadline - now))
        if self._resting or self.worker is None or not self.worker.ready:
            return None
        due = min(RESERVE_AFTER, self._limits.idle) if self._wants_reserve else self._limits.idle
        return max(0.0, self._idle_since + due - now)

    def _hear(self, source: object) -> None:
        if source is self._bell:
            with self._lock:
                self._bell.recv_bytes()
                self._rung = False
            return
        for process in (self.worker, self.reserve):
            if process is not None and process.channel is source:
                try:
                    message = process.channel.recv()
                except (EOFError, OSError):
                    self._bury(process)
                else:
                    self._handle(process, message)
                return

    def _handle(self, process: WorkerProcess, message: tuple) -> None:
        turn = self._turn
        if message[0] == "ready":
            process.ready = True
            self._idle_since = time.monotonic()
        elif message[0] == "log":
            logging.getLogger(message[2]).log(message[1], "worker %d: %s", process.process.pid, message[3])
        elif turn is not None and process is self.worker and message[1] == turn.job.serial:
            turn.started = True
            if message[0] == "cancelled" and turn.exceeded:
                self._end_turn(turn.exceeded)
            elif deliver(turn.job, message, self._finish):
                self._clear_turn()

    def _end_turn(self, sentence: str) -> None:
        """End the job without a result, for what the sentence says or because it was to be cancelled anyway."""
        turn = self._turn
        if turn is not None:
            state, said = ("cancelled", CANCELLED) if turn.job.cancelling else ("failed", sentence)
            self._clear_turn()
            self._finish(turn.job, state, error=JobError(said))

    def _clear_turn(self) -> None:
        if self._turn is not None and self._turn.started:
            with self._lock:
                self._queue.took(self._turn.job, time.monotonic() - self._turn.since)
        self._turn = None
        if self.worker is not None and self.worker.resident() > self._limits.kept:
            self.worker.send("rest")
        self._idle_since = time.monotonic()
        self._ring()

    def _promote(self) -> None:
        """Let the reserve take over, or a new worker where there is none."""
        reserve, self.reserve, self._wants_reserve = self.reserve, None, True
        alive = reserve is not None and reserve.process.poll() is None
        self.worker = reserve if alive else self._new_process()

    def _bury(self, process: WorkerProcess) -> None:
        """Put up with a worker that died."""
        code = process.kill()
        logger.error("worker %d ended with exit code %d", process.process.pid, code)
        if process is self.reserve:
            self.reserve = None  # and no other before it is needed: memory may be short
            return
        if not process.ready:  # another one would hardly do better: try again with the next job, not in a loop
            self.worker = None
            self._end_turn(NOT_STARTED)
            return
        self._promote()
        turn = self._turn
        if turn is not None and turn.sent and not turn.started and turn.repeats < REPEATS:
            turn.sent, turn.repeats = False, turn.repeats + 1  # it died idle, before the job reached it
            self._ring()
        else:
            self._end_turn(KILLED if code == -signal.SIGKILL else CRASHED)
