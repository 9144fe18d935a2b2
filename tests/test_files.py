"""Files appear whole or not at all."""

from __future__ import annotations

import os

import pytest

from spade_core.errors import ConfigError
from spade_core.files import UNFINISHED, Journal, keep_file, write_whole, written_beside


def test_a_file_appears_whole_and_the_earlier_one_stays_until_then(tmp_path):
    path = tmp_path / "new" / "file"
    write_whole(path, b"before")
    with path.open("rb") as earlier:
        with written_beside(path) as file:
            file.write(b"after")
            assert path.read_bytes() == b"before"
            assert [name for name in os.listdir(path.parent) if name.startswith(UNFINISHED)]
        assert earlier.read() == b"before"
    assert path.read_bytes() == b"after"
    assert os.listdir(path.parent) == ["file"]


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    write_whole(tmp_path / "file", b"before")

    def write():
        with written_beside(tmp_path / "file") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert (tmp_path / "file").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_journal_keeps_rows_by_their_keys_and_names_what_differs(tmp_path):
    path = tmp_path / "rows.jsonl"
    journal = Journal(path, {"seed": 0, "arms": ("a", "b")})
    journal.add("x", {"value": 1 / 3})
    journal.add("y", {"value": 2})
    journal.add("x", {"value": 4})
    again = Journal(path, {"seed": 0, "arms": ["a", "b"]})
    assert ("x" in again, "z" in again) == (True, False)
    assert again["x"] == journal["x"] == {"key": "x", "value": 1 / 3}
    assert again["y"]["value"] == 2
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"other settings \(seed was 0\)"):
        Journal(path, {"seed": 1, "arms": ["a", "b"]})
    assert path.read_bytes() == before


def test_the_mask_decides_who_may_read_unless_it_is_private(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "open", b"")
        with written_beside(tmp_path / "private", private=True):
            pass
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("open", "private")] == [0o640, 0o600]


def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe"):
        write_whole(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()


def test_what_lies_in_folders_by_content_is_dropped_too(tmp_path):
    old = keep_file(tmp_path, "a/weights.pt", b"x" * 10, 15)
    os.utime(old, (1, 1))
    new = keep_file(tmp_path, "b/weights.pt", b"y" * 10, 15)
    assert new.is_file()
    assert not old.exists()


def test_kept_files_lie_in_a_folder_that_its_owner_alone_looks_into(tmp_path):
    made, older = tmp_path / "results" / "kept", tmp_path / "older"
    older.mkdir(mode=0o755)
    for folder in (made, older):
        keep_file(folder, "a", b"1", 100)
        assert folder.stat().st_mode & 0o777 == 0o700
