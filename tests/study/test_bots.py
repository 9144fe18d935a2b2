"""Bots go through flow, database and analysis; what each policy must do to Table 3."""

from __future__ import annotations

import pytest

from benchmarks import study_table3
from tests.study.conftest import tiny_set


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tiny_set(tmp_path_factory.mktemp("set")).folder
    return lambda policy, bots, **changes: study_table3.run(policy, bots, 0, stimuli=folder, **changes)


def test_the_undecided_shifter_moves_the_primary_and_not_half_credit(run):
    short = {"practice": 0, "practice_pass": 0, "catch": 0, "repeats": 0, "attention": 0}
    found = run("undecided-shifter", 48, conditions=("dense", "spade"), **short)
    result = found["result"]
    assert found["ends"] == {"complete": 48}
    assert result["primary"]["low"] > 0
    assert result["half_credit"]["low"] < 0 < result["half_credit"]["high"]
    table = result["table3"]
    assert table["dense"]["undecided"]["share"] - table["spade"]["undecided"]["share"] > 0.15
    assert "deciding more often may explain it" in result["verdict"]
    assert "chose better" not in result["verdict"]


def test_the_ideal_bot_is_always_right_and_the_left_one_is_noticed(run):
    ideal = run("ideal", 3)["result"]["table3"]
    assert {table["agree"]["share"] for table in ideal.values()} == {1.0}
    left = run("always-left", 6)
    assert left["result"]["sides"]["left_when_decided"]["dense"]["share"] == 1.0
    assert left["noticed"] > 0


def test_the_table_stands_beside_the_papers_and_is_marked(capsys):
    study_table3.main(["--bots", "3", "--policies", "rater"])
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if line.startswith("| response"))
    assert header == (
        "| response | SIMULATED dense | SIMULATED SPADE | SIMULATED no visualization | paper, dense | paper, SPADE |"
    )
    assert "| 56.7 % | 69.8 % |" in out
    assert "## SIMULATED: rater" in out
    assert "SIMULATED: This is a demo study: it tries the software, measures nothing." in out
