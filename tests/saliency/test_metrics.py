"""Maps against a known mask, and intervals of means."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from spade_core.saliency.metrics import bootstrap_interval, pointing_game, trojan_auc


def test_bootstrap_interval_covers_its_mean_and_is_seeded():
    values = np.random.default_rng(0).normal(3, 1, 400)
    interval = bootstrap_interval(values)
    assert interval == bootstrap_interval(values)
    assert interval.low < interval.mean < interval.high
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 / 20, rel=0.15)
    assert interval.n == 400


@pytest.mark.parametrize("seed", range(20))
def test_trojan_auc_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    saliency = rng.normal(size=(20, 30)).round(seed % 3)  # with and without ties
    mask = rng.random((20, 30)) < rng.uniform(0.01, 0.9)
    assert trojan_auc(saliency, mask) == pytest.approx(100 * roc_auc_score(mask.ravel(), saliency.ravel()), abs=1e-9)


def test_trojan_auc_by_hand():
    mask = np.array([[True, False], [False, True]])
    assert trojan_auc(np.array([[3.0, 1.0], [2.0, 4.0]]), mask) == 100
    assert trojan_auc(np.array([[1.0, 3.0], [4.0, 2.0]]), mask) == 0
    assert trojan_auc(np.zeros((2, 2)), mask) == 50
    assert trojan_auc(np.array([[3.0, 1.0], [2.0, 2.0]]), mask) == 87.5  # 3 beats both, 2 beats one and ties with one
    for wrong in (np.zeros((2, 2), bool), np.ones((2, 2), bool), np.ones((2, 2)), np.ones((3, 2), bool)):
        with pytest.raises(ValueError, match="mask"):
            trojan_auc(np.zeros((2, 2)), wrong)


def test_the_pointing_game_by_hand():
    saliency, mask = np.zeros((40, 40)), np.zeros((40, 40), bool)
    mask[0, 0] = True
    saliency[0, 14] = 1
    assert pointing_game(saliency, mask)
    assert not pointing_game(saliency, mask, radius=14)
    saliency[0, 15] = 2
    assert not pointing_game(saliency, mask)
    mask[0, 15] = True
    assert pointing_game(saliency, mask, radius=0)
