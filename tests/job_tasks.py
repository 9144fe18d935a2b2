"""Light tasks for the tests of jobs; they import nothing heavy, so that a worker starts at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

from spade_core.errors import PictureError


def echo(payload, *, emit, progress, device):
    progress(0, 1, "echoing")
    emit({"part": b"first"})
    return {"out": str(payload["text"]).encode(), "pid": str(os.getpid()).encode()}


def count(payload, *, emit, progress, device):
    """Tick every 20 ms and note each run in a file."""
    with Path(payload["log"]).open("a") as log:
        log.write("x")
    for step in range(payload["steps"]):
        progress(step, payload["steps"], f"step {step}")
        time.sleep(0.02)
    return {"out": b"counted", "pid": str(os.getpid()).encode()}


def stuck(payload, *, emit, progress, device):
    """Ignore every cancel, as one long library call would."""
    progress(0, 1, "stuck")
    time.sleep(60)
    return {}


def die(payload, *, emit, progress, device):
    progress(0, 1, "dying")
    os.kill(os.getpid(), 9)


def refuse(payload, *, emit, progress, device):
    raise PictureError("This is no picture: choose another file.")


def crash(payload, *, emit, progress, device):
    print("noise on standard output that must not disturb the channel")
    raise RuntimeError("internal detail")
