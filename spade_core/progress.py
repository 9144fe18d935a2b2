"""Progress and cancellation, as one callback.

Long work takes ``progress: Progress`` and calls it with ``(done, total, note)``. To cancel, the callback raises
:class:`Cancelled`; the work lets it pass, and its context managers undo what they changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

Progress = Callable[[float, float, str], None]
Emit = Callable[[dict[str, bytes]], object]
"""Hands over files that are ready before the work is: partial results of a job."""


class Cancelled(Exception):  # noqa: N818 - a request by the user, not an error
    """Raised by a progress callback when the user asked to stop."""


def silent(done: float, total: float, note: str) -> None:
    """Report nothing: the default callback."""


def rising(progress: Progress) -> Progress:
    """Report the largest fraction so far: work that is done again does not pull the bar back."""
    most = 0.0

    def inner(done: float, total: float, note: str) -> None:
        nonlocal most
        most = max(most, done / total if total else 1.0)
        progress(most, 1.0, note)

    return inner


def timely(progress: Progress) -> Progress:
    """Report shares of the time instead of shares of the work: for steps that take equally long, after something else.

    The time runs from this call, and the rest is what the steps so far have taken, so that a guess from the share is
    true on this machine from the second step on. Steps that begin anew are measured anew.
    """
    since, first, began, last = time.monotonic(), 0.0, 0.0, inf

    def inner(done: float, total: float, note: str) -> None:
        nonlocal first, began, last
        now = time.monotonic()
        if done < last:
            first, began = done, now
        last = done
        rest = (now - began) / (done - first) * (total - done) if done > first else inf
        progress(now - since, now - since + rest, note)

    return inner


def span(progress: Progress, start: float, stop: float) -> Progress:
    """Map a part of the work to ``start..stop`` (fractions of 1) of the whole."""

    def inner(done: float, total: float, note: str) -> None:
        fraction = done / total if total else 1.0
        progress(start + (stop - start) * fraction, 1.0, note)

    return inner
