"""Simulated studies: the design, the truth they are drawn from, and that the primary interval holds it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import study_statistics
from spade_core.errors import ConfigError
from spade_core.study.power import Spread, ceiling, power, power_table, simulate_trials


def test_nobody_meets_a_class_neuron_twice_and_conditions_are_equally_frequent():
    t = simulate_trials(20, 12, 9, rng=np.random.default_rng(0))
    assert len(t.agree) == 20 * 9
    assert len(set(zip(t.participant.tolist(), t.class_neuron.tolist(), strict=True))) == 20 * 9
    spade, dense = (np.bincount(t.class_neuron[t.spade == side], minlength=12) for side in (True, False))
    assert (spade == dense).all()
    each = np.bincount(t.participant[t.spade], minlength=20)
    assert set(each) == {4, 5}


def test_an_odd_number_of_people_leaves_one_without_partner():
    t = simulate_trials(5, 6, rng=np.random.default_rng(0))
    assert np.bincount(t.participant).tolist() == [6] * 5
    gap = np.bincount(t.class_neuron[t.spade], minlength=6) - np.bincount(t.class_neuron[~t.spade], minlength=6)
    assert set(abs(gap)) == {1}


@pytest.mark.parametrize("effect", [0.0, 0.15, -0.2])
def test_the_average_probabilities_are_those_asked_for(effect):
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(40):
        t = simulate_trials(60, 400, rng=rng, baseline=0.6, effect=effect, spread=Spread(1.0, 1.5, 0.5, 1.0))
        shares.append([t.agree[~t.spade].mean(), t.agree[t.spade].mean()])
    shares = np.array(shares)
    error = shares.std(0, ddof=1) / np.sqrt(len(shares))
    assert (abs(shares.mean(0) - [0.6, 0.6 + effect]) < 4 * error).all()


def test_without_spread_agreement_is_the_baseline():
    t = simulate_trials(200, 50, rng=np.random.default_rng(2), baseline=0.8, spread=Spread(0, 0, 0, 0))
    assert t.agree.mean() == pytest.approx(0.8, abs=0.02)


def test_coverage_of_the_primary_and_failure_of_participant_only():
    settings = {"effect": 0.1, "simulations": 600, "seed": 3}
    primary, naive = (power(100, 60, clusters=clusters, **settings) for clusters in ("both", "participant"))
    assert 0.92 <= primary.coverage <= 0.985
    assert naive.coverage < 0.9
    settings["effect"] = 0.0
    primary, naive = (power(100, 60, clusters=clusters, **settings) for clusters in ("both", "participant"))
    assert primary.power <= 0.075
    assert naive.power > 0.09


def test_power_is_seeded_and_carries_its_monte_carlo_error():
    first, second = (power(20, 10, effect=0.2, simulations=100, seed=5) for _ in range(2))
    assert first == second
    assert first.error == pytest.approx(np.sqrt(first.power * (1 - first.power) / 100))
    assert first != power(20, 10, effect=0.2, simulations=100, seed=6)
    one_sided = power(20, 10, effect=0.2, simulations=100, seed=5, sidedness="greater")
    assert one_sided.power >= first.power


def test_class_neurons_set_the_ceiling():
    table = power_table([20, 400], [6, 40], effect=0.1, simulations=150, seed=0)
    assert table["participants"].isna().sum() == 2
    few, many = table[table.class_neurons == 6], table[table.class_neurons == 40]
    assert few.power.iloc[1] < 0.75  # twenty times the people do not help
    assert few.power.iloc[1] <= few.power.iloc[2] + 3 * few.error.iloc[2]
    assert many.power.iloc[1] > 0.95
    assert few.mean_se.iloc[1] > few.mean_se.iloc[2]


def test_the_ceiling_is_what_very_many_people_reach():
    people = power(2000, 8, effect=0.1, simulations=150, seed=0)
    limit = ceiling(8, effect=0.1, simulations=4000, seed=0)
    assert people.mean_se == pytest.approx(limit.mean_se, rel=0.1)
    assert abs(people.power - limit.power) < 4 * people.error
    assert ceiling(8, effect=0.0, simulations=4000).power == pytest.approx(0.05, abs=0.015)


def test_impossible_studies_are_refused():
    rng = np.random.default_rng(0)
    for sizes, message in (((1, 5), "at least 2"), ((5, 1), "at least 2"), ((5, 5, 6), "twice"), ((5, 5, 1), "twice")):
        with pytest.raises(ConfigError, match=message):
            simulate_trials(*sizes, rng=rng)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        power(5, 5, effect=0.5)
    with pytest.raises(ConfigError, match="simulated studies"):
        power(5, 5, simulations=1)


def test_the_benchmark_prints_a_table(capsys):
    study_statistics.main(["--studies", "10"])
    lines = capsys.readouterr().out.splitlines()
    assert sum("two-way (primary)" in line for line in lines) == 2
    assert sum("participant only" in line for line in lines) == 2
