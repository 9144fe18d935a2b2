"""Which pictures of a folder serve which purpose.

``assets/splits.json`` divides the development pictures once and for all: the backdoored model is trained on
``training``, settings are chosen on ``tuning``, numbers are reported on ``reporting``. A folder of which at least half
of the pictures have names of that table follows it, and its other pictures serve no purpose. Any other folder is
divided in the same proportions by the order of its file names; one of fewer than ten pictures serves every purpose as a
whole, and a note in the log says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.pictures.picture import SUFFIXES

logger = logging.getLogger(__name__)

SPLITS = ("training", "tuning", "reporting")
_SHARES = {"training": range(4), "tuning": range(4, 5), "reporting": range(5, 10)}  # of every ten files


@cache
def _table() -> dict[str, list[str]]:
    return json.loads((ASSETS / "splits.json").read_text(encoding="utf-8"))


def split_of(folder: str | Path, split: str) -> list[Path]:
    """Return the pictures of ``folder`` that belong to ``split``, in the order of their names; see the module's rule.

    Raises:
        ConfigError: the folder is absent or holds no picture for the split.
    """
    every = pictures_in(folder)
    known = {name for part in SPLITS for name in _table()[part]}
    if every and 2 * sum(path.name in known for path in every) >= len(every):
        found = [path for path in every if path.name in _table()[split]]
    elif len(every) < 10:
        logger.warning("%s holds too few pictures to be divided: all %d serve as %s.", folder, len(every), split)
        found = every
    else:
        found = [path for index, path in enumerate(every) if index % 10 in _SHARES[split]]
    if not found:
        raise ConfigError(f"{str(folder)!r} holds no pictures for the {split} split: put more pictures into it.")
    return found


def pictures_in(folder: str | Path, wanted: str = "--images a folder of pictures") -> list[Path]:
    """Return the picture files of a folder in the order of their names.

    Raises:
        ConfigError: the folder is absent; the sentence asks for what is ``wanted``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {str(folder)!r}: give {wanted}.")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def spread(paths: list[Path], count: int | None) -> list[Path]:
    """Return ``count`` of the paths, spread over the list, which is often in the order of the classes."""
    if count is None or count >= len(paths):
        return paths
    return [paths[int(index)] for index in np.linspace(0, len(paths) - 1, count).round()]


def digest_of(paths: Sequence[Path]) -> str:
    """Return the sha256 of the names and bytes of pictures, in their order."""
    each = ((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths)
    return hashlib.sha256(json.dumps(list(each)).encode()).hexdigest()


def folder_state(folder: str | Path) -> str:
    """Return a digest of the names, sizes and times of a folder's pictures: it changes when they do.

    Raises:
        ConfigError: there is no such folder, or no picture in it.
    """
    listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in reference_files(Path(folder))]
    return hashlib.sha256(json.dumps([str(Path(folder).absolute()), listing]).encode()).hexdigest()


def reference_files(folder: Path) -> list[Path]:
    """Return the picture files of a folder of reference pictures in the order of their names.

    Raises:
        ConfigError: there is no such folder, or no picture in it.
    """
    files = pictures_in(folder, "a folder of pictures")
    if not files:
        raise ConfigError(f"The folder {str(folder)!r} holds no pictures: put JPEG or PNG files into it.")
    return files
