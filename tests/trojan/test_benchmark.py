"""The share of the dense error that is gone, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.trojan import error_removed


def test_equal_maps_remove_nothing_and_half_the_error_is_half():
    dense = np.random.default_rng(0).uniform(70, 99, (40, 3))
    same = error_removed(dense, dense)
    assert (same.mean, same.low, same.high, same.n) == (0, 0, 0, 40)
    half = error_removed(dense, 100 - (100 - dense) / 2)
    assert (half.mean, half.low, half.high) == pytest.approx((50, 50, 50))
    assert error_removed(dense, dense - 1).high < 0


def test_each_method_counts_as_much_and_pictures_are_drawn_whole():
    dense = np.array([[90.0, 50.0], [80.0, 60.0], [90.0, 40.0]])
    spade = np.array([[95.0, 40.0], [85.0, 50.0], [96.0, 40.0]])
    first = 1 - (5 + 15 + 4) / (10 + 20 + 10)
    second = 1 - (60 + 50 + 60) / (50 + 40 + 60)
    found = error_removed(dense, spade)
    assert found.mean == pytest.approx(100 * (first + second) / 2)
    # Three pictures can be drawn in ten ways: the interval's ends are among what these give.
    ways = [
        100 * (1 - (100 - spade[list(rows)].mean(0)) / (100 - dense[list(rows)].mean(0))).mean()
        for rows in np.ndindex(3, 3, 3)
    ]
    assert min(ways) - 1e-9 <= found.low < found.mean < found.high <= max(ways) + 1e-9
