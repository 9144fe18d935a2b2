"""Interruptions around answers: the ledger's comparison, the bound, a participant's patience, and a short campaign."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks import study_kills
from benchmarks.kills import campaign, participant
from benchmarks.kills.campaign import BEFALLS, interrupt, plan
from benchmarks.kills.ledger import Click, Difference, Ledger
from benchmarks.kills.participant import Participant
from benchmarks.kills.records import Record, table, upper_bound
from benchmarks.kills.trap import STEPS, Trap
from benchmarks.kills.troubles import KINDS
from benchmarks.serving import ROOT

ONE, OTHER = Click("region_1", 2, 700.5), Click("region_1", 2, 700.6)
FINE = Record("SQLite", "kill", "begun", 0, 0, 0, 2, 0.3)
NONE = frozenset()


def test_only_what_was_clicked_and_acknowledged_has_to_be_in_the_database_and_nothing_else():
    clicks = {"a": ONE, "b": OTHER}
    assert Ledger(clicks, {"a", "b"}).compare(clicks) == Difference(NONE, NONE)
    assert Ledger(clicks, {"a", "b"}).compare({"a": ONE}) == Difference(frozenset("b"), NONE)
    assert Ledger(clicks, {"a", "b"}).compare({"a": ONE, "b": ONE}) == Difference(frozenset("b"), NONE)
    assert Ledger(clicks, {"a", "b"}).compare({**clicks, "c": ONE}) == Difference(NONE, frozenset("c"))
    assert Ledger(clicks, {"a"}).compare({"a": ONE}) == Difference(NONE, NONE), "the other one is still on its way"
    assert Ledger(clicks, {"a"}).compare({"a": ONE, "b": ONE}) == Difference(frozenset("b"), NONE)


def test_a_difference_is_laid_to_the_interruption_after_which_it_came_to_light():
    ledger = Ledger({"a": ONE}, {"a"})
    assert ledger.compare({"b": ONE}) == Difference(frozenset("a"), frozenset("b"))
    assert ledger.compare({"b": ONE}) == Difference(NONE, NONE)


def test_the_bound_is_the_share_at_which_so_few_would_come_to_grief_in_one_of_twenty_runs():
    assert upper_bound(0, 600) == pytest.approx(1 - 0.05 ** (1 / 600))
    assert upper_bound(0, 600) < 0.005 < upper_bound(0, 500)
    assert upper_bound(0, 3000) < 0.001
    share = upper_bound(1, 50)
    assert (1 - share) ** 50 + 50 * share * (1 - share) ** 49 == pytest.approx(0.05)


def test_a_plan_meets_every_kind_at_every_step_and_a_longer_one_goes_on_with_it():
    short, long = (plan(number, list(KINDS), list(BEFALLS)) for number in (70, 140))
    assert short.items() <= long.items()
    assert len(long) == 140
    pairs = {(name, kind) for name, kinds in BEFALLS.items() for kind in kinds}
    assert set(short.values()) == {(*pair, step) for pair in pairs for step in (*STEPS, "any moment")}
    assert {kind for _, kind in pairs} == set(KINDS)
    assert plan(9, ["database"], ["SQLite"]) == {}


def test_a_trap_catches_the_next_message_once_and_not_the_end_of_the_last_one():
    trap = Trap()
    trap.let_go()  # whoever is caught here goes on at once
    trap.set("body sent")
    trap.at("body sent")
    assert not trap.caught(0)
    for expected in (True, False):
        for step in STEPS:
            trap.at(step)
        assert trap.caught(0) == expected
    trap.close()


@pytest.fixture
def rig(monkeypatch):
    """Put in place of servers what notes how often it was asked."""
    asked = []

    class Fake:
        def __init__(self, name, _disk):
            self.name = name

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def interrupt(self, kind, step, rng):
            asked.append((self.name, kind))
            return replace(FINE, database=self.name, kind=kind, step=step, seconds=rng.random())

    monkeypatch.setattr(campaign, "Rig", Fake)
    return asked


def test_a_stopped_campaign_goes_on_with_what_is_left(rig, tmp_path):
    file = tmp_path / "kills.jsonl"
    first = interrupt(plan(10, list(KINDS), list(BEFALLS)), seed=1, file=file)
    again = interrupt(plan(14, list(KINDS), list(BEFALLS)), seed=1, file=file)
    assert len(rig) == 14
    assert set(first) < set(again)
    assert again == interrupt(plan(14, list(KINDS), list(BEFALLS)), seed=1)


@pytest.mark.parametrize("grief", ["lost", "doubled", "stuck"])
def test_the_command_ends_with_one_where_anything_came_to_grief(rig, monkeypatch, capsys, tmp_path, grief):
    monkeypatch.setattr("sys.argv", ["study_kills", "--interruptions", "7", "--out", str(tmp_path / "table.md")])
    assert study_kills.main() == 0
    assert "0 of 7 came to grief" in capsys.readouterr().out
    monkeypatch.setattr(study_kills, "interrupt", lambda *_, **__: [FINE, replace(FINE, **{grief: 1})])
    assert study_kills.main() == 1
    assert (tmp_path / "table.md").read_text() == table([FINE, replace(FINE, **{grief: 1})])


@pytest.mark.parametrize(
    "words",
    ["--interruptions 0", "--interruptions 3 --kinds database --database SQLite", "--interruptions 3 --disk no"],
)
def test_what_cannot_be_done_is_said_in_a_sentence(rig, monkeypatch, capsys, words):
    monkeypatch.setattr("sys.argv", ["study_kills", *words.split()])
    with pytest.raises(SystemExit) as ended:
        study_kills.main()
    assert (ended.value.code, rig) == (2, [])
    assert "error: n" in capsys.readouterr().err


STEP = {"stored": True, "refused": False, "trial": None}


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ([(None, ""), (503, "later"), (200, json.dumps(STEP))], ""),
        ([(500, "error")], "the route refuses: 500 error"),
        ([(200, "<html>")], "the route refuses: 200 <html>"),
        ([(200, json.dumps({**STEP, "refused": True}))], "the answer is refused"),
    ],
)
def test_a_participant_repeats_what_was_not_taken_and_stops_at_a_refusal(monkeypatch, said, trouble):
    monkeypatch.setattr(participant, "FIRST_WAIT", 0.001)
    one, missed, left = Participant("127.0.0.1:9", {}), [], iter(said)
    monkeypatch.setattr(one, "_exchange", lambda *_: next(left))
    delivery = one.deliver({}, missed=lambda: missed.append(1))
    assert (delivery.attempts, delivery.trouble, len(missed)) == (len(said), trouble, len(said) - 1)
    assert delivery.step == (None if trouble else STEP)


@pytest.mark.long
def test_nothing_is_lost_doubled_or_stuck_by_two_interruptions_of_each_kind(tmp_path):
    words = [
        "-m",
        "benchmarks.study_kills",
        "--interruptions",
        "14",
        "--seed",
        "3",
        "--out",
        str(tmp_path / "table.md"),
    ]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| both | all | 14 | 0 | 0 | 0 |" in (tmp_path / "table.md").read_text()


FORGETFUL = """
import sys
from benchmarks import study_kills
from spade_core.study.running import turns

def submit(store, session, row, study, plan, told, submit=turns.submit_in):
    waiting = next(trial for trial in plan if trial.answered is None and trial.type == row.phase)
    return submit(store, session, row, study, plan, {**told, "trial_id": waiting.id})

turns.submit_in = submit
sys.exit(study_kills.main())
"""


@pytest.mark.long
def test_a_server_that_takes_a_repetition_for_another_answer_is_found_out():
    words = ["-", "--interruptions", "4", "--kinds", "cut", "--database", "SQLite"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, input=FORGETFUL, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "doubled=1" in done.stderr
