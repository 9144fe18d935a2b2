"""The pictures of a zip archive that anybody may have made.

What an archive says of itself is not believed: names become plain file names, sizes are counted while they are
unpacked, and whatever is refused is refused before the first picture comes out, where its directory shows it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile, ZipInfo

from spade_core.errors import PictureError
from spade_core.pictures.picture import MAX_BYTES, READABLE, SUFFIXES

MAX_DIRECTORY = 8 * 2**20  # bytes of an archive's directory, some hundred thousand files; Python reads it whole
LONGEST = 80  # letters of a file's name
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
_END, _LOCATOR, _COMMENT = b"PK\x05\x06", b"PK\x06\x07", 2**16
_BROKEN = (BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError, struct.error, zlib.error)
DAMAGED = "The archive is damaged or of an unusual kind: pack the pictures again as an ordinary zip."


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: so many ``pictures``, and bytes of all of them unpacked (``size``)."""

    pictures: int
    size: int


def unpacked(file: BinaryIO, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each picture in an archive, in the order of their names.

    A name is the file's, with those of its folders where there are several, and safe as a file's name. What has no
    picture's extension is passed over. A file that is larger than a picture may be comes cut off, which
    ``load_picture`` tells.

    Raises:
        PictureError: the archive is none, damaged, encrypted, holds archives, too many or too large pictures or none,
            or names that lead out of it; one sentence says which.
    """
    with _opened(file) as archive:
        listed = _pictures(archive.infolist(), limits)
        left = limits.size
        for name, info in sorted(_plain_names(listed).items()):
            try:
                with archive.open(info) as packed:
                    data = packed.read(MAX_BYTES + 1)
            except _BROKEN as error:
                raise PictureError(DAMAGED) from error
            left -= len(data)
            if left < 0:
                raise PictureError(_too_large(limits))
            yield name, data


def _opened(file: BinaryIO) -> ZipFile:
    """Open an archive whose directory is of a reasonable size."""
    try:
        size = file.seek(0, 2)
        file.seek(max(0, size - _COMMENT))
        tail = file.read()
        end = tail.rfind(_END)
        if end < 0 or len(tail) < end + 22:
            raise PictureError("This is no zip archive: choose one that holds the pictures.")
        (directory,) = struct.unpack_from("<L", tail, end + 12)
        if directory > MAX_DIRECTORY or tail[max(0, end - 20) : end].startswith(_LOCATOR):
            raise PictureError("The archive lists too many files: pack fewer pictures at a time.")
        return ZipFile(file)
    except _BROKEN as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(DAMAGED) from error


def _pictures(listed: Sequence[ZipInfo], limits: Limits) -> list[ZipInfo]:
    """Return what looks like pictures, once nothing else speaks against the archive."""
    named = [info for info in listed if info.filename]  # of a file under no name zipfile cannot say whether it is one
    files = [info for info in named if not info.is_dir() and not _hidden(info.filename)]
    for info in files:
        if _leads_out(info.filename):
            raise PictureError("The archive holds names that lead out of its folder: pack it again from the folder.")
        if info.filename.lower().endswith(ARCHIVES):
            raise PictureError("The archive holds another archive: unpack that, and pack the pictures themselves.")
    found = [info for info in files if PurePosixPath(info.filename.lower()).suffix in SUFFIXES]
    if not found:
        raise PictureError(f"The archive holds no pictures: pack {READABLE} files.")
    if any(info.flag_bits & 1 for info in found):
        raise PictureError("The archive is encrypted: pack the pictures without a password.")
    if len(found) > limits.pictures:
        raise PictureError(f"The archive holds {len(found):,} pictures: pack at most {limits.pictures:,}.")
    if sum(info.file_size for info in found) > limits.size:
        raise PictureError(_too_large(limits))
    return found


def _too_large(limits: Limits) -> str:
    return f"The pictures take more than {limits.size // 2**20:,} MB unpacked: pack fewer, or save them smaller."


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/")


def _hidden(name: str) -> bool:
    """Whether a system has put the file there (macOS's ``__MACOSX``, ``._x.jpg``), and no person."""
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in name.split("/"))


def _plain_names(listed: Sequence[ZipInfo]) -> dict[str, ZipInfo]:
    """Return the files by names without folders; those of a folder that holds all of them go without its name."""
    parts = [info.filename.split("/") for info in listed]
    while len({one[0] for one in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [one[1:] for one in parts]
    found: dict[str, ZipInfo] = {}
    for one, info in zip(parts, listed, strict=True):
        whole = re.sub(r"[^\w .,()+=@&'-]", "_", "_".join(one))
        stem, suffix = whole[: -len(PurePosixPath(whole).suffix)], PurePosixPath(whole).suffix
        name, number = f"{stem[-LONGEST:]}{suffix}", 1
        while name in found:
            number += 1
            name = f"{stem[-LONGEST:]} ({number}){suffix}"
        found[name] = info
    return found
