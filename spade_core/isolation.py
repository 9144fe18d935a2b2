"""Libraries that draw from the process's global generators, each call as if it were alone.

Captum and Lucent take no generator: they draw from those of Python, numpy and torch. Inside these context managers the
generators are seeded and nobody else computes; afterwards they are as before.
"""

from __future__ import annotations

import contextlib
import random
import threading
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from spade_core.progress import Progress

TICK = 0.1  # seconds between two reports from inside long work

_PROCESS = threading.RLock()  # the generators and the filters of warnings are the process's


@contextlib.contextmanager
def alone(seed: int, progress: Progress) -> Iterator[None]:
    """Compute inside the block as the only such work of this process, seeded and without Captum's notices.

    Raises:
        Cancelled: by ``progress``, which is called while another thread is computing.
    """
    while not _PROCESS.acquire(timeout=TICK):
        progress(0.0, 1.0, "waiting for another explanation")
    try:
        with seeded(seed), full_precision(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks|Input Tensor")
            yield
    finally:
        _PROCESS.release()


# How many blocks ask for whole float32, and what the process had before the first of them.
_precision = SimpleNamespace(lock=threading.Lock(), blocks=0, before="")


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Convolve in float32 on a GPU, too, inside the block; several threads may be inside theirs.

    By default cuDNN rounds the inputs of a convolution to TF32's 10 bits. A trace compares weights by small
    differences, and a map of it turns on which of them stay: rounding like that changes the map.
    """
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    with _precision.lock:
        if not _precision.blocks:
            _precision.before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
        _precision.blocks += 1
    try:
        yield
    finally:
        with _precision.lock:
            _precision.blocks -= 1
            if not _precision.blocks:
                convolutions.fp32_precision = _precision.before


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators inside the block and restore them afterwards.

    Captum draws from them.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global generator is what must be kept
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
