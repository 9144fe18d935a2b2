"""Metrics of maps: insertion and deletion on a model whose answer can be written down, and plain numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from spade_core.evaluation.metrics import energy_in_mask, insertion_deletion, rank_correlation


class LeftHalf(nn.Module):
    """Class 1 exactly as probable as the share of the left half that is bright."""

    def forward(self, x):
        share = x[:, :, :, : x.shape[3] // 2].mean((1, 2, 3)).clamp(1e-6, 1 - 1e-6)
        return torch.stack([(1 - share).log(), share.log()], 1)


@pytest.fixture
def picture():
    return torch.ones(1, 3, 8, 8, dtype=torch.float64)


def left_first():
    return np.repeat(np.linspace(1, 0, 8)[None], 8, 0)


def test_deletion_by_the_right_map_is_the_hand_computed_area(picture):
    curves = insertion_deletion(LeftHalf(), picture, left_first(), 1, steps=8)
    assert curves.deletion == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0], abs=1e-5)
    assert curves.deletion_auc == pytest.approx(100 * (0.5 + 0.75 + 0.5 + 0.25) / 8, abs=1e-3)


def test_the_wrong_map_deletes_worse(picture):
    wrong = insertion_deletion(LeftHalf(), picture, -left_first(), 1, steps=8)
    assert wrong.deletion_auc > 70


def test_insertion_starts_blurred_and_ends_at_the_picture():
    x = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    x[..., 4] = 1.0
    curves = insertion_deletion(LeftHalf(), x, np.random.default_rng(0).random((16, 16)), 1, steps=4)
    assert curves.insertion[-1] == pytest.approx(1 / 8)
    assert curves.deletion[0] == pytest.approx(1 / 8)
    assert len(curves.insertion) == len(curves.deletion) == 5


def test_a_constant_map_goes_in_reading_order_and_does_not_fail(picture):
    curves = insertion_deletion(LeftHalf(), picture, np.zeros((8, 8)), 1, steps=8)
    assert np.isfinite(curves.deletion).all()


def test_energy_is_the_share_of_the_sum_on_the_mask():
    mask = np.zeros((4, 4), bool)
    mask[0, :2] = True
    values = np.ones((4, 4), np.float32)
    values[0, 0] = 7
    assert energy_in_mask(values, mask) == pytest.approx(100 * 8 / 22)
    assert energy_in_mask(np.zeros((4, 4)), mask) == pytest.approx(100 * 2 / 16)


def test_rank_correlation_is_spearmans_with_ties_and_a_constant_map_says_nothing():
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 5, (2, 8, 8))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(first, -3.0 * first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones((8, 8))) == 0
