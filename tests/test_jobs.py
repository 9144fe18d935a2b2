"""Jobs in real worker processes: results, cancel, death, queue, sharing, and an end with the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spade_core.config import Settings
from spade_core.errors import JobError
from spade_core.jobs import JobManager, code_version, job_key

TASKS = "tests.job_tasks"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Settings(data_dir=tmp_path, queue_length=3)


@pytest.fixture
def manager(settings):
    made = JobManager(settings, tasks=TASKS)
    made.submit("echo", {"text": "warm"}).wait(20)
    yield made
    made.close()


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def counting(manager, tmp_path, steps=500, mark=0):
    return manager.submit("count", {"log": str(tmp_path / f"log{mark}"), "steps": steps, "mark": mark})


def test_a_job_gives_its_files_its_partials_and_is_kept(manager, settings):
    ticket = manager.submit("echo", {"text": "hello"})
    status = ticket.wait(10)
    assert (status.state, status.fraction) == ("done", 1.0)
    assert ticket.result()["out"] == b"hello"
    assert ticket.partials() == {"part": b"first"}
    other = JobManager(settings, tasks="tests.no_such_module")  # cannot compute anything: the result is on disk
    try:
        again = other.submit("echo", {"text": "hello"})
        assert again.wait(1).state == "done"
        assert again.result()["pid"] == ticket.result()["pid"]
        assert other.find(ticket.key).result()["out"] == b"hello"
        assert other.find("0" * 64) is None
    finally:
        other.close()


def test_progress_comes_with_an_estimate(manager, tmp_path):
    ticket = counting(manager, tmp_path, steps=60)
    assert wait_for(lambda: ticket.status().fraction > 0.3)
    status = ticket.status()
    assert status.state == "running"
    assert status.note.startswith("step ")
    assert status.remaining == pytest.approx(status.elapsed * (1 - status.fraction) / status.fraction, rel=0.3)
    assert ticket.wait(10).state == "done"


def test_cancel_is_quick_and_the_next_job_finds_a_warm_worker(manager, tmp_path):
    worker = (
        manager.submit("echo", {"text": "who"}).wait(10) and manager.submit("echo", {"text": "who"}).result()["pid"]
    )
    ticket = counting(manager, tmp_path)
    assert wait_for(lambda: ticket.status().fraction > 0)
    start = time.monotonic()
    ticket.cancel()
    assert ticket.wait(5).state == "cancelled"
    following = manager.submit("echo", {"text": "next"})
    assert following.wait(5).state == "done"
    assert time.monotonic() - start < 2
    assert following.result()["pid"] == worker
    with pytest.raises(JobError, match="Cancelled"):
        ticket.result()


def test_a_job_that_ignores_the_cancel_is_killed_and_the_reserve_takes_over(manager):
    assert wait_for(lambda: manager._reserve is not None)
    time.sleep(1.0)  # the reserve warms up
    reserve = manager._reserve.process.pid
    ticket = manager.submit("stuck", {})
    assert wait_for(lambda: ticket.status().note == "stuck")
    start = time.monotonic()
    ticket.cancel()
    assert ticket.wait(5).state == "cancelled"
    assert time.monotonic() - start < 2
    following = manager.submit("echo", {"text": "after"})
    assert following.wait(10).state == "done"
    assert int(following.result()["pid"]) == reserve


@pytest.mark.parametrize("how", ["from inside", "from outside"])
def test_a_worker_that_dies_fails_one_job_and_is_replaced(manager, tmp_path, how):
    if how == "from inside":
        ticket = manager.submit("die", {})
    else:
        ticket = counting(manager, tmp_path)
        assert wait_for(lambda: ticket.status().fraction > 0)
        os.kill(manager._worker.process.pid, signal.SIGKILL)
    status = ticket.wait(10)
    assert status.state == "failed"
    assert "its process ended" in status.note
    assert manager.submit("echo", {"text": "alive"}).wait(15).state == "done"


def test_errors_for_users_travel_and_others_do_not_leak(manager):
    refused = manager.submit("refuse", {}).wait(10)
    assert (refused.state, refused.note) == ("failed", "This is no picture: choose another file.")
    crashed = manager.submit("crash", {}).wait(10)
    assert crashed.state == "failed"
    assert "internal detail" not in crashed.note
    assert manager.submit("echo", {"text": "fine"}).wait(10).state == "done"


def test_two_users_share_a_job_and_one_of_them_may_leave(manager, tmp_path):
    first = counting(manager, tmp_path, steps=40)
    second = counting(manager, tmp_path, steps=40)
    first.cancel()
    first.cancel()
    assert second.wait(10).state == "done"
    assert (tmp_path / "log0").read_text() == "x"


def test_the_queue_is_bounded_and_tells_positions(manager, tmp_path):
    tickets = [counting(manager, tmp_path, mark=mark) for mark in range(1)]
    assert wait_for(lambda: tickets[0].status().state == "running")
    tickets += [counting(manager, tmp_path, mark=mark) for mark in range(1, 4)]
    assert [ticket.status().position for ticket in tickets] == [0, 1, 2, 3]
    with pytest.raises(JobError, match="jobs are waiting"):
        counting(manager, tmp_path, mark=9)
    tickets[2].cancel()
    assert tickets[2].status().state == "cancelled"
    assert tickets[3].status().position == 2
    for ticket in tickets:
        ticket.cancel()


def test_a_failed_or_cancelled_job_can_be_started_again(manager, tmp_path):
    ticket = counting(manager, tmp_path, steps=30)
    assert wait_for(lambda: ticket.status().fraction > 0)
    ticket.cancel()
    assert ticket.wait(5).state == "cancelled"
    assert counting(manager, tmp_path, steps=30).wait(10).state == "done"


def test_inline_mode_runs_in_the_calling_thread(tmp_path):
    manager = JobManager(Settings(data_dir=tmp_path, jobs_mode="inline"), tasks=TASKS)
    ticket = manager.submit("echo", {"text": "here"})
    assert ticket.status().state == "done"
    assert ticket.result()["pid"] == str(os.getpid()).encode()
    assert manager.submit("refuse", {}).status().note.startswith("This is no picture")


def test_workers_end_with_a_killed_server(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom spade_core.config import Settings\n"
        "from spade_core.jobs import JobManager\n"
        f"m = JobManager(Settings(data_dir=Path({str(tmp_path)!r})), tasks={TASKS!r})\n"
        "while m._reserve is None: time.sleep(.01)\n"
        "s = m.submit('stuck', {})\n"
        "while s.status().note != 'stuck': time.sleep(.01)\n"
        "sys.stdout.write(f'{m._worker.process.pid} {m._reserve.process.pid}\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    workers = [int(pid) for pid in server.stdout.readline().split()]
    assert len(workers) == 2
    server.kill()
    server.wait()
    assert wait_for(lambda: not any(running(pid) for pid in workers), 5), "a worker outlived its server"


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def test_the_key_is_the_content():
    payload = {
        "model": {"name": "m"},
        "picture": {"path": "/a", "name": "n", "sha256": "s"},
        "config": {"b": 1, "a": 2},
    }
    moved = {**payload, "picture": {**payload["picture"], "path": "/elsewhere"}, "config": {"a": 2, "b": 1}}
    other = {**payload, "picture": {**payload["picture"], "sha256": "t"}}
    assert job_key("k", payload) == job_key("k", moved)
    assert len({job_key("k", payload), job_key("l", payload), job_key("k", other)}) == 3
    assert len(code_version()) == 64
