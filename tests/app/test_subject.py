"""Waiting for a job without which a page cannot go on: one that fails late says so, and is not submitted again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core.errors import JobError
from spade_core.ui import subject


class StoppedError(Exception):
    """The page stopped here."""


class Failing:
    """A ticket of a job that outlasts the first look and has failed by the second."""

    looks = 0

    def look(self, *_):
        self.looks += 1
        return SimpleNamespace(finished=self.looks > 1)

    def result(self):
        raise JobError("The weights cannot be downloaded.")


def test_a_job_that_fails_late_says_so_and_is_submitted_once(monkeypatch):
    ticket, submitted = Failing(), []

    def stop():
        raise StoppedError

    monkeypatch.setattr(subject, "st", SimpleNamespace(session_state={}, stop=stop, caption=None))
    monkeypatch.setattr(subject, "jobs", lambda: SimpleNamespace(submit=lambda *job: submitted.append(job) or ticket))
    monkeypatch.setattr(subject.panels, "wait_briefly", ticket.look)
    monkeypatch.setattr(subject, "follow", lambda *_args, **_options: None)
    with pytest.raises(StoppedError):
        subject.wait_for("layers", {"model": "m"}, "Looking …")
    with pytest.raises(JobError, match="downloaded"):
        subject.wait_for("layers", {"model": "m"}, "Looking …")
    assert submitted == [("layers", {"model": "m"})]
    with pytest.raises(JobError):
        subject.wait_for("layers", {"model": "other"}, "Looking …")
    assert len(submitted) == 2
