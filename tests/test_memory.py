"""Keeping freed memory: after some rounds, allocations take no new pages from the kernel; and giving it back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys
import numpy
from spade_core.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("not heard")
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def once():
    for _ in range(2):
        numpy.ones(10_000_000, numpy.float32) * 2
for _ in range(3):
    once()
before = faults()
once()
print(faults() - before)
"""


FREED = """
import gc, os
from spade_core.memory import keep_freed_memory, resident, return_freed_memory
keep_freed_memory()
held = [bytearray(100_000) for _ in range(1000)]
most, held = resident(os.getpid()), held[::100]
kept = resident(os.getpid())
return_freed_memory()
print((most - kept) // 10**6, (most - resident(os.getpid())) // 10**6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what a process holds")
def test_freed_memory_is_given_back_when_asked_for():
    found = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    kept, back = map(int, found.stdout.split())
    assert kept < 10, "it stays with the process"
    assert back > 80


def _page_faults(mode: str) -> int:
    found = subprocess.run([sys.executable, "-c", ROUNDS, mode], capture_output=True, text=True, check=False)
    if "not heard" in found.stderr:
        if os.environ.get("CI") == "true":
            pytest.fail("malloc did not take the settings, and CI must not leave this test out")
        pytest.skip("this C library has no such settings")
    assert found.returncode == 0, found.stderr
    return int(found.stdout)


def test_memory_is_taken_from_the_kernel_once():
    assert _page_faults("keep") < 0.2 * _page_faults("as it is")
