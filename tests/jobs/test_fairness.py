"""Whose job is next, how many one may hold, and what ends a job: leaving, taking too long, taking too much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spade_core.config import Settings
from spade_core.errors import JobError
from spade_core.jobs import lanes
from spade_core.jobs import manager as jobs
from spade_core.jobs.fairness import FairQueue, Limits
from spade_core.jobs.job import Job
from spade_core.jobs.manager import JobManager
from tests.job_tasks import STEPS
from tests.jobs.test_manager import LONG, ROOT, TASKS, Clock, alive, begun, followed, say, wait_for

ROOMY = Limits(100, 100, 3600, 2**40, 2**40, 3600)


def queue_of(*asked, limits=ROOMY, took=()):
    """Return a queue of jobs ``(owner, kind)``, of whose kinds some have run before."""
    queue = FairQueue(limits)
    for kind, seconds in took:
        queue.took(Job(0, "", kind, {}), seconds)
    for serial, (owner, kind) in enumerate(asked, 1):
        queue.add(Job(serial, f"{serial}", kind, {}, owner), spare=0)
    return queue


def taken(queue):
    return [queue.take().serial for _ in range(len(queue))]


def test_sessions_take_turns_however_many_jobs_one_has():
    queue = queue_of(*[("greedy", "draw")] * 5, ("late", "draw"), ("later", "draw"))
    assert [job.serial for job in queue.order()] == [1, 6, 7, 2, 3, 4, 5]
    assert taken(queue) == [1, 6, 7, 2, 3, 4, 5]


def test_short_jobs_come_first_within_a_round():
    took = (("draw", 150.0), ("trace", 3.0))
    assert taken(queue_of(("a", "draw"), ("b", "draw"), ("c", "trace"), ("a", "trace"), took=took)) == [3, 4, 2, 1]


def test_a_session_that_keeps_asking_for_short_jobs_holds_up_nobody():
    queue = queue_of(("a", "trace"), ("b", "draw"), took=(("draw", 150.0), ("trace", 3.0)))
    order = []
    for serial in range(10, 15):
        order.append(queue.take().serial)
        queue.add(Job(serial, "", "trace", {}, "a"), spare=0)
    assert order[:2] == [1, 2]


def test_order_and_take_agree_whatever_comes_between():
    queue = queue_of(*[(owner, kind) for owner in "abc" for kind in ("draw", "trace")], took=(("draw", 9.0),))
    while len(queue):
        expected = queue.order()[0]
        assert queue.take() is expected


def test_what_is_expected_follows_the_last_durations():
    queue = queue_of(("a", "x"), ("b", "y"), took=(("x", 10.0), ("y", 4.0), ("y", 40.0)))
    assert taken(queue) == [1, 2], "10 s against (4 + 40) / 2 s"


def test_a_session_has_a_share_of_the_queue_and_others_have_the_rest():
    queue = queue_of(*[("greedy", "draw")] * 2, limits=replace(ROOMY, waiting=3, per_session=2))
    with pytest.raises(JobError, match="You have 2 computations waiting already"):
        queue.add(Job(9, "", "draw", {}, "greedy"), spare=0)
    queue.add(Job(10, "", "draw", {}, "other"), spare=0)
    with pytest.raises(JobError, match="The queue is full, 3 jobs"):
        queue.add(Job(11, "", "draw", {}, "third"), spare=0)
    queue.remove(queue.order()[0])
    queue.add(Job(12, "", "draw", {}, "greedy"), spare=0)


# In a server


class Tabs:
    """Sessions that tests open and close."""

    def __init__(self):
        self.now, self.closed = "", set()

    def current(self):
        return self.now

    def alive(self, session):
        return session not in self.closed


@pytest.fixture
def tabs():
    return Tabs()


@pytest.fixture
def make(tmp_path, monkeypatch, tabs):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(lanes, "LOOK", 0.02)
    made = []

    def make(**limits):
        settings = Settings(data_dir=tmp_path, device="cpu", **limits)
        made.append(JobManager(settings, tasks=TASKS, sessions=tabs))
        assert made[-1].submit("echo", {"text": "warm"}).wait(LONG).state == "done"
        return made[-1]

    yield make
    for manager in made:
        manager.close()


def test_36_requests_of_one_tab_do_not_keep_another_waiting(make, tabs, tmp_path):
    manager = make()
    tabs.now = "greedy"
    held = [followed(manager, tmp_path)]
    assert begun(held[0])
    refused = 0
    for mark in range(1, 36):
        try:
            held.append(followed(manager, tmp_path, mark=mark))
        except JobError:
            refused += 1
    assert (len(held), refused) == (1 + manager.settings.session_jobs, 31)
    tabs.now = "other"
    ticket = manager.submit("echo", {"text": "mine"})
    assert ticket.status().position == 1
    say(tmp_path, STEPS)
    assert ticket.wait(LONG).state == "done"
    assert held[2].status().state == "queued"


def test_jobs_of_a_closed_tab_end_and_those_of_a_reload_go_on(make, tabs, tmp_path, monkeypatch):
    clock = Clock()
    manager = make()
    monkeypatch.setattr(jobs, "time", clock)
    tabs.now = "first"
    running, waiting = followed(manager, tmp_path), followed(manager, tmp_path, mark=1)
    assert begun(running)
    tabs.closed.add("first")
    assert wait_for(lambda: "first" in manager._away)
    clock.now += jobs.AWAY - 1
    tabs.now = "second"
    again = manager.find(running.key)
    clock.now += 2
    assert waiting.wait(LONG).state == "cancelled"
    assert running.status().state == "running", "another tab waits for it"
    tabs.closed.add("second")
    assert wait_for(lambda: "second" in manager._away)
    clock.now += jobs.AWAY
    assert again.wait(LONG).state == "cancelled"
    assert wait_for(lambda: not manager._jobs)


def test_a_line_that_comes_back_in_time_loses_nothing(make, tabs, tmp_path, monkeypatch):
    clock = Clock()
    manager = make()
    monkeypatch.setattr(jobs, "time", clock)
    tabs.now = "first"
    running = followed(manager, tmp_path)
    tabs.closed.add("first")
    assert wait_for(lambda: "first" in manager._away)
    clock.now += jobs.AWAY - 1
    tabs.closed.clear()
    assert wait_for(lambda: not manager._away)
    tabs.closed.add("first")
    clock.now += 2
    assert wait_for(lambda: manager._away.get("first") == clock.now)
    assert not running.status().finished


def test_a_job_that_nobody_holds_any_more_ends(make, tmp_path):
    manager = make()
    ticket = followed(manager, tmp_path)
    assert begun(ticket)
    del ticket
    assert wait_for(lambda: not manager._jobs)


def test_a_job_has_a_deadline_and_its_worker_stays(make, tmp_path):
    manager = make(job_seconds=1)
    worker = manager.lane.worker
    status = followed(manager, tmp_path).wait(LONG)
    assert (status.state, "longer than the 1 s" in status.note) == ("failed", True)
    assert manager.submit("echo", {"text": "next"}).wait(LONG).state == "done"
    assert manager.lane.worker is worker


def test_a_job_that_ignores_its_deadline_is_killed(make):
    manager = make(job_seconds=1)
    pid = manager.lane.worker.process.pid
    status = manager.submit("stuck", {}).wait(LONG)
    assert (status.state, "longer than the 1 s" in status.note) == ("failed", True)
    assert not alive(pid)


def test_a_job_has_a_memory_limit(make):
    manager = make()
    resident = manager.lane.worker.resident()
    assert resident > 2**20
    manager = make(job_bytes=resident + 2**27)
    status = manager.submit("swell", {}).wait(LONG)
    assert (status.state, "more memory than this server gives" in status.note) == ("failed", True)
    assert manager.submit("echo", {"text": "next"}).wait(LONG).state == "done"
