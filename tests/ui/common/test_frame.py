"""The frame's one job manager: another code's takes its place, and no worker is left behind."""

from __future__ import annotations

import importlib

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
