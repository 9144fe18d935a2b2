"""Finished results on disk, found again by the content of the request that made them.

An entry is one file: the sha256 of what follows, and an uncompressed zip archive (which other programs open too). It is
written beside its place and renamed into it. So it appears as a whole; whoever has opened it reads it to the end even
while it is replaced or deleted; and a damaged one is told from a good one (a zip's own checksums leave its directory
out). Several processes may share a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from spade_core.files import drop_oldest, write_whole

logger = logging.getLogger(__name__)

_DIGEST = 32  # bytes


class ResultStore:
    """Entries of named files under ``root``, deleted oldest use first above ``limit`` bytes."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit

    def get(self, key: str) -> dict[str, bytes] | None:
        """Return the files of an entry and note its use, or None; a damaged entry is logged and counts as absent."""
        path = self._path(key)
        try:
            entry = path.read_bytes()
            if hashlib.sha256(memoryview(entry)[_DIGEST:]).digest() != entry[:_DIGEST]:
                raise zipfile.BadZipFile("its bytes have changed")
            with zipfile.ZipFile(io.BytesIO(memoryview(entry)[_DIGEST:])) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, zipfile.BadZipFile) as error:
            logger.warning("the result %s cannot be read and will be computed again: %s", key, error)
            return None
        with contextlib.suppress(OSError):  # deleted meanwhile, or a folder that may only be read
            os.utime(path)
        return files

    def put(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep ``files`` as entry ``key``, in place of a damaged one too, and make room for it.

        Raises:
            OSError: the folder cannot be written, or the disk is full; nothing is left behind.
        """
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        digest = hashlib.sha256(packed.getbuffer()).digest()
        write_whole(self._path(key), digest + packed.getvalue(), private=True)
        drop_oldest(self.root, self.limit, keep=self._path(key))

    def _path(self, key: str) -> Path:
        return self.root / f"{key}.zip"
