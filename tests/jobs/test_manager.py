"""Jobs in real worker processes: results, cancel, death, queue, sharing, and an end with the server."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from spade_core.config import Settings
from spade_core.errors import ConfigError, JobError, PictureError
from spade_core.jobs import job as job_state
from spade_core.jobs import lanes
from spade_core.jobs import manager as jobs
from spade_core.jobs.job import Job
from spade_core.jobs.manager import JobManager, job_key
from spade_core.jobs.worker import Runner
from spade_core.pictures.picture import load_picture
from tests.job_tasks import GATE, STEPS

TASKS = "tests.job_tasks"
ROOT = Path(__file__).resolve().parent.parent.parent
LONG = 120.0  # seconds for what must happen at some time, however busy the machine is


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(lanes, "RESERVE_AFTER", 0.05)
    return Settings(data_dir=tmp_path, queue_length=3, device="cpu")


@pytest.fixture
def make(settings):
    made = []

    def make(tasks=TASKS, settings=settings):
        made.append(JobManager(settings, tasks=tasks))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def manager(make):
    made = make()
    assert made.submit("echo", {"text": "warm"}).wait(LONG).state == "done"
    return made


class Clock:
    """Stands in for a module's ``time``: a clock that tests turn, from the real one's time on, which follows it."""

    def __init__(self):
        self.now = time.monotonic()

    def monotonic(self):
        return self.now


def wait_for(condition):
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def say(tmp_path, step, mark=0):
    """Let the job of this mark report the step; the last one ends it."""
    (tmp_path / "said").write_text(str(step))
    (tmp_path / "said").replace(tmp_path / f"step{mark}")


def followed(manager, tmp_path, mark=0, step=1):
    """Submit a job that runs until it is cancelled or told the last step."""
    if not (tmp_path / f"step{mark}").exists():
        say(tmp_path, step, mark)
    return manager.submit("follow", {"log": str(tmp_path / f"log{mark}"), "step": str(tmp_path / f"step{mark}")})


def begun(ticket):
    return wait_for(lambda: ticket.status().fraction > 0)


def done(manager, text):
    """Return the ticket of a job that is done."""
    ticket = manager.submit("echo", {"text": text})
    assert ticket.wait(LONG).state == "done"
    return ticket


def pid_of(ticket):
    return int(ticket.result()["pid"])


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def with_reserve(manager):
    """Wait until worker and reserve are warm; return their process numbers."""
    lane = manager.lane
    assert wait_for(lambda: lane.reserve is not None and lane.reserve.ready)
    return lane.worker.process.pid, lane.reserve.process.pid


# Results


def test_a_job_gives_its_files_and_its_partials(manager):
    ticket = manager.submit("echo", {"text": "hello"})
    status = ticket.wait(LONG)
    assert (status.state, status.fraction, status.remaining, status.position) == ("done", 1.0, None, 0)
    assert ticket.result()["out"] == b"hello"
    assert ticket.result()["device"] == b"cpu"
    assert ticket.partials() == {"part": b"first"}
    assert ticket.error is None


def test_a_result_is_found_again_by_another_server_without_computing(manager, make):
    ticket = manager.submit("echo", {"text": "hello"})
    ticket.wait(LONG)
    other = make(tasks="tests.no_such_module")  # cannot compute anything: the result is on disk
    again = other.submit("echo", {"text": "hello"})
    assert again.status().state == "done"
    assert again.result() == ticket.result()
    assert other.find(ticket.key).result()["out"] == b"hello"
    assert other.find("0" * 64) is None


def test_a_damaged_result_is_computed_again(manager, caplog):
    ticket = manager.submit("echo", {"text": "hello"})
    ticket.wait(LONG)
    (entry,) = manager.store.root.glob(f"{ticket.key}*")
    entry.write_bytes(entry.read_bytes().replace(b"hello", b"hullo"))
    with caplog.at_level(logging.WARNING):
        again = manager.submit("echo", {"text": "hello"})
    assert "computed again" in caplog.text
    assert again.wait(LONG).state == "done"
    assert again.result()["out"] == b"hello"
    assert manager.store.get(ticket.key)["out"] == b"hello"


def test_a_result_that_cannot_be_kept_is_given_all_the_same(manager):
    with_reserve(manager)
    worker = manager.lane.worker
    for entry in manager.store.root.iterdir():
        entry.unlink()
    manager.store.root.rmdir()
    manager.store.root.write_bytes(b"a file in the way")
    ticket = manager.submit("echo", {"text": "unkept"})
    assert ticket.wait(LONG).state == "done"
    assert ticket.result()["out"] == b"unkept"
    assert manager.lane.worker is worker


def test_a_result_outlives_its_deletion_in_the_tickets_that_have_it(manager):
    ticket = manager.submit("echo", {"text": "hello"})
    ticket.wait(LONG)
    for entry in manager.store.root.iterdir():
        entry.unlink()
    assert ticket.result()["out"] == b"hello"


def test_nothing_is_remembered_of_ended_jobs(manager, tmp_path):
    tickets = [manager.submit("refuse", {}), manager.submit("echo", {"text": "x"}), followed(manager, tmp_path)]
    tickets[2].cancel()
    assert wait_for(lambda: not manager._jobs)
    remembered = [weakref.ref(ticket._job) for ticket in tickets]
    tickets.clear()
    # The lane may just be returning from the end of the last one.
    assert wait_for(lambda: gc.collect() >= 0 and [job() for job in remembered] == [None, None, None])


def test_an_unfinished_job_has_no_result(manager, tmp_path):
    ticket = followed(manager, tmp_path)
    with pytest.raises(JobError, match="not finished"):
        ticket.result()


# Progress


def test_progress_comes_with_an_estimate(manager, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(job_state, "time", clock)
    ticket = followed(manager, tmp_path, step=0)
    assert wait_for(lambda: ticket.status().note == "step 0")
    assert ticket.status().remaining is None
    clock.now += 6
    say(tmp_path, 30)
    assert wait_for(lambda: ticket.status().note == "step 30")
    status = ticket.status()
    assert (status.state, status.fraction, status.elapsed) == ("running", 0.3, 6.0)
    assert status.remaining == pytest.approx(14)
    say(tmp_path, STEPS)
    assert ticket.wait(LONG).state == "done"


def test_the_estimate_is_smooth_and_the_fraction_never_falls(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(job_state, "time", clock)
    job = Job(1, "k", "kind", {})
    assert job.status(2) == job_state.Status("queued", 0.0, "", 0.0, None, 2)
    job.begin()
    assert job.status(0).remaining is None
    clock.now += 2
    job.report(0.2, "steady")
    assert job.status(0).remaining == pytest.approx(8)
    clock.now += 1
    assert job.status(0).remaining == pytest.approx(7)  # counts down between reports
    job.report(0.1, "back")
    assert job.status(0).fraction == 0.2
    jump = 3 / 0.2 - 3  # what the last report alone would say
    assert 7 < job.status(0).remaining < jump


# Cancel


def test_a_job_is_cancelled_at_its_next_report(tmp_path):
    said = []

    def send(message):
        said.append(message)
        if message[0] == "progress":
            runner.cancel(7)

    runner = Runner(TASKS, "cpu", send)
    say(tmp_path, 1)
    runner.run(7, "follow", {"log": str(tmp_path / "log0"), "step": str(tmp_path / "step0")})
    assert said == [("started", 7), ("progress", 7, 1 / STEPS, "step 1"), ("cancelled", 7)]


def test_cancel_is_quick_and_leaves_the_worker_warm(manager, tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "GRACE", 10 * LONG)  # nobody is killed: the job itself answers
    worker, _ = with_reserve(manager)
    ticket = followed(manager, tmp_path)
    assert begun(ticket)
    ticket.cancel()
    assert ticket.status().state == "cancelled"
    following = manager.submit("echo", {"text": "next"})
    assert following.wait(LONG).state == "done"
    assert pid_of(following) == worker
    with pytest.raises(JobError, match="Cancelled"):
        ticket.result()


def test_a_job_that_ignores_the_cancel_is_killed_and_the_reserve_takes_over(manager, monkeypatch):
    worker, reserve = with_reserve(manager)
    ticket = manager.submit("stuck", {})
    assert wait_for(lambda: ticket.status().note == "stuck")
    with monkeypatch.context() as patch:
        clock = Clock()
        patch.setattr(lanes, "time", clock)
        ticket.cancel()
        assert wait_for(lambda: manager.lane._turn.deadline is not None)
        assert manager.lane._turn.deadline == clock.now + lanes.GRACE
        following = manager.submit("echo", {"text": "after"})
        assert alive(worker), "its time is not over"
        clock.now += lanes.GRACE
        assert following.wait(LONG).state == "done"
    assert pid_of(following) == reserve
    assert not alive(worker)
    assert with_reserve(manager)[0] == reserve


def test_the_same_request_after_a_cancel_is_a_new_job(manager, tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "GRACE", 10 * LONG)
    late = {"until": str(tmp_path / "now")}
    first = manager.submit("dawdle", late)
    assert wait_for(lambda: first.status().note == "dawdling")
    first.cancel()
    second = manager.submit("dawdle", late)
    (tmp_path / "now").touch()
    assert second.wait(LONG).state == "done"
    assert second.result() == {"out": b"dawdled"}
    assert first.status().state == "cancelled"


def test_a_cancel_while_the_worker_starts_is_immediate_and_does_not_restart_it(make, tmp_path, monkeypatch):
    monkeypatch.setenv(GATE, str(tmp_path / "gate"))
    manager = make()
    assert wait_for(lambda: manager.lane.worker is not None)
    worker = manager.lane.worker
    ticket = followed(manager, tmp_path)
    ticket.cancel()
    assert wait_for(lambda: not manager._jobs), "it waits for no worker"
    following = manager.submit("echo", {"text": "next"})
    (tmp_path / "gate").touch()
    assert following.wait(LONG).state == "done"
    assert manager.lane.worker is worker
    assert not (tmp_path / "log0").exists()


def test_a_cancel_after_the_end_changes_nothing(manager):
    ticket = manager.submit("echo", {"text": "hello"})
    ticket.wait(LONG)
    ticket.cancel()
    assert ticket.status().state == "done"
    assert ticket.result()["out"] == b"hello"


def test_a_failed_or_cancelled_job_can_be_started_again(manager, tmp_path):
    ticket = followed(manager, tmp_path)
    assert begun(ticket)
    ticket.cancel()
    again = followed(manager, tmp_path)
    say(tmp_path, STEPS)
    assert again.wait(LONG).state == "done"
    assert manager.submit("refuse", {}).wait(LONG).state == "failed"
    assert manager.submit("refuse", {}).wait(LONG).state == "failed"


# Sharing


def test_two_users_share_a_job_and_one_of_them_may_leave(manager, tmp_path):
    first = followed(manager, tmp_path)
    second = followed(manager, tmp_path)
    first.cancel()
    first.cancel()
    assert first.wait(0).state == "cancelled"
    say(tmp_path, STEPS)
    assert second.wait(LONG).state == "done"
    assert (tmp_path / "log0").read_text() == "x"


def test_a_session_that_is_gone_does_not_keep_a_job_alive(manager, tmp_path):
    before_reload = followed(manager, tmp_path)
    assert begun(before_reload)
    for _ in range(3):
        assert manager.find(before_reload.key).status().state == "running"
    after_reload = manager.find(before_reload.key)
    del before_reload
    gc.collect()
    after_reload.cancel()
    assert wait_for(lambda: not manager._jobs)


def test_many_threads_asking_for_the_same_share_one_computation(manager, tmp_path):
    tickets = []
    threads = [threading.Thread(target=lambda: tickets.append(followed(manager, tmp_path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(tmp_path, STEPS)
    assert {ticket.wait(LONG).state for ticket in tickets} == {"done"}
    assert (tmp_path / "log0").read_text() == "x"


def test_the_queue_is_bounded_and_tells_positions(manager, tmp_path):
    tickets = [followed(manager, tmp_path)]
    assert begun(tickets[0])
    tickets += [followed(manager, tmp_path, mark=mark) for mark in range(1, 4)]
    assert [ticket.status().position for ticket in tickets] == [0, 1, 2, 3]
    with pytest.raises(JobError, match="queue is full"):
        followed(manager, tmp_path, mark=9)
    assert manager.find(tickets[3].key) is not None
    tickets[2].cancel()
    assert tickets[2].status().state == "cancelled"
    assert tickets[3].status().position == 2
    assert followed(manager, tmp_path, mark=9).status().state == "queued"


# Rest


def test_an_idle_server_gives_memory_back_and_has_a_reserve_again_after_the_next_job(manager, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    worker, reserve = with_reserve(manager)
    clock, lane = Clock(), manager.lane
    with monkeypatch.context() as patch:
        patch.setattr(lanes, "time", clock)
        clock.now = lane._idle_since + manager.settings.idle_seconds - 1
        lane._ring()
        assert wait_for(lambda: not lane._rung)
        assert alive(reserve), "it is not time yet"
        clock.now += 1
        lane._ring()
        assert wait_for(lambda: not alive(reserve))
        assert wait_for(lambda: "rests" in caplog.text)
    assert lane.worker.process.pid == worker
    assert pid_of(done(manager, "first")) == worker
    assert with_reserve(manager)[0] == worker
    assert caplog.text.count("rests") == 1


def test_a_worker_that_holds_much_after_a_job_gives_back_what_that_has_freed(make, settings, caplog):
    caplog.set_level(logging.INFO)
    for kept in (2**40, 1):
        manager = make(settings=replace(settings, kept_bytes=kept))
        assert pid_of(done(manager, f"{kept}, first")) == pid_of(done(manager, f"{kept}, second"))
        assert ("rests" in caplog.text) == (kept == 1), "it says so before it begins the second job"


# Death


@pytest.mark.parametrize("how", ["from inside", "from outside"])
def test_a_worker_that_dies_fails_one_job_and_is_replaced(manager, tmp_path, how):
    ticket = manager.submit("die", {}) if how == "from inside" else followed(manager, tmp_path)
    if how == "from outside":
        assert begun(ticket)
        os.kill(manager.lane.worker.process.pid, signal.SIGKILL)
    following = manager.submit("echo", {"text": "alive"})
    status = ticket.wait(LONG)
    assert status.state == "failed"
    assert "out of memory" in status.note
    with pytest.raises(JobError, match="was killed"):
        ticket.result()
    assert following.wait(LONG).state == "done"


def test_a_worker_that_leaves_fails_its_job_with_another_sentence(manager):
    assert "ended unexpectedly" in manager.submit("leave", {}).wait(LONG).note
    assert manager.submit("echo", {"text": "alive"}).wait(LONG).state == "done"


@pytest.mark.parametrize("noticed", [True, False])
def test_a_worker_that_dies_idle_fails_no_job(manager, noticed):
    worker, reserve = with_reserve(manager)
    if noticed:
        os.kill(worker, signal.SIGKILL)
        assert wait_for(lambda: manager.lane.worker.process.pid == reserve)
        following = manager.submit("echo", {"text": "alive"})
    else:
        os.kill(worker, signal.SIGSTOP)  # it cannot begin what it is sent
        following = manager.submit("echo", {"text": "alive"})
        assert wait_for(lambda: manager.lane._turn is not None and manager.lane._turn.sent)
        os.kill(worker, signal.SIGKILL)
    assert following.wait(LONG).state == "done"
    assert pid_of(following) == reserve


def test_worker_and_reserve_may_both_die(manager):
    for pid in with_reserve(manager):
        os.kill(pid, signal.SIGKILL)
    assert manager.submit("echo", {"text": "alive"}).wait(LONG).state == "done"


def test_a_worker_that_cannot_start_fails_its_job_and_is_not_tried_in_a_loop(make, monkeypatch):
    started = []
    monkeypatch.setattr(lanes, "WorkerProcess", lambda *args: started.append(args) or real(*args))
    real = importlib.import_module("spade_core.jobs.worker").WorkerProcess
    manager = make(tasks="tests.no_such_module")
    status = manager.submit("echo", {}).wait(LONG)
    assert (status.state, "could not begin" in status.note) == ("failed", True)
    time.sleep(0.5)
    assert len(started) == 1
    assert manager.submit("echo", {}).wait(LONG).state == "failed"
    assert len(started) == 2


def test_workers_end_with_a_killed_server(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom spade_core.jobs import lanes\nlanes.RESERVE_AFTER = 0.05\n"
        "from spade_core.config import Settings\nfrom spade_core.jobs.manager import JobManager\n"
        f"m = JobManager(Settings(data_dir=Path({str(tmp_path)!r})), tasks={TASKS!r})\n"
        "while m.lane.reserve is None: time.sleep(.01)\n"
        "s = m.submit('stuck', {})\n"
        "while s.status().note != 'stuck': time.sleep(.01)\n"
        "print(m.lane.worker.process.pid, m.lane.reserve.process.pid, flush=True)\ntime.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    workers = [int(pid) for pid in server.stdout.readline().split()]
    server.kill()
    server.wait()
    assert len(workers) == 2
    assert wait_for(lambda: not any(alive(pid) for pid in workers)), "a worker outlived its server"


def test_close_ends_the_workers_and_whoever_waits(make, tmp_path):
    manager = make()
    manager.submit("echo", {"text": "warm"}).wait(LONG)
    workers = with_reserve(manager)
    running, waiting = followed(manager, tmp_path), followed(manager, tmp_path, mark=1)
    assert begun(running)
    manager.close()
    assert [ticket.wait(LONG).state for ticket in (running, waiting)] == ["failed", "failed"]
    assert "stopping" in running.status().note
    assert not any(alive(pid) for pid in workers)
    with pytest.raises(JobError, match="stopping"):
        manager.submit("echo", {"text": "late"})
    manager.close()


# Errors


def test_errors_for_users_keep_their_sentence_and_type(manager):
    ticket = manager.submit("refuse", {})
    status = ticket.wait(LONG)
    assert (status.state, status.note) == ("failed", "This is no picture: choose another file.")
    assert isinstance(ticket.error, PictureError)
    with pytest.raises(PictureError, match="This is no picture"):
        ticket.result()


def test_a_defect_is_logged_and_its_details_are_not_shown(manager, caplog, capfd):
    worker = manager.lane.worker
    with caplog.at_level(logging.INFO):
        status = manager.submit("crash", {}).wait(LONG)
        assert wait_for(lambda: "internal detail" in caplog.text)
    assert status.state == "failed"
    assert "internal detail" not in status.note
    assert "a library's warning" in [
        record.message.split(": ", 1)[1] for record in caplog.records if record.name == "somewhere"
    ]
    assert "noise" not in capfd.readouterr().out
    assert manager.submit("echo", {"text": "fine"}).wait(LONG).state == "done"
    assert manager.lane.worker is worker


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("starve", "ran out of memory"),
        ("give_text", "failed unexpectedly"),
        ("give_path", "failed unexpectedly"),
        ("no_such_kind", "failed unexpectedly"),
    ],
)
def test_what_a_task_does_wrong_ends_only_its_job(manager, kind, sentence):
    worker = manager.lane.worker
    assert sentence in manager.submit(kind, {}).wait(LONG).note
    assert manager.submit("echo", {"text": "fine"}).wait(LONG).state == "done"
    assert manager.lane.worker is worker


def test_a_payload_that_is_not_json_is_refused_at_once(manager):
    with pytest.raises(TypeError):
        manager.submit("echo", {"text": object()})
    assert manager.submit("echo", {"text": "fine"}).wait(LONG).state == "done"


# Settings and keys


def test_workers_use_all_cores_unless_told_otherwise(make, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    free = make().submit("threads", {})
    assert free.wait(LONG).state == "done"
    assert int(free.result()["out"]) == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    told = make().submit("threads", {"again": True})
    assert told.wait(LONG).state == "done"
    assert told.result()["out"] == b"7"


def test_workers_let_the_server_go_first(make):
    ticket = make().submit("echo", {"text": "here"})
    assert ticket.wait(LONG).state == "done"
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid_of(ticket)) == min(own + 10, 19)


def test_inline_mode_runs_in_the_calling_thread(make, tmp_path):
    manager = make(settings=Settings(data_dir=tmp_path, jobs_mode="inline"))
    ticket = manager.submit("echo", {"text": "here"})
    assert ticket.status().state == "done"
    assert pid_of(ticket) == os.getpid()
    assert manager.submit("refuse", {}).status().note.startswith("This is no picture")
    assert manager.find(ticket.key).result() == ticket.result()


def test_inline_jobs_are_shared_and_cancelled_as_well(make, tmp_path):
    manager = make(settings=Settings(data_dir=tmp_path, jobs_mode="inline"))
    tickets = []
    thread = threading.Thread(target=lambda: tickets.append(followed(manager, tmp_path)))
    thread.start()
    assert wait_for(lambda: manager._jobs)
    other = followed(manager, tmp_path)
    assert begun(other)
    for ticket in list(next(iter(manager._jobs.values())).tickets):
        ticket.cancel()
    thread.join(LONG)
    assert not thread.is_alive()
    assert tickets[0].status().state == other.status().state == "cancelled"
    assert (tmp_path / "log0").read_text() == "x"


def test_an_uploaded_picture_is_shelved_by_content(make, tmp_path, coffee):
    manager = make(settings=Settings(data_dir=tmp_path / "data", jobs_mode="inline"))
    assert manager.shelve(coffee.name, coffee.sha256, None)["path"] == "bundled:coffee"
    data = (ROOT / "assets" / "pictures" / "coffee.jpg").read_bytes()
    named = manager.shelve(coffee.name, coffee.sha256, data)
    assert load_picture(named["path"]).sha256 == named["sha256"] == coffee.sha256
    (tmp_path / "file").write_bytes(b"")
    blocked = make(settings=Settings(data_dir=tmp_path / "file", jobs_mode="inline"))
    with pytest.raises(ConfigError, match="SPADE_DATA_DIR"):
        blocked.shelve(coffee.name, coffee.sha256, data)


def test_the_key_is_the_content(monkeypatch):
    picture = {"path": "/a", "name": "n", "sha256": "s"}
    payload = {"model": {"name": "m"}, "picture": picture, "pictures": (picture,), "config": {"b": 1, "a": 2}}
    elsewhere = {**picture, "path": "/elsewhere"}
    moved = {**payload, "picture": elsewhere, "pictures": [elsewhere], "config": {"a": 2, "b": 1}}
    other = {**payload, "picture": {**picture, "sha256": "t"}}
    key = job_key("k", payload)
    assert key == job_key("k", moved)
    assert len({key, job_key("l", payload), job_key("k", other)}) == 3
    for name in ("library_versions", "task_version"):
        with monkeypatch.context() as patch:
            patch.setattr(jobs, name, lambda *_: "0")
            assert job_key("k", payload) != key
