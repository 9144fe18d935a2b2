"""What a page hears of a job."""

from __future__ import annotations

import threading
import time

import pytest

from spade_core.jobs.job import Job, Ticket

LONG = 30.0  # seconds that nothing here waits for


@pytest.fixture
def job():
    found = Job(1, "key", "kind", {})
    found.begin()
    return found


@pytest.fixture
def ticket(job):
    return Ticket(job, lambda _job: 0, lambda given_up, _job: setattr(given_up, "given_up", True))


def later(do):
    """Do it while somebody waits."""
    threading.Timer(0.1, do).start()


@pytest.mark.parametrize(
    "happens",
    [
        lambda job: job.add({"pair.npz": b"maps"}),
        lambda job: job.end("done", "", files={"pair.npz": b"maps"}),
        lambda job: job.end("failed", "no memory"),
    ],
)
def test_who_waits_for_news_has_them_at_once(job, ticket, happens):
    start = time.monotonic()
    later(lambda: happens(job))
    assert ticket.news((), LONG)
    assert time.monotonic() - start < LONG / 2


def test_what_was_seen_and_a_change_of_pace_are_no_news(job, ticket):
    job.add({"pair.npz": b"maps"})
    seen = tuple(ticket.partials().items())
    later(lambda: job.report(0.5, "half"))
    assert not ticket.news(seen, 0.3)
    assert ticket.news((), 0), "to somebody else it is news"
    job.add({"pair.npz": b"better maps"})
    assert ticket.news(seen, 0)


def test_whoever_gave_up_does_not_wait(ticket):
    ticket.cancel()
    assert ticket.news((), LONG)
