"""Long measurements as rows on disk, so that an interrupted run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spade_core.errors import ConfigError
from spade_core.progress import Progress, silent


def resumed(
    out: str | Path,
    items: Mapping[str, Any],
    measure: Callable[[str, Any], dict[str, Any] | None],
    *,
    settings: Mapping[str, Any],
    progress: Progress = silent,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each item, measured now or found in the file of JSON lines ``out``.

    Args:
        items: key -> what is measured; the key is the row's ``key``.
        measure: returns the row, or None where the item does not count; both are remembered.
        settings: JSON-able, all that the rows depend on; they are the file's first line.
        progress: called with (items done, items, key) before each; may raise ``Cancelled``.

    Raises:
        ConfigError: the file holds rows of other settings, or something else.
    """
    out = Path(out)
    done = _read(out, json.loads(json.dumps(settings))) if out.is_file() else None
    if done is None:
        _append(out, {"settings": settings})
    for number, (key, item) in enumerate(items.items()):
        progress(number, len(items), key)
        row = (done or {}).get(key)
        if row is None:
            found = measure(key, item)
            row = {"key": key, "counts": found is not None, **(found or {})}
            _append(out, row)
        if row["counts"]:
            yield row


def _read(out: Path, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Return the rows by their keys; None: not even the settings were written before the stop."""
    _drop_torn_line(out)
    if out.stat().st_size == 0:
        return None
    try:
        first, *rows = map(json.loads, out.read_text(encoding="utf-8").splitlines())
        before, done = first["settings"], {row["key"]: row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{out} holds no rows of this program: give another name.") from error
    if before != settings:
        raise ConfigError(f"{out} holds rows of other settings ({json.dumps(before)}): delete it or give another name.")
    return done


def _drop_torn_line(out: Path) -> None:
    """Cut off what a kill in the middle of a write has left: a last line without an end."""
    data = out.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data) and data.startswith(b'{"settings": '):  # nobody else's file is touched
        os.truncate(out, whole)


def _append(out: Path, row: Mapping[str, Any]) -> None:
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
