"""Progress: shares of the time, measured from the steps themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core import progress


def test_shares_of_the_time_are_told_from_the_steps_so_far(monkeypatch):
    clock, told = SimpleNamespace(now=100.0), []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    report = progress.timely(lambda done, total, note: told.append((done / total, note)))
    clock.now += 6  # something else came first
    for step in (2, 2, 3, 4):
        report(step, 10, f"step {step}")
        clock.now += 1  # 2 s for the first step, then 1 s
    *early, (late, note) = told
    assert [share for share, _ in early] == [0, 0, pytest.approx(8 / (8 + 2 * 7))]
    assert (late, note) == (pytest.approx(9 / (9 + 1.5 * 6)), "step 4")
    report(0, 10, "anew")
    clock.now += 3
    report(1, 10, "anew")
    assert told[-1][0] == pytest.approx(13 / (13 + 3 * 9)), "what was measured before does not count"
    report(10, 10, "over")
    assert told[-1][0] == 1
