"""A run through all doors that can be stopped and goes on: what was found, and whether memory grew."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scipy.stats import theilslopes

from benchmarks.fuzz.doors import doors
from benchmarks.fuzz.files import Door
from benchmarks.fuzz.inputs import changed
from spade_core.errors import SpadeError
from spade_core.study.design.schedule import seeded

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # processor seconds of one input
NOTED_EVERY = 2_000  # inputs
WARM = 100_000  # inputs until caches are full: memory is compared from there on
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Run:
    """How far the fuzz of a seed has come.

    Attributes:
        seed: that all inputs follow from; done: how many inputs there were.
        tried: inputs of each door; refused: those of them that a sentence refused.
        found: one input of each kind of exception that no door may raise.
        slowest: processor seconds of the input that took longest, by door.
        memory: inputs of this process and its MiB then, again and again.
    """

    seed: int
    done: int = 0
    tried: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    memory: list[tuple[int, float]] = field(default_factory=list)

    def go_on(
        self,
        folder: Path,
        *,
        inputs: int,
        note: Callable[[], object] = lambda: None,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> None:
        """Try inputs until there were so many in all; ``note`` is called now and then.

        Args:
            folder: for files; only: doors whose inputs are tried, none: all; without: doors whose are not.
        """
        known = list(doors(folder).items())
        first, self.memory = self.done, []
        while self.done < inputs:
            name, (good, door) = known[self.done % len(known)]
            if (not only or name in only) and name not in without:
                self._try(name, door, changed(good, seeded(f"fuzz/{self.seed}/{self.done}")))
            self.done += 1
            if self.done % NOTED_EVERY == 0:
                self.memory.append((self.done - first, memory_mib()))
                note()

    def _try(self, name: str, door: Door, text: str) -> None:
        begun = time.process_time()
        fault, refused = _fault(door, text)
        took = time.process_time() - begun
        if fault is None and took > PATIENCE:
            fault = "hangs"
        if fault is not None:
            self.found.setdefault(f"{name}: {fault}", f"input {self.done}: {text[:300]!r}")
        self.tried[name] = self.tried.get(name, 0) + 1
        self.refused[name] = self.refused.get(name, 0) + refused
        self.slowest[name] = max(self.slowest.get(name, 0.0), took)

    def growth(self) -> tuple[float, float, float] | None:
        """Return MiB in 100,000 inputs by which memory grows once it is warm, with its 95 % interval.

        It is the median slope between two moments (Theil 1950, Sen 1968). None: too few inputs.
        """
        warm = [(at, mib) for at, mib in self.memory if at >= WARM]
        if len(warm) < 10:
            return None
        found = theilslopes([mib for _, mib in warm], [at / 100_000 for at, _ in warm])
        return float(found.slope), float(found.low_slope), float(found.high_slope)


def memory_mib(process: int | str = "self") -> float:
    """Return what a process holds in memory, MiB; 0: this system does not tell."""
    if sys.platform != "linux":
        return 0.0
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE_MIB


def _fault(door: Door, text: str) -> tuple[str | None, bool]:
    """Return what a door raises that no door may raise, and whether it refused the input by a sentence."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of the libraries that read pictures
            door(text)
    except SpadeError:
        return None, True
    except Exception as error:
        logger.exception("a door failed")
        return f"{type(error).__name__}: {str(error)[:24]}", False
    return None, False
