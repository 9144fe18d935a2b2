"""A worker process: imports the heavy libraries once, then computes one job after the other.

Started as ``python -m spade_core.worker --channel FD --device D``. The channel is a socket of its own, so whatever
libraries print cannot disturb it; when its other end closes, because the server ended in whatever way, the worker exits.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import queue
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from spade_core.errors import SpadeError
from spade_core.progress import Cancelled

__all__ = ["DEFAULT_TASKS", "Runner", "main"]

logger = logging.getLogger(__name__)

DEFAULT_TASKS = "spade_core.tasks"
REPORT_INTERVAL = 0.1  # seconds between two progress messages


class Runner:
    """Runs tasks of a module by name, and turns what happens into messages."""

    def __init__(self, module: str, device: str, send: Any) -> None:
        self.module, self.device, self.send = importlib.import_module(module), device, send
        self.cancelled: set[str] = set()

    def run(self, job: str, kind: str, payload: dict[str, Any]) -> None:
        """Run one job; its last message is ``done``, ``cancelled`` or ``error``."""
        last = 0.0

        def progress(done: float, total: float, note: str) -> None:
            nonlocal last
            if job in self.cancelled:
                raise Cancelled
            now = time.monotonic()
            if now - last >= REPORT_INTERVAL or done >= total:
                last = now
                self.send(("progress", job, done / total if total else 1.0, note))

        try:
            task = getattr(self.module, kind)
            emit = lambda files: self.send(("partial", job, files))  # noqa: E731 - a callback of one line
            files = task(payload, emit=emit, progress=progress, device=self.device)
            self.send(("done", job, files))
        except Cancelled:
            self.send(("cancelled", job))
        except SpadeError as error:
            self.send(("error", job, str(error)))
        except MemoryError:
            self.send(("error", job, "The computation ran out of memory: take fewer views or a smaller model."))
        except Exception:
            logger.exception("job %s (%s) failed", job, kind)
            self.send(("error", job, "The computation failed unexpectedly; the server's log has the details."))
        finally:
            self.cancelled.discard(job)


def _listen(channel: Connection, jobs: queue.SimpleQueue, runner: Runner) -> None:
    while True:
        try:
            message = channel.recv()
        except (EOFError, OSError):
            os._exit(0)  # the server is gone; the main thread may be deep in a computation
        if message[0] == "cancel":
            runner.cancelled.add(message[1])
        else:
            jobs.put(message[1:])


def main() -> None:
    """Serve one channel until it closes."""
    parser = argparse.ArgumentParser(prog="python -m spade_core.worker")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tasks", default=DEFAULT_TASKS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(name)s: %(message)s")
    channel = Connection(options.channel)
    lock = threading.Lock()

    def send(message: tuple) -> None:
        with lock:
            channel.send(message)

    runner = Runner(options.tasks, options.device, send)
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, jobs, runner), daemon=True).start()
    send(("ready",))
    while True:
        runner.run(*jobs.get())


if __name__ == "__main__":
    main()
