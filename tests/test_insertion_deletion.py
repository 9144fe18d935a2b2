"""Insertion and deletion on a model whose answer can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.insertion_deletion import insertion_deletion


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
