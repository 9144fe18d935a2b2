"""Zip archives of strangers: their pictures come out under plain names, or one sentence says why not."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from spade_core.errors import PictureError
from spade_core.pictures import archive as module
from spade_core.pictures.archive import Limits, unpacked
from spade_core.pictures.picture import MAX_BYTES

LIMITS = Limits(pictures=4, size=4096)


def packed(files, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as made:
        for name, data in files:
            made.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def names(data, limits=LIMITS):
    return dict(unpacked(io.BytesIO(data), limits))


def test_a_folders_pictures_come_out_under_plain_names():
    files = [
        ("trip/b.png", b"b"),
        ("trip/a/x.JPG", b"x"),
        ("trip/a_x.JPG", b"y"),
        ("trip/notes.txt", b"-"),
        ("__MACOSX/trip/._b.png", b"-"),
        ("trip/.hidden.png", b"-"),
    ]
    assert names(packed(files)) == {"a_x (2).JPG": b"y", "a_x.JPG": b"x", "b.png": b"b"}


def test_a_name_is_a_name_on_every_system():
    (name,) = names(packed([("*" * 300 + "\n\x07.png", b"1")]))
    assert name == "_" * 80 + ".png"


def marked(data, flag):
    """Set a bit of the flags of the first entry, in both its headers."""
    changed = bytearray(data)
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[data.index(sign) + place] |= flag
    return bytes(changed)


ONE = packed([("a.png", b"1" * 100)])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no zip archive"),
        (b"\x89PNG" * 100, "no zip archive"),
        (ONE[:60], "no zip archive"),
        (packed([("a.txt", b"1")]), "holds no pictures"),
        (packed([("\0", b"1")]), "holds no pictures"),
        (packed([("../a.png", b"1")]), "lead out"),
        (packed([("/etc/a.png", b"1")]), "lead out"),
        (packed([("C:a.png", b"1")]), "lead out"),
        (packed([("a.png", b"1"), ("b/more.zip", b"PK")]), "another archive"),
        (packed([(f"{at}.png", b"1") for at in range(5)]), "holds 5 pictures: pack at most 4"),
        (packed([(f"{at}.png", b"0" * 2000) for at in range(3)]), "unpacked: pack fewer"),
        (marked(ONE, 1), "encrypted"),
        (ONE.replace(b"a.png", b"b.png", 1), "damaged"),
        (ONE[:40] + b"\xff\xff\xff" + ONE[43:], "damaged"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(data, said):
    with pytest.raises(PictureError, match=said):
        names(data)


def test_sizes_are_counted_and_not_believed():
    told = bytearray(packed([("a.png", b"0" * 9000)]))
    for sign, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", told, told.index(sign) + place, 9)
    with pytest.raises(PictureError):
        names(bytes(told))
    lots = Limits(pictures=1, size=2 * MAX_BYTES)
    assert len(names(packed([("a.png", bytes(MAX_BYTES + 9))]), lots)["a.png"]) == MAX_BYTES + 1


def test_a_directory_that_would_fill_the_memory_is_not_read(monkeypatch):
    monkeypatch.setattr(module, "MAX_DIRECTORY", 10)
    with pytest.raises(PictureError, match="too many files"):
        names(ONE)
    monkeypatch.setattr(module, "MAX_DIRECTORY", 2**20)
    end = ONE.index(b"PK\x05\x06")
    with pytest.raises(PictureError, match="too many files"):
        names(ONE[:end] + b"PK\x06\x07" + bytes(16) + ONE[end:])
