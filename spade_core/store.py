"""Finished results on disk, found again by the content of the request that made them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["ResultStore", "keep_file"]

logger = logging.getLogger(__name__)

_COMPLETE = "complete"  # written last: an entry without it is a half-written one
_YOUNG = 60.0  # seconds that an entry is safe from deletion, whoever else needs room


class ResultStore:
    """Entries of named files under ``root``, deleted oldest use first above ``limit`` bytes.

    An entry appears at once, by renaming a finished folder, so several processes may share the store.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, bytes] | None:
        """Return the files of an entry, or None; a damaged entry counts as absent."""
        folder = self.root / key
        try:
            if not (folder / _COMPLETE).is_file():
                return None
            os.utime(folder / _COMPLETE)
            return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != _COMPLETE}
        except OSError as error:
            logger.warning("the result %s cannot be read and will be computed again: %s", key, error)
            return None

    def put(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep ``files`` as entry ``key``; the first writer wins."""
        self.root.mkdir(parents=True, exist_ok=True)
        with _folder_beside(self.root) as temporary:
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            (temporary / _COMPLETE).touch()
            with contextlib.suppress(OSError):  # someone else's entry of the same content is there already
                self._discard_broken(key)
                temporary.rename(self.root / key)
        self.evict(keep=key)

    def _discard_broken(self, key: str) -> None:
        folder = self.root / key
        if folder.exists() and not (folder / _COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)

    def evict(self, keep: str = "") -> None:
        """Delete the entries that were not used for longest until the rest fits the limit."""
        with self._lock:
            entries = sorted(self._entries(), key=lambda entry: entry[1])
            total = sum(size for _, _, size in entries)
            for folder, used, size in entries:
                if total <= self.limit:
                    return
                if folder.name == keep or time.time() - used < _YOUNG:
                    continue
                shutil.rmtree(folder, ignore_errors=True)
                total -= size

    def _entries(self) -> Iterator[tuple[Path, float, int]]:
        for folder in self.root.iterdir():
            with contextlib.suppress(OSError):
                used = (folder / _COMPLETE).stat().st_mtime
                yield folder, used, sum(file.stat().st_size for file in folder.iterdir())


@contextlib.contextmanager
def _folder_beside(root: Path) -> Iterator[Path]:
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def keep_file(folder: Path, name: str, data: bytes, limit: int) -> Path:
    """Write ``data`` once as ``folder/name`` (a name by content) and return its path; old files go above ``limit`` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if path.is_file():
        os.utime(path)
        return path
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    _drop_oldest(folder, limit, keep=path)
    return path


def _drop_oldest(folder: Path, limit: int, keep: Path) -> None:
    files = sorted((file for file in folder.iterdir() if file.is_file()), key=lambda file: file.stat().st_mtime)
    total = sum(file.stat().st_size for file in files)
    for file in files:
        if total <= limit:
            return
        if file != keep:
            total -= file.stat().st_size
            file.unlink(missing_ok=True)
