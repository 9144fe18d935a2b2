"""Many studies at once give the numbers of one after the other."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spade_core.study.analysis.estimators import risk_difference
from spade_core.study.power.simulated import hand_out, risk_differences
from tests.study.conftest import real_design


@pytest.mark.parametrize("arrangement", ["within", "between"])
@pytest.mark.parametrize("clusters", ["both", "participant", "class_neuron"])
@pytest.mark.parametrize("sidedness", ["two-sided", "greater"])
def test_the_same_as_the_primary_estimator(arrangement, clusters, sidedness):
    handout = hand_out(real_design(arrangement=arrangement, trials=9), 12, 13, random.Random(0))
    rng = np.random.default_rng(1)
    outcome = rng.integers(0, 3, (8, len(handout.spade))) / 2
    found = risk_differences(outcome, handout, clusters=clusters, alpha=0.1, sidedness=sidedness)
    for study, values in enumerate(outcome):
        one = risk_difference(
            values,
            handout.spade,
            handout.participant,
            handout.class_neuron,
            clusters=clusters,
            alpha=0.1,
            sidedness=sidedness,
        )
        for name in ("estimate", "se", "low", "p"):
            assert getattr(found, name)[study] == pytest.approx(getattr(one, name), rel=1e-9)
        assert found.high[study] == pytest.approx(np.inf if one.high is None else one.high)


def test_equal_answers_have_no_error():
    handout = hand_out(real_design(), 12, 12, random.Random(0))
    found = risk_differences(np.ones((2, len(handout.spade))), handout)
    assert np.isnan(found.se).all()
    assert np.isnan(found.low).all()
    assert np.isnan(found.p).all()
