"""Insertion and deletion on a model whose answer can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from spade_core.saliency.metrics import bootstrap_interval, insertion_deletion, pointing_game, trojan_auc


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
