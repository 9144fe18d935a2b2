"""Simulated studies: what the primary interval and the verdict do, and where class neurons set the ceiling."""

from __future__ import annotations

import json
import random
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks import study_statistics
from spade_core.errors import ConfigError
from spade_core.progress import Cancelled
from spade_core.study.analysis.estimators import risk_difference
from spade_core.study.analysis.report import verdict
from spade_core.study.design.design import Analysis
from spade_core.study.power.assumed import Assumptions, Spread, draw
from spade_core.study.power.power import PowerReport, PowerRequest, ceiling, curve, power, power_report
from spade_core.study.power.simulated import hand_out
from spade_core.tasks.study import study_power
from tests.study.conftest import real_design


def report(design, class_neurons, participants=None, **options):
    asked = PowerRequest(design=design, class_neurons=class_neurons, participants=participants, **options)
    return power_report(asked)


SHIFTED = Assumptions(effect=0.1, cannot_tell=0.3, cannot_tell_spade=0.1)  # half credit does not move


@pytest.mark.parametrize("arrangement", ["within", "between"])
@pytest.mark.parametrize("outcome", ["primary", "half_credit"])
def test_coverage_and_size_with_three_conditions(arrangement, outcome):
    design = real_design(trials=24, arrangement=arrangement)
    found, none = (
        getattr(power(design, 60, 24, Assumptions(effect=effect), simulations=600, seed=3), outcome)
        for effect in (0.1, 0.0)
    )
    assert 0.92 <= found.coverage <= 0.985
    assert none.power <= 0.075
    assert none.effect == 0.0
    assert found.power > 3 * none.power


def test_a_participant_only_analysis_fails_the_same_check():
    design = real_design(trials=60)
    naive = power(design, 100, 60, Assumptions(effect=0.0), clusters="participant", simulations=600, seed=3)
    assert naive.half_credit.coverage < 0.92
    assert naive.half_credit.power > 0.075


def test_the_verdict_needs_both_intervals():
    clear = power(real_design(), 120, 24, Assumptions(effect=0.12), simulations=300, seed=1)
    shifted = power(real_design(), 120, 24, SHIFTED, simulations=300, seed=1)
    assert clear.verdict > 0.8
    assert clear.verdict <= min(clear.primary.power, clear.half_credit.power)
    assert shifted.primary.power > 0.7
    assert shifted.half_credit.power < 0.1
    assert shifted.verdict < 0.06


def test_the_verdict_is_the_reports(monkeypatch):
    """Count the studies whose report says that people chose better, one by one, from the same draws."""
    design = real_design(trials=9)
    assumptions = Assumptions(effect=0.15)
    monkeypatch.setattr("spade_core.study.power.power.HANDOUTS", 1)
    result = power(design, 30, 12, assumptions, simulations=60, seed=4)
    handout = hand_out(design, 12, 30, random.Random(4))
    agree, undecided = draw(handout, assumptions, 60, np.random.default_rng(4))
    labels = (handout.spade, handout.participant, handout.class_neuron)
    said = [
        verdict(
            *(risk_difference(values, *labels) for values in (a, a + 0.5 * u)),
            "confirmatory",
            0.05,
            simulated=False,
            demo=False,
        )
        for a, u in zip(agree.astype(float), undecided, strict=True)
    ]
    better = np.mean([text.startswith("People chose better") for text in said])
    assert 0.05 < result.verdict == pytest.approx(better)


def test_power_is_seeded_and_carries_its_monte_carlo_error():
    design = real_design()
    first, second, other = (power(design, 24, 12, simulations=100, seed=seed) for seed in (5, 5, 6))
    assert first == second != other
    assert first.primary.power_error == pytest.approx(
        np.sqrt(first.primary.power * (1 - first.primary.power) / 100), rel=0.2
    )
    one_sided = real_design(analysis=Analysis(sidedness="greater").model_dump())
    assert power(one_sided, 24, 12, simulations=100, seed=5).primary.power >= first.primary.power
    sure = power(design, 400, 12, Assumptions(effect=0.2), simulations=100)
    assert sure.verdict == 1
    assert sure.verdict_error > 0


def test_class_neurons_set_the_ceiling():
    steep = Assumptions(spread=Spread(class_neuron_slope=1.0))
    rows = report(real_design(trials=6), (6, 40), (20, 800), assumptions=steep, simulations=150).rows
    few, many = ([row for row in rows if row.class_neurons == count] for count in (6, 40))
    assert few[1].verdict < 0.6  # forty times the people do not help
    assert few[1].verdict <= few[2].verdict + 3 * few[2].verdict_error
    assert many[1].verdict > 0.85
    assert few[2].participants is None


@pytest.mark.parametrize("arrangement", ["within", "between"])
def test_the_ceiling_is_what_very_many_people_reach(arrangement):
    design = real_design(trials=8, arrangement=arrangement)
    people = power(design, 2000, 8, SHIFTED, simulations=100, seed=0)
    limit = ceiling(design, 8, SHIFTED, simulations=4000, seed=0)
    for outcome in ("primary", "half_credit"):
        reached, most = getattr(people, outcome), getattr(limit, outcome)
        assert reached.mean_se == pytest.approx(most.mean_se, rel=0.15)
        assert abs(reached.power - most.power) < 4 * reached.power_error + 0.02
    assert limit.half_credit.power == pytest.approx(0.05, abs=0.025)  # a t-test of 8 skewed differences


def test_order_matters_where_answers_drift():
    steep = Assumptions(effect=0.0, drift=6.0)
    blocked, mixed = (
        power(real_design(order=order, conditions=("dense", "spade")), 12, 12, steep, simulations=200)
        for order in ("blocked", "interleaved")
    )
    assert blocked.primary.mean_se > 1.1 * mixed.primary.mean_se


def test_the_report_is_json_and_says_what_it_takes():
    found = report(real_design(), (6, 12), assumptions=Assumptions(effect=0.2), simulations=40)
    written = found.to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert PowerReport.model_validate_json(json.dumps(written)) == found
    assert [row["participants"] for row in written["rows"]] == 2 * [*curve(real_design()), None]
    assert [row["trials"] for row in written["rows"]] == 6 * [6] + 6 * [12]
    assert written["texts"][1].startswith("12 class neurons: ")
    assert "the ceiling that the class neurons set" in written["texts"][1]
    assert "guesses" in written["texts"][-1]
    assert curve(real_design()) == [15, 30, 60, 120, 240]


def test_impossible_studies_are_refused():
    with pytest.raises(ConfigError, match="simulated studies"):
        power(real_design(), 12, 12, simulations=1)
    with pytest.raises(ConfigError, match="at least 2"):
        ceiling(real_design(), 1)


@pytest.mark.parametrize("words", [[], ["--outcome", "half", "--between"]])
def test_the_benchmark_prints_a_table(capsys, words):
    study_statistics.main(["--studies", "10", *words])
    lines = capsys.readouterr().out.splitlines()
    assert sum("two-way (primary)" in line for line in lines) == 2
    assert sum("participant only" in line for line in lines) == 2


def test_the_job_gives_the_report_tells_how_far_it_is_and_can_be_stopped_within_a_size():
    assumptions = Assumptions(effect=0.05, spread=Spread(participant=0.1))
    payload = {
        "design": real_design().model_dump(mode="json"),
        "class_neurons": [12],
        "participants": [24, 48],
        "assumptions": asdict(assumptions),
        "simulations": 40,
        "seed": 5,
    }
    payload, told = json.loads(json.dumps(payload)), []

    def run(progress):
        return study_power(payload, emit=None, progress=progress, device="cpu")

    files = run(lambda done, total, note: told.append((done / total, note)))
    found = report(real_design(), (12,), (24, 48), assumptions=assumptions, simulations=40, seed=5)
    assert json.loads(files["power.json"]) == found.to_dict()
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert sum(note == "48 people, 12 class neurons" for _, note in told) >= 10
    assert told[-1] == (1.0, "done")

    def stops(done, total, note):
        if 0.1 < done / total < 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(stops)
