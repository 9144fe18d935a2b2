"""Long measurements as rows on disk, so that an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spade_core.progress import Progress, silent

__all__ = ["resumed"]


def resumed(
    out: str | Path,
    items: Mapping[str, Any],
    measure: Callable[[str, Any], dict[str, Any] | None],
    *,
    progress: Progress = silent,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each item, measured now or found in the file of JSON lines ``out``.

    Args:
        items: key -> what is measured; the key is the row's ``key``.
        measure: returns the row, or None where the item does not count; both are remembered.
        progress: called with (items done, items, key) before each; may raise ``Cancelled``.
    """
    out = Path(out)
    lines: Sequence[str] = out.read_text(encoding="utf-8").splitlines() if out.is_file() else ()
    done = {row["key"]: row for row in map(json.loads, lines)}
    for number, (key, item) in enumerate(items.items()):
        progress(number, len(items), key)
        row = done.get(key)
        if row is None:
            found = measure(key, item)
            row = {"key": key, "counts": found is not None, **(found or {})}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if row["counts"]:
            yield row
