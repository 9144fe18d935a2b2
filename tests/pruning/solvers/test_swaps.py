"""Swaps: prices against the errors of every other mask, and masks that only get better."""

from __future__ import annotations

import pytest
import torch

from spade_core.pruning.solvers.swaps import _prices, swapped
from tests.reference.solvers import best_on


def problem(groups=2, rows=5, cols=9, kept=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, 30, cols, generator=generator, dtype=torch.float64)
    x = x + 2 * torch.randn(groups, 30, 1, generator=generator, dtype=torch.float64)
    moment = x.mT @ x / 30
    weight = torch.randn(groups * rows, cols, generator=generator, dtype=torch.float64)
    order = torch.rand(weight.shape, generator=generator).argsort(1)
    mask = order >= kept + (torch.arange(groups * rows) % 3).unsqueeze(1)  # rows keep 3, 4 or 5
    return weight, moment, torch.arange(groups).repeat_interleave(rows), mask


def solutions(weight, moment, owner, mask):
    rows = zip(weight, owner, mask, strict=True)
    return [best_on(row, moment[group], (~gone).nonzero().flatten()) for row, group, gone in rows]


def errors_of(*given):
    return [error for _, error in solutions(*given)]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_price_is_the_change_of_the_best_error(groups):
    weight, moment, owner, mask = problem(groups)
    solved = torch.stack([found for found, _ in solutions(weight, moment, owner, mask)])
    loss, gain = _prices(weight, solved, moment, owner, mask)
    before = errors_of(weight, moment, owner, mask)
    for column in range(weight.shape[1]):
        other = mask.clone()
        other[:, column] = ~other[:, column]
        for row, (old, new) in enumerate(zip(before, errors_of(weight, moment, owner, other), strict=True)):
            price = gain[row, column] if mask[row, column] else -loss[row, column]
            assert float(price) == pytest.approx(old - new, rel=1e-7, abs=1e-9)
    assert (gain[~mask] == 0).all()
    assert torch.isinf(loss[mask]).all()


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_no_row_gets_worse_and_each_keeps_its_zeros(chunk):
    weight, moment, owner, mask = problem(rows=8, cols=14, kept=4)
    fixed = mask & (torch.arange(14) < 3)
    found = swapped(weight, moment, owner, mask, fixed, chunk)
    assert torch.equal((found == 0).sum(1), mask.sum(1))
    assert (found[fixed] == 0).all()
    before, after = errors_of(weight, moment, owner, mask), errors_of(weight, moment, owner, found == 0)
    assert all(new <= old * (1 + 1e-12) for old, new in zip(before, after, strict=True))
    assert sum(after) < 0.8 * sum(before)
    told = ((weight - found).unsqueeze(1) @ moment[owner]).squeeze(1).mul(weight - found).sum(1)
    assert told.tolist() == pytest.approx(after), "each row is the least squares on its mask"


def test_rounds_lead_on_and_what_is_given_is_not_changed():
    weight, moment, owner, mask = problem(rows=8, cols=14, kept=4, seed=1)
    fixed, given = torch.zeros_like(mask), mask.clone()
    sums = [
        sum(errors_of(weight, moment, owner, swapped(weight, moment, owner, mask, fixed, 50, rounds) == 0))
        for rounds in (0, 1, 10)
    ]
    assert sums[0] == pytest.approx(sum(errors_of(weight, moment, owner, mask)))
    assert sums[2] < sums[1] < sums[0]
    assert torch.equal(mask, given)


def test_rows_that_keep_all_or_nothing_are_left_alone():
    weight, moment, owner, mask = problem(groups=1, rows=3)
    mask[0], mask[1] = True, False
    found = swapped(weight, moment, owner, mask, torch.zeros_like(mask), 10)
    assert (found[0] == 0).all()
    torch.testing.assert_close(found[1], weight[1])
