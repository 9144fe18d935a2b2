"""Files that appear whole or not at all, folders below a size, and long work that goes on where it stopped."""

from __future__ import annotations

import contextlib
import errno
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
        private: whether only the owner may read it and its folder; else the process's file mode mask decides.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EEXIST, "it is a device or a pipe, which no file can replace", str(path))
    path.parent.mkdir(0o700 if private else 0o777, parents=True, exist_ok=True)
    if private:
        with contextlib.suppress(PermissionError):  # somebody else's, who answers for it
            path.parent.chmod(path.parent.stat().st_mode & ~0o077)  # an earlier version made it for all to look into
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
        for path in folder.rglob("*"):
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


class Journal:
    """Rows by their keys in a file of JSON lines, each kept as soon as it is added: what a kill tears does not count.

    The first line holds the settings that all rows depend on. Rows stay on the disk; of a key that was added twice the
    first counts.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        """Open the file, which is made where it is absent.

        Args:
            settings: JSON-able.

        Raises:
            ConfigError: the file holds rows of other settings, or something else.
        """
        self.path, self._places = Path(path), dict[str, int]()
        if self.path.is_file():
            self._cut()
        if not self.path.is_file() or self.path.stat().st_size == 0:
            self._append({"settings": settings})
        self._index(json.loads(json.dumps(settings)))

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> dict[str, Any]:
        with self.path.open("rb") as file:
            file.seek(self._places[key])
            return json.loads(file.readline())

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Keep the row of a new key."""
        self._places.setdefault(key, self._append({"key": key, **row}))

    def _append(self, row: Mapping[str, Any]) -> int:
        """Write a line in one piece and return where it begins."""
        line = json.dumps(row).encode() + b"\n"
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            return file.tell() - len(line)

    def _cut(self) -> None:
        """Take off what a kill in the middle of a write has left: a last line without an end."""
        with self.path.open("rb+") as file:
            if file.read(len(_HEADER)) != _HEADER:
                return  # nobody else's file is touched
            whole = 0
            file.seek(0)
            for line in file:
                whole += len(line) if line.endswith(b"\n") else 0
            file.truncate(whole)

    def _index(self, settings: Mapping[str, Any]) -> None:
        try:
            with self.path.open("rb") as file:
                before, place = json.loads(file.readline())["settings"], file.tell()
                for line in file:
                    self._places.setdefault(json.loads(line)["key"], place)
                    place += len(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} holds no rows of this program: give another name.") from error
        if before != settings:
            other = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
            told = ", ".join(f"{name} was {json.dumps(before.get(name))}" for name in other)
            raise ConfigError(f"{self.path} holds rows of other settings ({told}): delete it or give another name.")


_HEADER = b'{"settings": '


def resumed(
    out: str | Path,
    items: Mapping[str, Any],
    measure: Callable[[str, Any], dict[str, Any] | None],
    *,
    settings: Mapping[str, Any],
    progress: Progress = silent,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each item, measured now or found in the :class:`Journal` ``out``.

    Args:
        items: key -> what is measured; the key is the row's ``key``.
        measure: returns the row, or None where the item does not count; both are remembered.
        settings: JSON-able, all that the rows depend on.
        progress: called with (items done, items, key) before each; may raise ``Cancelled``.

    Raises:
        ConfigError: the file holds rows of other settings, or something else.
    """
    journal = Journal(out, settings)
    for number, (key, item) in enumerate(items.items()):
        progress(number, len(items), key)
        if key not in journal:
            found = measure(key, item)
            journal.add(key, {"counts": found is not None, **(found or {})})
        row = journal[key]
        if row["counts"]:
            yield row
