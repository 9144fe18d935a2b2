"""Files that appear whole or not at all, folders below a size, and long work that goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from spade_core.errors import ConfigError
from spade_core.progress import Progress, silent

logger = logging.getLogger(__name__)

UNFINISHED = ".writing-"
"""How the name of a file begins that is being written; a killed process may leave one behind."""


@contextlib.contextmanager
def written_beside(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Give a file that takes the name ``path`` once the block ends well, and vanishes otherwise.

    Whoever has opened the earlier file of this name reads it to its end. Missing folders are made.

    Args:
        private: whether only the owner may read it; else the process's file mode mask decides.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f"{UNFINISHED}{secrets.token_hex(8)}"
    try:
        mode = 0o600 if private else 0o666
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write ``data`` as :func:`written_beside` does."""
    with written_beside(path, private=private) as file:
        file.write(data)


_ABANDONED = 3600.0  # seconds after which an unfinished file is left over from a killed process
_YOUNG = 60.0  # seconds that a file is safe from deletion after its last use, whoever else needs room
_EVICTION = threading.Lock()


def keep_file(folder: Path, name: str, data: bytes, limit: int) -> Path:
    """Write ``data`` once as ``folder/name``, a name by content; return the path. Old files go above ``limit``."""
    path = folder / name
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == len(data):  # another size is what a crash of the machine left
            os.utime(path)
            return path
    write_whole(path, data, private=True)
    drop_oldest(folder, limit, keep=path)
    return path


def drop_oldest(folder: Path, limit: int, keep: Path) -> None:
    """Delete the files of ``folder`` that were not used for longest until the rest fits ``limit`` bytes.

    Young ones stay, and so does ``keep``; what a killed process left unfinished goes in any case.
    """
    with _EVICTION:
        files: list[tuple[float, int, Path]] = []
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                if path.is_file():
                    files.append((path.stat().st_mtime, path.stat().st_size, path))
        total, now = sum(size for _, size, _ in files), time.time()
        for used, size, path in sorted(files):
            unfinished = path.name.startswith(UNFINISHED)
            old = now - used >= (_ABANDONED if unfinished else _YOUNG)
            if path != keep and old and (total > limit or unfinished):
                try:
                    path.unlink(missing_ok=True)
                    total -= size
                except OSError as error:
                    logger.warning("%s cannot be deleted: %s", path, error)


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
    data = out.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data) and data.startswith(b'{"settings": '):  # nobody else's file is touched
        os.truncate(out, whole)  # what a kill in the middle of a write has left: a last line without an end
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


def _append(out: Path, row: Mapping[str, Any]) -> None:
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
