"""Least squares by the few receptive fields of a layer, against those by its second moments."""

from __future__ import annotations

import pytest
import torch

from spade_core.models.weight_calls import WeightCalls
from spade_core.pruning.calibration import Seen, fit_to_dense
from spade_core.pruning.moments import cross_moment
from spade_core.pruning.solvers.common import damped
from spade_core.pruning.solvers.fields import Fields
from spade_core.pruning.solvers.refit import refit
from spade_core.pruning.spade import trace
from tests import nets

ROWS, COLS = 7, 24


@pytest.fixture(params=["linear", "conv2d"])
def seen(request):
    """The call of a layer, what the dense model and the trace read there, and what each place counts."""
    generator = torch.Generator().manual_seed(1)
    shape = (5, COLS) if request.param == "linear" else (2, COLS, 2, 3)
    dense, own = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    for x in (dense, own):
        x[:, 3] = 0  # a dead input
    own[:, 5] = 0  # one that is dead in the trace alone
    weight = torch.randn(ROWS, COLS, *[1] * (len(shape) - 2), generator=generator, dtype=torch.float64)
    calls = []
    call = torch.nn.functional.linear if request.param == "linear" else torch.nn.functional.conv2d
    with WeightCalls({"layer": weight}, lambda name, x, weight, told: calls.append(told)):
        call(own, weight)
    places = 5 if request.param == "linear" else 12
    return calls[0], dense, own, weight.view(1, ROWS, COLS), torch.rand(places, generator=generator).double() + 0.1


@pytest.mark.parametrize("weighted", [False, True])
def test_the_fields_give_what_second_moments_give(seen, weighted):
    call, dense, own, weight, counts = seen
    counts = counts if weighted else None
    fields = Fields.of(own, dense, call, None, counts)
    moment, cross = cross_moment(own, None, call, None, counts), cross_moment(dense, own, call, None, counts)
    assert torch.allclose(fields.own.transpose(1, 2) @ fields.own, moment, atol=1e-12)
    assert torch.allclose(fields.dense.transpose(1, 2) @ fields.own, cross, atol=1e-12)
    assert torch.allclose(fields.pull(0.3), damped(moment, 0.3)[1])
    fitted = Seen(moment, None, fields).fit(weight, 0.3)
    assert torch.allclose(fitted, fit_to_dense(weight, moment, cross, 0.3), atol=1e-9)
    assert (fitted - weight).abs().max() > 0.01
    kept = fitted * (torch.rand(fitted.shape, generator=torch.Generator().manual_seed(2)) < 0.4)
    again = refit(kept, fitted, moment, 0.5, fields)
    assert torch.allclose(again, refit(kept, fitted, moment, 0.5), atol=1e-9)
    assert torch.equal(again == 0, kept == 0)
    assert (again - kept).abs().max() > 0.01


def test_where_nothing_is_pruned_yet_there_is_nothing_to_fit(seen):
    call, _, own, weight, _ = seen
    moment = cross_moment(own, None, call)
    for fields in (None, Fields.of(own, None, call, None, None)):
        assert torch.equal(Seen(moment, None, fields).fit(weight, 0.3), weight)


def test_many_fields_and_spatial_kernels_are_left_to_second_moments(seen):
    call, _, own, *_ = seen
    assert Fields.of(torch.cat([own] * 4), None, call, None, None) is None
    assert Fields.of(own, None, call, 2, None) is None  # the second moment is of some that are drawn
    kernel, calls = torch.ones(2, COLS, 2, 2, dtype=torch.float64), []
    with WeightCalls({"layer": kernel}, lambda name, x, weight, told: calls.append(told)):
        torch.nn.functional.conv2d(torch.ones(1, COLS, 2, 2, dtype=torch.float64), kernel)
    assert Fields.of(torch.ones(1, COLS, 2, 2, dtype=torch.float64), None, calls[0], None, None) is None


def test_what_is_not_finite_is_refused(seen):
    call, dense, own, weight, _ = seen
    with pytest.raises(ValueError, match="not positive semidefinite"):
        Fields.of(own * torch.nan, dense, call, None, None).fit(weight, 0.3)


def test_a_trace_is_the_same_by_the_fields_and_by_second_moments(monkeypatch, noise):
    """With one view the head reads one field: as it is, and with every layer left to its second moment."""
    model = nets.plain(seed=2, dtype=torch.float64)
    options = {"sparsity": 0.5, "views": 2, "untouched": 1, "weighting": "target", "refit": 1.0, "target": 3, "seed": 1}
    asked, of = [], Fields.of.__func__
    monkeypatch.setattr(Fields, "of", classmethod(lambda cls, *given: asked.append(of(cls, *given)) or asked[-1]))
    by_fields = trace(model, noise, **options)
    assert any(fields is not None for fields in asked)
    monkeypatch.setattr(Fields, "of", classmethod(lambda *_: None))
    by_moments = trace(model, noise, **options)
    for name, weight in by_fields.module.named_parameters():
        torch.testing.assert_close(weight, by_moments.module.get_parameter(name), rtol=1e-8, atol=1e-10)
