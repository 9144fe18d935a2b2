"""What the commands share: one way to print a result, and the progress line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

PROGRESS_INTERVAL = 0.2  # seconds between two progress lines


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
    """One line on a terminal's standard error that shows what is going on and about how long it will take."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if not self._shown or (now - self._last < PROGRESS_INTERVAL and done < total):
            return
        self._last = now
        fraction = done / total if total else 1.0
        left = f", {(now - self._start) * (1 - fraction) / fraction:.0f} s left" if fraction > 0.05 else ""
        text = f"{fraction:4.0%} {note}{left}" if done < total else ""
        sys.stderr.write(f"\r{text:<70}" + ("" if text else "\r"))
        sys.stderr.flush()
