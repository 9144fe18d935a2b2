"""How a page shows a job in each of its states, and what stands in the address bar."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core.jobs.job import Status
from spade_core.ui.common import jobs, subject
from spade_core.ui.common.link import Choice


class Fixed:
    """A ticket whose job stands still."""

    def __init__(self, state, note=""):
        self.state, self.note, self.cancelled = state, note, 0

    def wait(self, seconds):
        return self.status()

    def status(self):
        return Status(self.state, 0.5, self.note, 1.0, None, 2)

    def result(self):
        return {"a": b"1"}

    def cancel(self):
        self.cancelled += 1


@pytest.fixture
def said(monkeypatch):
    """Return what is shown: the kind of message and its text, or the job that is followed."""
    found = []
    messages = {name: lambda text, icon, name=name: found.append((name, text)) for name in ("info", "error")}
    monkeypatch.setattr(jobs, "st", SimpleNamespace(**messages))
    monkeypatch.setattr(jobs, "follow", lambda ticket, live, slot, cancel: found.append(("follow", slot, live, cancel)))
    return found


def test_a_finished_job_gives_its_files_and_says_nothing(said):
    assert jobs.outcome(Fixed("done"), "page") == {"a": b"1"}
    assert not said


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_that_goes_on_is_followed(said, state):
    ticket, live, cancel = Fixed(state), object(), object()
    assert jobs.outcome(ticket, "page", live=live) is None
    assert jobs.outcome(ticket, "page", live=live, cancel=cancel) is None
    assert said == [("follow", "page", live, ticket.cancel), ("follow", "page", live, cancel)]


def test_a_cancelled_job_and_a_failed_one_say_so(said):
    assert jobs.outcome(Fixed("cancelled", "x"), "page", cancelled="Cancelled. Draw again.") is None
    assert jobs.outcome(Fixed("cancelled", "x"), "page") is None
    assert jobs.outcome(Fixed("failed", "No weights."), "page") is None
    assert said == [("info", "Cancelled. Draw again."), ("info", jobs.CHANGE_AND_START), ("error", "No weights.")]


@pytest.mark.parametrize(
    ("spec", "methods", "expected"),
    [
        ({"name": "resnet18"}, True, {"methods": "lime", "views": "8"}),
        ({"name": "resnet18"}, False, {"run": "1", "views": "8"}),
        ({"weights": "/data/x"}, True, {}),
    ],
)
def test_only_what_a_link_can_name_stands_in_the_address_bar(monkeypatch, spec, methods, expected):
    written = []
    monkeypatch.setattr(
        subject, "st", SimpleNamespace(query_params=SimpleNamespace(from_dict=written.append), session_state={})
    )
    shown = subject.Subject(spec, {"path": "", "name": "", "sha256": ""}, None, None, "bundled:cat")
    subject.show_link(Choice(views=8, methods=("lime",)), shown, methods=methods)
    assert written == [expected]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "yours is the next job"), (1, "one job comes first"), (2, "2 jobs come first")]
)
def test_a_queue_is_told_in_words(count, words):
    assert jobs._before(count) == words
