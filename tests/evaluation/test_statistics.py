"""Statistics over pictures, against slow and obvious ones."""

from __future__ import annotations

import numpy as np
import pytest

from spade_core.evaluation.configuration import Configuration
from spade_core.evaluation.statistics import Statistics, error_removed, resampled_means

EVERY = slice(None)


def statistics(dense, spade, benchmark="trojan"):
    """Statistics of Trojan AUCs ``(pictures, methods)``; the other metrics are zero."""
    configuration = Configuration(benchmark, ("saliency", "lrp")[: dense.shape[1]], ("dense", "default"))
    first = np.stack([dense, spade], 1)
    scores = np.zeros((*first.shape, 1, len(configuration.metrics)))
    scores[..., 0, 0] = first
    return Statistics(configuration, scores, np.zeros((len(dense), 2, 3)))


def told(found):
    return found.mean, found.low, found.high


def test_equal_maps_remove_nothing_and_half_the_error_is_half():
    dense = np.random.default_rng(0).uniform(70, 99, (40, 2))
    same = statistics(dense, dense)
    assert told(same.removed("default", EVERY, 0, 0)) == (0, 0, 0)
    assert same.wins("default", "dense", EVERY, 0, 0) == 50
    half = statistics(dense, 100 - (100 - dense) / 2)
    assert told(half.removed("default", EVERY, 0, 0)) == pytest.approx((50, 50, 50))
    assert half.wins("default", "dense", EVERY, 0, 0) == 100
    worse = statistics(dense, dense - 1)
    assert worse.removed("default", EVERY, 0, 0).high < 0
    assert told(worse.difference("default", "dense", EVERY, 0, 0)) == pytest.approx((-1, -1, -1))


def test_each_method_counts_as_much_and_pictures_are_drawn_whole():
    dense = np.array([[90.0, 50.0], [80.0, 60.0], [90.0, 40.0]])
    spade = np.array([[95.0, 40.0], [85.0, 50.0], [96.0, 40.0]])
    first = 1 - (5 + 15 + 4) / (10 + 20 + 10)
    second = 1 - (60 + 50 + 60) / (50 + 40 + 60)
    found = statistics(dense, spade).removed("default", EVERY, 0, 0)
    assert found.mean == pytest.approx(100 * (first + second) / 2)
    # Three pictures can be drawn in ten ways: the interval's ends are among what these give.
    ways = [
        100 * (1 - (100 - spade[list(rows)].mean(0)) / (100 - dense[list(rows)].mean(0))).mean()
        for rows in np.ndindex(3, 3, 3)
    ]
    assert min(ways) - 1e-9 <= found.low < found.mean < found.high <= max(ways) + 1e-9


def test_where_the_dense_map_has_no_error_none_can_be_removed():
    assert np.isnan(error_removed(np.array([100.0]), np.array([99.0])))


def test_resampled_means_spread_as_a_mean_does_and_keep_what_belongs_to_a_picture_together(monkeypatch):
    values = np.random.default_rng(1).normal(size=200)
    both = np.stack([values, 1 - values], 1)
    found = resampled_means(both, resamples=4000)
    assert found.std(0) == pytest.approx(values.std() / np.sqrt(200), rel=0.05)
    assert found.sum(1) == pytest.approx(1)
    monkeypatch.setattr("spade_core.evaluation.statistics.CHUNK", 999)
    assert resampled_means(both, resamples=4000) == pytest.approx(found)


def test_metrics_that_rank_alike_agree_and_less_deletion_is_better():
    configuration = Configuration("faithfulness", ("saliency", "lrp"), ("dense", "default"))
    scores = np.zeros((3, 2, 2, 1, 3))
    scores[..., 0] = scores[..., 1] = np.array([[1, 2], [3, 4]])[None, :, :, None]
    scores[..., 2] = -scores[..., 0]
    found = Statistics(configuration, scores, np.zeros((3, 2, 3)))
    assert found.agreement(0) == pytest.approx(np.ones((3, 3)))
    assert found.wins("default", "dense", EVERY, 0, 2) == 100
