"""A worker process: imports the heavy libraries once, then computes one job after the other.

Started as ``python -m spade_core.jobs.worker --channel FD --device D``. The channel is a socket of its own, so whatever
libraries print cannot disturb it; when its other end closes, because the server ended in whatever way, the worker
exits.

A module of tasks has one function per kind of job, ``task(payload, *, emit, progress, device) -> files``:
``emit(files)`` hands over partial results, ``progress`` raises ``Cancelled`` once the job is cancelled, and files are a
mapping of plain names to bytes. If the module has ``warm_up(device)``, that runs once before the first job; if it has
``rest(device)``, that runs when the worker is to give back memory.

Messages to the worker: ``("run", job, kind, payload)``, ``("cancel", job)``, ``("rest",)``. From it: ``("ready",)``,
``("log", level, logger, text)``, and of a job ``("started", job)``, ``("progress", job, fraction, note)``,
``("partial", job, files)`` and one of ``("done", job, files)``, ``("cancelled", job)``, ``("error", job, type, text)``.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import importlib
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from spade_core.errors import JobError, SpadeError
from spade_core.memory import keep_freed_memory, resident, return_freed_memory
from spade_core.progress import Cancelled, Progress

logger = logging.getLogger(__name__)

DEFAULT_TASKS = "spade_core.tasks"
REPORT_INTERVAL = 0.1  # seconds between two progress messages
COURTESY = 10  # of a worker to the server: people's clicks and answers are served before computations go on
NO_MEMORY = "The computation ran out of memory: take fewer views or a smaller model."
DEFECT = "The computation failed unexpectedly; the server's log has the details."


class WorkerProcess:
    """The server's handle on a worker: the subprocess and the channel to it."""

    def __init__(self, tasks: str, device: str) -> None:
        self.ready = False
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: a file in the server's current folder must not shadow a library's module.
            command = [sys.executable, "-P", "-m", "spade_core.jobs.worker", "--channel", str(theirs.fileno())]
            command += ["--device", device, "--tasks", tasks]
            fds, none = [theirs.fileno()], subprocess.DEVNULL
            self.process = subprocess.Popen(command, pass_fds=fds, env=_environment(), stdin=none)  # noqa: S603 - no shell
        self.channel = Connection(ours.detach())

    def send(self, *message: object) -> None:
        """Send a message; to a dead worker it is lost, and the end of its channel tells so."""
        try:
            self.channel.send(message)
        except OSError:
            logger.debug("a message to worker %d was lost", self.process.pid)

    def resident(self) -> int:
        """Return the bytes of memory that the process holds; 0 where the system does not say."""
        return resident(self.process.pid)

    def kill(self) -> int:
        """End the process, however deep in a computation, and return its exit code (negative: the signal)."""
        self.process.kill()
        self.channel.close()
        return self.process.wait()


def _environment() -> dict[str, str]:
    package = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    # Threads that wait by spinning for long, as is the default, make a worker tens of times slower as soon as anything
    # else needs a core; those that never spin lose a fifth of their speed to being woken. This many turns do neither.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = {"OMP_NUM_THREADS": str(cores), "GOMP_SPINCOUNT": "2000"}
    return {**threads, **os.environ, "PYTHONPATH": path}


class Runner:
    """Runs tasks of a module by name, and turns what happens into messages."""

    def __init__(self, module: str, device: str, send: Callable[[tuple], object]) -> None:
        self.module, self.device, self.send = module, device, send
        self._cancelled: set[int] = set()

    def warm_up(self) -> None:
        """Import the tasks and let them prepare what every job needs.

        Raises:
            ImportError: the module is missing. A failing ``warm_up`` is only logged: jobs that it matters to fail too.
        """
        prepare = getattr(importlib.import_module(self.module), "warm_up", lambda _device: None)
        try:
            prepare(self.device)
        except Exception:
            logger.exception("warming up failed")

    def rest(self) -> None:
        """Give back the memory that no kept model or trace needs; the next job takes it anew."""
        getattr(importlib.import_module(self.module), "rest", lambda _device: None)(self.device)
        return_freed_memory()

    def cancel(self, job: int) -> None:
        """Let the next report of progress of ``job`` raise ``Cancelled``."""
        self._cancelled.add(job)

    def run(self, job: int, kind: str, payload: Mapping[str, object]) -> None:
        """Run one job; its last message is ``done``, ``cancelled`` or ``error``."""
        try:
            self.send(("started", job))
            task = getattr(importlib.import_module(self.module), kind)
            progress = self._progress(job)
            files = task(payload, emit=partial(self._send, "partial", job), progress=progress, device=self.device)
            self._send("done", job, files)
        except Cancelled:
            self.send(("cancelled", job))
        except SpadeError as error:
            self.send(("error", job, type(error).__name__, str(error)))
        except Exception as error:
            # The boundary to the user: a defect ends the job, is logged with its traceback, and leaves the worker warm.
            logger.exception("a job of kind %s failed", kind)
            # torch.OutOfMemoryError is an accelerator's; its CPU allocator raises a plain RuntimeError.
            torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
            sentence = NO_MEMORY if torchs or isinstance(error, MemoryError) else DEFECT
            self.send(("error", job, JobError.__name__, sentence))
        finally:
            self._cancelled.discard(job)

    def _send(self, word: str, job: int, files: Mapping[str, bytes]) -> None:
        if wrong := [name for name, data in files.items() if "/" in name or not isinstance(data, bytes)]:
            raise TypeError(f"a task's files are plain names and bytes; wrong: {', '.join(map(repr, wrong))}")
        self.send((word, job, dict(files)))

    def _progress(self, job: int) -> Progress:
        last = 0.0

        def progress(done: float, total: float, note: str) -> None:
            nonlocal last
            if job in self._cancelled:
                raise Cancelled
            now = time.monotonic()
            if now - last >= REPORT_INTERVAL or done >= total:
                last = now
                self.send(("progress", job, done / total if total else 1.0, note))

        return progress


class _LogToServer(logging.Handler):
    def __init__(self, send: Callable[[tuple], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(("log", record.levelno, record.name, self.format(record)))


def _listen(channel: Connection, jobs: queue.SimpleQueue, cancel: Callable[[int], None]) -> None:
    while True:
        try:
            message = channel.recv()
        except (EOFError, OSError):
            os._exit(0)  # the server is gone; the main thread may be deep in a computation
        if message[0] == "cancel":
            cancel(message[1])
        else:
            jobs.put(message)


def main() -> None:
    """Serve one channel until it closes."""
    parser = argparse.ArgumentParser(prog="python -m spade_core.jobs.worker")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tasks", default=DEFAULT_TASKS)
    options = parser.parse_args()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal group; the server decides
    keep_freed_memory()
    if hasattr(os, "nice"):
        os.nice(COURTESY)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a command's standard output is its result, not our noise
    if sys.platform == "linux":
        # A library call that holds the interpreter's lock keeps `_listen` from seeing the server go; the kernel does
        # not wait. It goes by the end of the thread that started us, which is a lane's: it lives as long as the server.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    channel = Connection(options.channel)
    lock = threading.Lock()

    def send(message: tuple) -> None:
        with lock:
            channel.send(message)

    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_LogToServer(send)])
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    runner = Runner(options.tasks, options.device, send)
    threading.Thread(target=_listen, args=(channel, jobs, runner.cancel), daemon=True).start()
    runner.warm_up()
    send(("ready",))
    while True:
        word, *values = jobs.get()
        runner.run(*values) if word == "run" else runner.rest()


if __name__ == "__main__":
    main()
