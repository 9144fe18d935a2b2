"""Waiting for a job without which a page cannot go on: one that fails late says so, and is not submitted again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core.errors import JobError
from spade_core.ui.common import subject


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
    manager = SimpleNamespace(known=lambda *_: None, submit=lambda *job: submitted.append(job) or ticket)
    monkeypatch.setattr(subject, "jobs", lambda: manager)
    monkeypatch.setattr(subject.jobs_module, "wait_briefly", ticket.look)
    monkeypatch.setattr(subject, "follow", lambda *_args, **_options: None)
    with pytest.raises(StoppedError):
        subject.wait_for("layers", {"model": "m"}, "Looking …")
    with pytest.raises(JobError, match="downloaded"):
        subject.wait_for("layers", {"model": "m"}, "Looking …")
    assert submitted == [("layers", {"model": "m"})]
    with pytest.raises(JobError):
        subject.wait_for("layers", {"model": "other"}, "Looking …")
    assert len(submitted) == 2


@pytest.mark.parametrize(
    ("last", "query", "expected"),
    [
        (None, {}, "drawing"),
        ("default", {}, "drawing"),
        ("uniform", {}, "uniform"),
        (None, {"picture": "koala"}, "default"),
        (None, {"preset": "auto"}, "auto"),
    ],
)
def test_a_page_begins_with_its_own_preset_unless_a_link_or_a_choice_says_otherwise(monkeypatch, last, query, expected):
    state = {} if last is None else {"last_choice": subject.Choice(preset=last)}
    parameters = SimpleNamespace(to_dict=lambda: query)
    monkeypatch.setattr(subject, "st", SimpleNamespace(session_state=state, query_params=parameters, error=None))
    assert subject.start_of("neurons", preset="drawing").preset == expected


@pytest.mark.parametrize(
    ("last", "query", "first"),
    [(None, {}, True), (subject.Choice(), {}, False), (None, {"steps": "8"}, False)],
)
def test_only_who_chose_nothing_finds_a_pages_first_case(monkeypatch, last, query, first):
    state = {} if last is None else {"last_choice": last}
    parameters = SimpleNamespace(to_dict=lambda: query)
    monkeypatch.setattr(subject, "st", SimpleNamespace(session_state=state, query_params=parameters, error=None))
    found = subject.start_of("neurons", first=subject.Choice(channel=3))
    assert (found.channel == 3, subject.asked_by_link("neurons")) == (first, first)


@pytest.mark.parametrize(
    ("page", "last", "query", "expected"),
    [
        ("saliency", None, {}, ("saliency", "guided_gradcam", "lrp")),
        ("folder", None, {}, ("saliency", "guided_gradcam")),
        ("folder", ("saliency", "guided_gradcam", "lrp"), {}, ("saliency", "guided_gradcam")),
        ("folder", ("lime",), {}, ("lime",)),
        ("saliency", ("lime",), {"picture": "koala"}, ("saliency", "guided_gradcam", "lrp")),
        ("saliency", None, {"methods": "saliency,input_x_gradient,integrated_gradients"}, subject.DEFAULT_METHODS),
    ],
)
def test_a_page_begins_with_its_own_methods_unless_a_link_or_a_choice_says_otherwise(
    monkeypatch, page, last, query, expected
):
    state = {} if last is None else {"last_choice": subject.Choice(methods=last)}
    parameters = SimpleNamespace(to_dict=lambda: query)
    monkeypatch.setattr(subject, "st", SimpleNamespace(session_state=state, query_params=parameters, error=None))
    assert subject.start_of(page).methods == expected
