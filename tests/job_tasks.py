"""Light tasks for the tests of jobs; they import nothing heavy, so that a worker starts at once."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from pathlib import Path

from spade_core.errors import PictureError

STEPS = 100  # at which :func:`follow` is done
GATE = "JOB_TASKS_GATE"  # environment variable: a file without which workers do not come up


def warm_up(device):
    """Fail, as a model that cannot be fetched would: the worker comes up all the same."""
    _wait_for(os.environ.get(GATE))
    raise RuntimeError("nothing to warm up")


def rest(device):
    logging.getLogger("tasks").info("rests")


def _wait_for(path):
    while path and not Path(path).exists():
        time.sleep(0.01)


def echo(payload, *, emit, progress, device):
    progress(0, 1, "echoing")
    emit({"part": b"first"})
    return {"out": str(payload["text"]).encode(), "pid": str(os.getpid()).encode(), "device": device.encode()}


def threads(payload, *, emit, progress, device):
    return {"out": os.environ["OMP_NUM_THREADS"].encode()}


def follow(payload, *, emit, progress, device):
    """Note the run in a file, and report the step that another one names, again and again, until it is the last."""
    with Path(payload["log"]).open("a") as log:
        log.write("x")
    while (step := int(Path(payload["step"]).read_text())) < STEPS:
        progress(step, STEPS, f"step {step}")
        time.sleep(0.01)
    return {"out": b"followed", "pid": str(os.getpid()).encode()}


def dawdle(payload, *, emit, progress, device):
    """Answer a cancel only once a file is there."""
    progress(0, 1, "dawdling")
    _wait_for(payload["until"])
    progress(1, 2, "half")
    return {"out": b"dawdled"}


def stuck(payload, *, emit, progress, device):
    """Ignore every cancel and hold the interpreter's lock, as the worst library call would."""
    progress(0, 1, "stuck")
    re.match(r"(a+)+$", "a" * 40 + "b")
    return {}


def die(payload, *, emit, progress, device):
    progress(0, 1, "dying")
    os.kill(os.getpid(), 9)


def leave(payload, *, emit, progress, device):
    raise SystemExit(3)


def refuse(payload, *, emit, progress, device):
    raise PictureError("This is no picture: choose another file.")


def crash(payload, *, emit, progress, device):
    sys.stdout.write("noise that must not disturb the channel\n")
    sys.stdout.flush()
    os.write(1, b"and below Python\n")
    logging.getLogger("somewhere").warning("a library's warning")
    raise RuntimeError("internal detail")


def starve(payload, *, emit, progress, device):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 123 bytes")


def give_text(payload, *, emit, progress, device):
    return {"out": "not bytes"}


def give_path(payload, *, emit, progress, device):
    return {"../out": b"outside"}


def swell(payload, *, emit, progress, device):
    """Take 2 MB more every 10 ms, until somebody ends it, and answer no cancel."""
    held = []
    while len(held) < 2000:
        held.append(b"x" * 2**21)
        time.sleep(0.01)
    return {}
