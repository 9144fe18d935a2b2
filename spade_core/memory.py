"""Freed memory that stays with the process, for processes that compute.

A network takes and frees blocks of many megabytes at every layer. By default glibc maps each of them anew and unmaps it
when it is freed, so that the kernel hands out and clears every page again, layer by layer, step by step. A process that
computes and ends, or waits for the next job, does better to keep the pages: on two cores this halved the time of
training steps. The price is that the process's size stays near its peak until ``KEPT`` bytes at the end are free, or
until :func:`return_freed_memory` is called, which a worker does once nothing is to be done.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

KEPT = 2**30  # bytes, also the size from which a block is mapped by itself
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # names of malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next allocation; return whether it heard (elsewhere nothing changes)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    # Older versions take no more than 32 MiB. Without this setting there must be no other: each ends malloc's own
    # adjustment of the threshold.
    if not (mallopt(_MMAP_THRESHOLD, KEPT) or mallopt(_MMAP_THRESHOLD, 2**25)):
        return False
    return all([mallopt(_TRIM_THRESHOLD, KEPT), mallopt(_TOP_PAD, 2**26)])  # the heap grows by 64 MiB


def return_freed_memory() -> None:
    """Give the kernel every page of this process that holds nothing; the next allocations take pages anew."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
