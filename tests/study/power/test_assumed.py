"""Drawn answers have the averages that were assumed, whatever the spread."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.study.power.assumed import Assumptions, Spread, class_neuron_means, draw
from spade_core.study.power.simulated import hand_out
from tests.study.conftest import real_design

WIDE = Spread(1.0, 1.5, 0.5, 1.0, 1.5, 1.0)


def shares(assumptions, *, studies=300, people=24, neurons=48, **changes):
    """Return the averages of agreement and of cannot tell by condition, ``(2, 2)``, and their standard errors."""
    design = real_design(**{"trials": neurons, "conditions": ("dense", "spade"), **changes})
    handout = hand_out(design, neurons, people, random.Random(0))
    drawn = draw(handout, assumptions, studies, np.random.default_rng(1))
    by_study = np.array([[kind[:, side].mean(1) for side in (~handout.spade, handout.spade)] for kind in drawn])
    return by_study.mean(2), by_study.std(2, ddof=1) / np.sqrt(studies)


@pytest.mark.parametrize(
    "assumptions",
    [
        Assumptions(0.6, 0.0, 0.0, spread=WIDE),
        Assumptions(0.5, 0.2, 0.25, 0.1, spread=WIDE),
        Assumptions(0.5, -0.2, 0.1, 0.3, spread=WIDE, drift=2.0),
        Assumptions(0.8, 0.0, 0.1, spread=Spread(0, 0, 0, 0, 0, 0)),
    ],
)
def test_the_averages_are_those_assumed(assumptions):
    found, error = shares(assumptions)
    expected = np.array([assumptions.agree, assumptions.undecided])
    assert (abs(found - expected) <= 4.5 * error + 1e-12).all()


def test_without_spread_answers_vary_by_chance_alone():
    handout = hand_out(real_design(conditions=("dense", "spade")), 12, 100, random.Random(0))
    flat = Assumptions(effect=0.0, cannot_tell=0, spread=Spread(0, 0, 0, 0, 0, 0))
    agree, undecided = draw(handout, flat, 200, np.random.default_rng(0))
    assert not undecided.any()
    chance = flat.baseline * (1 - flat.baseline) / agree.shape[1]
    assert agree.mean(1).var() == pytest.approx(chance, rel=0.4)


def test_class_neuron_means_average_to_the_assumptions_and_vary_with_the_slopes():
    assumptions = Assumptions(0.5, 0.15, 0.2, 0.1, spread=WIDE)
    agree, undecided = class_neuron_means(assumptions, 50, 400, np.random.default_rng(0))
    assert agree.mean((0, 1)) == pytest.approx(assumptions.agree, abs=0.01)
    assert undecided.mean((0, 1)) == pytest.approx(assumptions.undecided, abs=0.01)
    gap = agree[..., 1] - agree[..., 0]
    alike = class_neuron_means(
        Assumptions(0.5, 0.15, 0.0, spread=Spread(class_neuron=0, class_neuron_slope=0)), 5, 2, np.random.default_rng(0)
    )[0]
    assert gap.std() > 0.1
    assert alike[..., 1] - alike[..., 0] == pytest.approx(0.15)


def test_half_credit_moves_with_agreement_and_with_cannot_tell():
    assert Assumptions(0.5, 0.1, 0.3, 0.1).half_effect == pytest.approx(0.0)
    assert Assumptions(0.5, 0.1, 0.3).half_effect == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"effect": 0.5}, "cannot be together"),
        ({"baseline": 0.0}, "cannot be together"),
        ({"cannot_tell": 0.5}, "cannot be together"),
        ({"cannot_tell": -0.1}, "cannot be together"),
        ({"spread": Spread(participant=-1)}, "cannot be negative: give 0"),
    ],
)
def test_impossible_assumptions_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Assumptions(**settings)
