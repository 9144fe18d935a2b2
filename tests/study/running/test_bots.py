"""Bots go through flow, database and analysis; what each policy must do to Table 3."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import select

from benchmarks import study_table3
from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import ExternalId, Participant
from spade_core.study.monitoring.status import cell_counts
from spade_core.study.running import bots
from spade_core.study.running.bots import simulate
from tests.study.conftest import FEW, Clock, real_design, tiny_set


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tiny_set(tmp_path_factory.mktemp("set")).folder
    return lambda policy, bots, **changes: study_table3.run(policy, bots, 0, stimuli=folder, **changes)


@pytest.mark.long
def test_the_undecided_shifter_moves_the_primary_and_not_half_credit(run):
    short = {"practice": 0, "practice_pass": 0, "catch": 0, "repeats": 0, "attention": 0}
    found = run("undecided-shifter", 48, conditions=("dense", "spade"), **short)
    result, half = found.result, found.result.half_credit.found
    assert found.ends == {"complete": 48}
    assert result.primary.found.low > 0
    assert half.low < 0 < half.high
    dense, spade = (result.table3[name].shares["undecided"].share for name in ("dense", "spade"))
    assert dense - spade > 0.15
    assert "deciding more often may explain it" in result.verdict
    assert "chose better" not in result.verdict


@pytest.mark.long
def test_the_ideal_bot_is_always_right_and_the_left_one_is_noticed(run):
    ideal = run("ideal", 3).result.table3
    assert {answers.shares["agree"].share for answers in ideal.values()} == {1.0}
    left = run("always-left", 6)
    assert left.result.sides.left_when_decided["dense"].share == 1.0
    assert left.noticed > 0


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


@pytest.fixture
def study(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    yield store, publish(store, real_design(**FEW), tiny_set(tmp_path / "set"))
    store.close()


def seeds(store):
    query = select(ExternalId.external_id, Participant.seed, Participant.status).join(Participant)
    return store.run(lambda session: session.execute(query.order_by(Participant.started)).all())


def test_a_second_run_with_the_same_seed_adds_as_many_bots_as_it_says(study, monkeypatch):
    store, key = study
    monkeypatch.setattr(bots, "AT_ONCE", 2)
    for run in (1, 2, 3):
        assert simulate(store, key, 3, "reloader", 0) == {"complete": 3}
        found = seeds(store)
        assert len({seed for _, seed, _ in found}) == len({external for external, _, _ in found}) == 3 * run
    store.run(lambda session: session.delete(session.scalars(select(ExternalId)).first()))
    assert simulate(store, key, 4, "reloader", 0) == {"complete": 4}  # although one of the first run is unknown now
    assert len({seed for _, seed, _ in seeds(store)} - {seed for _, seed, _ in found}) == 4


def test_the_same_runs_on_a_new_study_make_the_same_bots(study, tmp_path):
    store, key = study
    again = Store(f"sqlite:///{tmp_path / 'again.sqlite3'}")
    other = publish(again, real_design(**FEW), tiny_set(tmp_path / "set"))
    for _ in range(2):
        simulate(store, key, 2, "random", 5)
        simulate(again, other, 2, "random", 5)
    assert seeds(store) == seeds(again)
    again.close()


def test_a_bot_that_another_run_has_added_meanwhile_is_not_counted_as_new(study, monkeypatch):
    store, key = study
    simulate(store, key, 1, "random", 0)
    monkeypatch.setattr(bots, "_next_run", lambda *_args: 0)
    with pytest.raises(ConfigError, match="take another seed"):
        simulate(store, key, 1, "random", 0)


@pytest.mark.long
def test_cells_and_conditions_stay_even_although_a_fifth_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(bots, "POLICIES", {**bots.POLICIES, "leaver": replace(bots.POLICIES["random"], leaves=0.04)})
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}", clock=Clock())
    short = dict.fromkeys(("practice", "practice_pass", "catch", "repeats", "attention"), 0)
    design = real_design(trials=6, arrangement="between", quota=24, **short)
    key, ends = publish(store, design, tiny_set(tmp_path / "set")), Counter()
    for number in range(60):
        store.clock.now += 300  # between two arrivals; what is abandoned expires after an hour
        ends += Counter(simulate(store, key, 1, "leaver", number))
        if ends["complete"] == 24:
            break
    done = cell_counts(store, key, bots=True)
    assert (sum(done), len(done)) == (24, 6)
    assert max(done) - min(done) <= 3
    by_condition = [sum(done[start::3]) for start in range(3)]  # a cell's rotation is its condition
    assert max(by_condition) - min(by_condition) <= 3
    assert 0.1 < ends["left"] / (ends["left"] + ends["complete"]) < 0.35
    store.close()
