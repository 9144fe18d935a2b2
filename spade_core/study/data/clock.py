"""A clock that never steps: answers and time limits must not depend on somebody setting the server's."""

from __future__ import annotations

import time
from collections.abc import Callable


def ticks() -> float:
    """Return seconds of the computer's uptime, sleep included where the system counts it; they only grow."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SteadyClock:
    """UTC seconds: the wall clock as it was once, and the uptime since.

    Between two processes it may step, as the wall clock has; whoever compares times of both says what follows then.
    """

    def __init__(self, wall: Callable[[], float] = time.time, uptime: Callable[[], float] = ticks) -> None:
        self._uptime, self._zero = uptime, wall() - uptime()

    def __call__(self) -> float:
        """Return the time."""
        return self._zero + self._uptime()


STEADY = SteadyClock()  # one for all databases of a process
