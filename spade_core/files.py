"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666), "wb"
        ) as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` as :func:`written_beside` does."""
    with written_beside(path) as file:
        file.write(data)
