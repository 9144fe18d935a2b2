"""The refit on the support: against each row's system written out, from few to many zeros."""

from __future__ import annotations

import pytest
import torch

from spade_core.pruning.solvers import refit as module
from spade_core.pruning.solvers.refit import refit
from tests.reference.solvers import damped


def problem(groups=2, rows=7, cols=9, zeros=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, 40, cols, generator=generator, dtype=torch.float64)
    moment = x.transpose(1, 2) @ x / 40
    target = torch.randn(groups, rows, cols, generator=generator, dtype=torch.float64)
    gone = torch.rand(groups, rows, cols, generator=generator) < zeros
    return target.masked_fill(gone, 0), target, moment


def row_by_row(pruned, target, moment, ridge):
    found = torch.zeros_like(target)
    for g in range(len(target)):
        a = damped(moment[g], ridge)
        for r in range(target.shape[1]):
            kept = (pruned[g, r] != 0).nonzero().flatten()
            if len(kept):
                found[g, r, kept] = torch.linalg.solve(a[kept][:, kept], (a @ target[g, r])[kept])
    return found


@pytest.mark.parametrize("zeros", [0.05, 0.3, 0.5, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("ridge", [1e-6, 0.3, 1.0, 10.0])
def test_each_row_is_solved_on_its_support(zeros, ridge):
    given = problem(zeros=zeros)
    torch.testing.assert_close(refit(*given, ridge), row_by_row(*given, ridge), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("ridge", [0.3, 6.0])
def test_a_few_strong_directions_are_solved_to_the_rounding_in_a_few_steps(ridge, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 120, generator=generator, dtype=torch.float64).relu()  # as few inputs as a picture's views
    moment = (x.T @ x / 4)[None]
    target = torch.randn(1, 30, 120, generator=generator, dtype=torch.float64)
    pruned = target.masked_fill(torch.rand(target.shape, generator=generator) < 0.8, 0)
    monkeypatch.setattr(module, "STEPS", 12)
    expected = row_by_row(pruned, target, moment, ridge)
    found = refit(pruned.float(), target.float(), moment.float(), ridge).double()
    assert float(((found - expected).norm(dim=2) / expected.norm(dim=2)).max()) < 1e-5


@pytest.mark.parametrize("zeros", [0.2, 0.8])
def test_nothing_on_the_support_fits_better(zeros):
    pruned, target, moment = problem(zeros=zeros, seed=3)
    found = refit(pruned, target, moment, 0.3)
    assert ((found == 0) == (pruned == 0)).all()

    def cost(weight):
        gap = weight - target
        return float(sum(torch.trace(gap[g] @ damped(moment[g], 0.3) @ gap[g].T) for g in range(len(gap))))

    for seed in range(5):
        nudge = torch.randn(found.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert cost(found + 1e-3 * nudge * (pruned != 0)) > cost(found)
    assert cost(found) < cost(pruned)


def test_a_large_ridge_leaves_the_target_and_dead_inputs_do_no_harm():
    pruned, target, moment = problem(zeros=0.6)
    moment[:, 2], moment[:, :, 2] = 0, 0
    # As the ridge grows, the surviving weights end at their target.
    torch.testing.assert_close(refit(pruned, target, moment, 1e9), target * (pruned != 0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(refit(pruned, target, moment, 0.3), row_by_row(pruned, target, moment, 0.3))


def test_what_is_given_is_not_changed_and_float32_follows():
    pruned, target, moment = problem(zeros=0.7)
    before = [one.clone() for one in (pruned, target, moment)]
    found = refit(pruned, target, moment, 1.0)
    for one, other in zip(before, (pruned, target, moment), strict=True):
        assert torch.equal(one, other)
    single = refit(pruned.float(), target.float(), moment.float(), 1.0)
    torch.testing.assert_close(single.double(), found, rtol=1e-4, atol=1e-5)
