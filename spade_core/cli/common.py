"""What the commands share: one way to print a result, and the progress line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

PROGRESS_INTERVAL, LINE_INTERVAL = 0.2, 30.0  # seconds between two changes of a progress line, and between two lines
FIRST = 1.0  # seconds in which only what an earlier run has done can be done: it tells nothing of the speed
MINUTES = 3  # from which on an estimate is in minutes


def emit(options: argparse.Namespace, value: object, lines: Sequence[str]) -> int:
    """Print ``value`` as JSON where the command was asked for it, else ``lines``; return the exit code 0."""
    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"  # else escapes, which are JSON's own
    sys.stdout.write((json.dumps(value, ensure_ascii=not readable) if options.json else "\n".join(lines)) + "\n")
    return 0


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the rows as lines of aligned columns."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def emit_table(options: argparse.Namespace, keys: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Print the rows, as JSON under these keys."""
    return emit(options, [dict(zip(keys, row, strict=True)) for row in rows], table(rows))


def warn(*texts: str | None) -> None:
    """Say on standard error what is to be known of a result, where there is something."""
    for text in filter(None, texts):
        sys.stderr.write(f"warning: {text}\n")


class Meter:
    """Shows on standard error what is going on and about how long it will take.

    One line that changes on a terminal, elsewhere (a log, a pipe) a line now and then.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._start = self._last = self._since = time.monotonic()
        self._found = 0.0

    def __call__(self, done: float, total: float, note: str) -> None:
        now, fraction = time.monotonic(), done / total if total else 1.0
        if now - self._start < FIRST:
            self._since, self._found = now, fraction
        over, pause = fraction >= 1, PROGRESS_INTERVAL if self._terminal else LINE_INTERVAL
        if now - self._last < pause and not (over and self._terminal):
            return
        self._last = now
        text = "" if over else f"{fraction:4.0%} {note}{self._left(now, fraction)}"
        if self._terminal:
            sys.stderr.write(f"\r{text:<70}" + ("" if text else "\r"))
        elif text:
            sys.stderr.write(text.strip() + "\n")
        sys.stderr.flush()

    def _left(self, now: float, fraction: float) -> str:
        """Return how long the rest will take, in words, or nothing: too little was done for an estimate."""
        if fraction - self._found <= 0.01:
            return ""
        seconds = (now - self._since) * (1 - fraction) / (fraction - self._found)
        return f", {seconds:.0f} s left" if seconds < MINUTES * 60 else f", {seconds / 60:.0f} min left"
