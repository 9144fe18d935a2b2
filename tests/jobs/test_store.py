"""Results on disk: whole or absent, bounded, and never in the way of another process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from spade_core import files as store
from spade_core.files import keep_file
from spade_core.jobs import store as results_module
from spade_core.jobs.store import ResultStore

ROOT = Path(__file__).resolve().parent.parent.parent
LONG = 120  # seconds for what must happen at some time, however busy the machine is
OURS = {module.__file__ for module in (store, results_module)}


@pytest.fixture
def no_grace(monkeypatch):
    monkeypatch.setattr(store, "_YOUNG", 0.0)


def age(folder, name, seconds):
    (path,) = folder.glob(f"{name}*")
    os.utime(path, (time.time() - seconds,) * 2)


def at_every_line(work, then):
    """Run ``work``, and ``then`` before each line of the store's own code that it comes to; return how often."""
    count = 0

    def trace(frame, event, _argument):
        nonlocal count
        if frame.f_code.co_filename in OURS:
            if event == "line":
                count += 1
                then()
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def keys(folder):
    return sorted(path.stem for path in folder.iterdir())


def test_what_is_put_is_found_also_by_another_store(tmp_path):
    results = ResultStore(tmp_path / "deep" / "r", 10_000)
    files = {"x.npy": bytes(range(256)), "y": b""}
    assert results.get("a") is None
    results.put("a", files)
    assert results.get("a") == files
    assert ResultStore(tmp_path / "deep" / "r", 10_000).get("a") == files


def test_an_entry_is_absent_wherever_it_is_damaged(tmp_path, caplog):
    results = ResultStore(tmp_path, 10_000)
    results.put("a", {"x.npy": b"0123456789" * 3, "y": b"abc"})
    (entry,) = tmp_path.iterdir()
    good = entry.read_bytes()
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << (place % 8)
        entry.write_bytes(damaged)
        assert results.get("a") is None
    assert len(caplog.records) == len(good)


def test_an_entry_opens_as_a_zip_archive(tmp_path):
    ResultStore(tmp_path, 10_000).put("a", {"x": b"1", "y": b"2"})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["x", "y"]


@pytest.mark.parametrize("size", [0, 1, 30, -1])
def test_a_truncated_entry_is_logged_and_replaced_by_the_next(tmp_path, caplog, size):
    results = ResultStore(tmp_path, 10_000)
    results.put("a", {"x": b"whole"})
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:size])
    assert results.get("a") is None
    assert "computed again" in caplog.text
    results.put("a", {"x": b"whole"})
    assert results.get("a") == {"x": b"whole"}


@pytest.mark.usefixtures("no_grace")
def test_the_least_recently_used_go_first(tmp_path):
    results = ResultStore(tmp_path, 2500)
    for key, seconds in (("old", 300), ("used", 400)):
        results.put(key, {"x": bytes(1000)})
        age(tmp_path, key, seconds)
    assert results.get("used") is not None  # which makes it the younger one
    results.put("new", {"x": bytes(1000)})
    assert keys(tmp_path) == ["new", "used"]


@pytest.mark.usefixtures("no_grace")
def test_an_entry_larger_than_the_limit_stays_until_the_next(tmp_path):
    results = ResultStore(tmp_path, 5)
    results.put("big", {"x": b"0123456789"})
    assert results.get("big") is not None
    results.put("next", {"x": b"0123456789"})
    assert keys(tmp_path) == ["next"]


def test_what_was_just_used_is_not_deleted(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(store, "time", SimpleNamespace(time=lambda: now))
    results = ResultStore(tmp_path, 5)
    for key, seconds in (("mine", store._YOUNG - 1), ("old", store._YOUNG)):
        results.put(key, {"x": b"0123456789"})
        os.utime(tmp_path / f"{key}.zip", (now - seconds,) * 2)
    results.put("another's", {"x": b"0123456789"})
    assert keys(tmp_path) == ["another's", "mine"]


FILES = {f"f{index}": bytes([index]) * 500 for index in range(20)}


@pytest.mark.usefixtures("no_grace")
def test_a_reader_gets_all_or_nothing_at_every_moment_of_an_entrys_coming_and_going(tmp_path):
    results, seen = ResultStore(tmp_path, 1), []

    def look():
        found = results.get("k")
        assert found in (None, FILES)
        seen.append(found is not None)

    assert at_every_line(lambda: results.put("k", FILES), look) > 10
    assert seen == sorted(seen), "once it is there, it stays"
    assert set(seen) == {False, True}
    at_every_line(lambda: results.put("k", FILES), look)
    assert all(seen[seen.index(True) :]), "it never goes while it is replaced"
    age(tmp_path, "k", 100)
    seen.clear()
    at_every_line(lambda: results.put("other", {"x": b"1"}), lambda: look() or age_if_there(tmp_path))
    assert seen == sorted(seen, reverse=True), "once it is gone, it stays away"
    assert set(seen) == {False, True}


def age_if_there(folder):
    if (folder / "k.zip").exists():
        age(folder, "k", 100)


@pytest.mark.usefixtures("no_grace")
@pytest.mark.parametrize("change", ["replaced", "driven out", "both"])
def test_a_reader_gets_all_or_nothing_whatever_happens_at_any_moment_of_its_reading(tmp_path, change):
    results = ResultStore(tmp_path, 1)
    others = {"x": b"another"}

    def happens():
        if change != "replaced":
            age_if_there(tmp_path)
            results.put("o", {"x": b"1"})
        if change != "driven out":
            results.put("k", others)

    results.put("k", FILES)
    lines = at_every_line(lambda: results.get("k"), lambda: None)
    for moment in range(1, lines + 1):
        results.put("k", FILES)
        passed, found = [], []

        def then(moment=moment, passed=passed):
            passed.append(1)
            if len(passed) == moment:
                happens()

        at_every_line(lambda found=found: found.append(results.get("k")), then)
        assert found[0] in (None, FILES, others), moment
    assert moment == lines > 3


@pytest.mark.usefixtures("no_grace")
def test_readers_in_threads_get_all_or_nothing_while_entries_come_and_go(tmp_path):
    results, wrong, stop = ResultStore(tmp_path, 1), [], threading.Event()
    nothing, whole = threading.Semaphore(0), threading.Semaphore(0)  # a reader has found

    def read():
        while not stop.is_set():
            found = results.get("k")
            (nothing if found is None else whole).release()
            if found not in (None, FILES):
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(40):
            results.put("k", FILES)
            assert whole.acquire(timeout=LONG)
            results.put(f"o{turn}", {"x": b"1"})  # drives the other one out
            assert nothing.acquire(timeout=LONG)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong


def test_two_processes_may_write_the_same_entry(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom spade_core.jobs.store import ResultStore\n"
        "results = ResultStore(Path(sys.argv[1]), 10**6)\n"
        "for _ in range(100):\n"
        "    results.put('k', {'x': bytes(5000)})\n"
        "    assert results.get('k') == {'x': bytes(5000)}\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(2)]
    assert [process.wait(LONG) for process in both] == [0, 0]
    assert keys(tmp_path) == ["k"]


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    results = ResultStore(tmp_path, 1000)
    with pytest.raises(TypeError):
        results.put("a", {"x": 3.5})
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_while(tmp_path):
    results = ResultStore(tmp_path, 10_000)
    for name in (".writing-old", ".writing-now"):
        (tmp_path / name).write_bytes(b"half")
    age(tmp_path, ".writing-old", 2 * store._ABANDONED)
    results.put("a", {"x": b"1"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-now", "a.zip"]


def test_a_hit_is_quick_as_it_reads_its_file_once_and_unpacks_without_computing(tmp_path, monkeypatch):
    results = ResultStore(tmp_path, 10**9)
    maps = {f"map{index}.npy": bytes(4 * 224 * 224) for index in range(20)}
    results.put("a", maps)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    assert results.get("a") == maps
    assert read == [tmp_path / "a.zip"]


@pytest.mark.usefixtures("no_grace")
def test_keep_file_writes_once_and_forgets_the_oldest(tmp_path):
    first = keep_file(tmp_path, "a", b"12345", 12)
    os.utime(first, (1, 1))
    assert keep_file(tmp_path, "b", b"12345", 12).read_bytes() == b"12345"
    assert keep_file(tmp_path, "a", b"12345", 12).stat().st_mtime > 1  # kept, and its use noted
    age(tmp_path, "b", 100)
    keep_file(tmp_path, "c", b"12345", 12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_keep_file_repairs_a_file_that_a_crash_cut_off(tmp_path):
    keep_file(tmp_path, "a", b"12345", 100).write_bytes(b"")
    assert keep_file(tmp_path, "a", b"12345", 100).read_bytes() == b"12345"
