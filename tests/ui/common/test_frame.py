"""The frame's one job manager: another code's takes its place, and no worker is left behind."""

from __future__ import annotations

import asyncio
import importlib
from types import SimpleNamespace

import pytest

from spade_core.ui.common import frame


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SPADE_DEVICE", "cpu")
    frame._manager.clear()
    yield
    frame._manager.clear()


def running(manager):
    """The manager's worker process, once its lane has started it."""
    while manager.lane.worker is None:
        manager.lane._thread.join(0.01)
    return manager.lane.worker.process


def test_a_server_has_one_manager_and_other_code_ends_its_workers(server, monkeypatch):
    first = frame.jobs()
    process = running(first)
    importlib.reload(frame)  # as Streamlit imports what has changed anew, in the same process
    assert frame.jobs() is first
    assert process.poll() is None
    monkeypatch.setattr(frame, "code_version", lambda: "another code")
    second = frame.jobs()
    assert second is not first
    assert process.poll() is not None
    assert running(second).poll() is None
    frame._manager.clear()
    assert running(second).poll() is not None


def test_other_settings_have_a_manager_of_their_own(server, monkeypatch):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    first = frame.jobs()
    monkeypatch.setenv("SPADE_QUEUE_LENGTH", "3")
    assert frame.jobs() is not first
    assert frame.jobs().settings.queue_length == 3


def test_the_worker_starts_with_the_server_before_any_page_is_asked_for(server, monkeypatch):
    made, jobs = [], frame.jobs
    monkeypatch.setattr(frame, "jobs", lambda: made.append(jobs()))

    async def serve():
        async with frame.warm(None):
            return running(made[0]).poll()

    assert asyncio.run(serve()) is None
    assert jobs() is made[0]


@pytest.mark.parametrize(("name", "value"), [("SPADE_MODE", "study"), ("SPADE_MODE", "nowhere")])
def test_a_server_on_which_nobody_computes_starts_none(server, monkeypatch, name, value, caplog):
    monkeypatch.setattr(frame, "jobs", lambda: pytest.fail("a worker was started"))
    monkeypatch.setenv(name, value)

    async def serve():
        async with frame.warm(None):
            return "served"

    assert asyncio.run(serve()) == "served"
    assert ("SPADE_MODE" in caplog.text) == (value == "nowhere")


def test_an_address_that_was_turned_to_is_read_once_the_fields_are_gone(monkeypatch):
    """The run that empties the page may be broken off: the next one must not draw the old choice under the address."""
    parameters = SimpleNamespace(to_dict=lambda: {"picture": "bundled:koala"})
    state = {frame.FIRST_FIELD: "efficientnet_lite0", frame.LINK: {"picture": "bundled:dog"}}
    monkeypatch.setattr(frame, "st", SimpleNamespace(session_state=state, query_params=parameters))
    assert frame._is_turned()
    assert frame._is_turned(), "the fields are still there"
    del state[frame.FIRST_FIELD]
    assert not frame._is_turned()
