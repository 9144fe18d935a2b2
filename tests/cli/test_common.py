"""What the commands share: progress on a terminal and in a log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core.cli import common


@pytest.fixture
def shown(monkeypatch):
    """Return what a run of 100 steps writes, of which 50 are kept from an earlier run and the others take 5 s each."""

    def run(terminal):
        written, now = [], [0.0]
        stream = SimpleNamespace(isatty=lambda: terminal, write=written.append, flush=lambda: None)
        monkeypatch.setattr(common, "sys", SimpleNamespace(stderr=stream))
        monkeypatch.setattr(common, "time", SimpleNamespace(monotonic=lambda: now[0]))
        meter = common.Meter()
        for step in range(101):
            meter(step, 100, f"picture {step}")
            now[0] += 0.001 if step < 50 else 5.0
        return written

    return run


def test_a_log_gets_a_line_now_and_then_with_an_estimate_of_what_is_new(shown):
    lines = shown(terminal=False)
    assert 5 <= len(lines) <= 9
    assert all(line.endswith("\n") and "\r" not in line for line in lines)
    assert lines[0] == "56% picture 56, 4 min left\n"
    assert lines[-1] == "99% picture 99, 5 s left\n"


def test_a_terminal_gets_one_line_that_is_cleared_at_the_end(shown):
    written = shown(terminal=True)
    assert len(written) > 40
    assert all(text.startswith("\r") for text in written)
    assert written[-1] == f"\r{'':<70}\r"
