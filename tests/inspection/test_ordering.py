"""Maps of surviving weights, and the orders that they are shown in."""

from __future__ import annotations

import numpy as np
import pytest

from spade_core.inspection.ordering import fullest_first, grouped, pooled_map


def test_a_pooled_map_keeps_the_share_of_survivors():
    mask = np.random.default_rng(0).random((100, 70)) < 0.3
    pooled = pooled_map(mask, 10)
    assert pooled.shape == (10, 10)
    np.testing.assert_allclose(pooled[0, 0], mask[:10, :7].mean(), rtol=1e-6)
    np.testing.assert_allclose(pooled.mean(), mask.mean(), rtol=1e-5)
    assert np.array_equal(pooled_map(mask, 200), mask.astype(np.float32))


def scattered_groups(seed):
    """Two groups of outputs and inputs that hardly read each other, with an empty row and column, all shuffled."""
    draw = np.random.default_rng(seed)
    row_group, column_group = draw.random(40) < 0.5, draw.random(30) < 0.5
    mask = draw.random((40, 30)) < np.where(row_group[:, None] == column_group, 0.7, 0.05)
    mask[7], mask[:, 11] = False, False
    return mask, row_group, column_group


@pytest.mark.parametrize("seed", range(3))
def test_what_belongs_together_stands_together(seed):
    mask, row_group, column_group = scattered_groups(seed)
    rows, columns = grouped(mask)
    assert (rows[-1], columns[-1]) == (7, 11), "what is empty comes last"
    for order, group in ((rows[:-1], row_group), (columns[:-1], column_group)):
        assert sorted([*order, 7 if group is row_group else 11]) == list(range(len(group)))
        assert np.count_nonzero(np.diff(group[order])) == 1, "one border between the groups"


@pytest.mark.parametrize("mask", [np.zeros((5, 5), bool), np.ones((9, 2), bool), np.eye(1, dtype=bool)])
def test_masks_without_groups_are_ordered_by_their_counts(mask):
    for found, expected in zip(grouped(mask), fullest_first(mask), strict=True):
        assert np.array_equal(found, expected)


def test_the_fullest_rows_and_columns_come_first():
    mask = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
    rows, columns = fullest_first(mask)
    assert (rows.tolist(), columns.tolist()) == ([1, 2, 0], [1, 2, 0])
