"""Results on disk: atomic, bounded, and never in the way."""

from __future__ import annotations

import os
import time

import pytest

from spade_core import store
from spade_core.store import ResultStore, keep_file


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    monkeypatch.setattr(store, "_YOUNG", 0.0)


def test_what_is_put_is_found_and_the_first_writer_wins(tmp_path):
    results = ResultStore(tmp_path / "r", 1000)
    assert results.get("a") is None
    results.put("a", {"x": b"1", "y": b"2"})
    results.put("a", {"x": b"other"})
    assert results.get("a") == {"x": b"1", "y": b"2"}
    assert ResultStore(tmp_path / "r", 1000).get("a") == {"x": b"1", "y": b"2"}


def test_a_half_written_entry_counts_as_absent_and_is_replaced(tmp_path):
    results = ResultStore(tmp_path, 1000)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"half")
    assert results.get("a") is None
    results.put("a", {"x": b"whole"})
    assert results.get("a") == {"x": b"whole"}


def test_the_least_recently_used_go_first(tmp_path):
    results = ResultStore(tmp_path, 25)
    for age, key in enumerate(("old", "used", "new")):
        results.put(key, {"x": b"0123456789"})
        if key != "new":
            os.utime(tmp_path / key / "complete", (time.time() - 100 + age,) * 2)
        if key == "used":
            results.get("used")
            os.utime(tmp_path / "used" / "complete", (time.time() - 10,) * 2)
    assert [results.get(key) is None for key in ("old", "used", "new")] == [True, False, False]


def test_an_entry_larger_than_the_limit_is_still_given_once(tmp_path):
    results = ResultStore(tmp_path, 5)
    results.put("big", {"x": b"0123456789"})
    assert results.get("big") is not None


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    results = ResultStore(tmp_path, 1000)
    with pytest.raises(TypeError):
        results.put("a", {"x": "not bytes"})
    assert list(tmp_path.iterdir()) == []


def test_keep_file_writes_once_and_forgets_the_oldest(tmp_path):
    first = keep_file(tmp_path, "a", b"12345", 12)
    os.utime(first, (1, 1))
    assert keep_file(tmp_path, "b", b"12345", 12).read_bytes() == b"12345"
    assert first.exists()
    keep_file(tmp_path, "c", b"12345", 12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
