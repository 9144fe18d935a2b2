"""Traces of one picture that leave each other what they have in common: the same bits as alone, with less work."""

from __future__ import annotations

import pytest
import torch

from spade_core.pruning import spade
from spade_core.pruning.calibration import Pruner, Shared
from spade_core.pruning.spade import trace, trace_many

STAGES = [
    {"depthwise": 0.5, "pointwise": 0.5, "grouped": 0.8, "head": 0.9},
    {"depthwise": 0.5, "pointwise": 0.5, "grouped": 0.8, "head": 0.5},
    {"depthwise": 0.5, "pointwise": 0.8, "grouped": 0.0, "head": 0.9},
    {"depthwise": 0.5, "pointwise": 0.8, "grouped": 0.8, "head": 0.9},
]
GIVEN = {"stages": STAGES[0], "views": 2, "block_size": 1, "target": 3}


def assert_same(one, other):
    for name, value in one.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name]), name
    assert one.fidelity == other.fidelity


@pytest.mark.parametrize("calibration", ["sequential", "independent"])
@pytest.mark.parametrize("weighting", ["target", "none"])
def test_traces_that_share_are_bit_for_bit_those_made_alone(small, noise, calibration, weighting, untouched):
    options = {**GIVEN, "calibration": calibration, "weighting": weighting, "refit": 3.0}
    shared = Shared()
    with untouched(small):
        for stages in STAGES:
            one = {**options, "stages": stages}
            assert_same(trace(small, noise, **one, shared=shared), trace(small, noise, **one))


def test_bundles_share_too(small, noise):
    shared = Shared()
    for stages in STAGES[:3]:
        one = {**GIVEN, "stages": stages, "weighting": "target", "traces": 2}
        alone = trace_many(small, noise, **one)
        for made, expected in zip(trace_many(small, noise, **one, shared=shared).traces, alone.traces, strict=True):
            assert_same(made, expected)


@pytest.fixture
def work(monkeypatch):
    """What is computed: names of solved layers, and ``relevance`` for each backward pass."""
    done, solve, weigh = [], Pruner.solve, spade.relevance

    def solving(self, recipe, *rest):
        done.append(recipe.layer.name)
        return solve(self, recipe, *rest)

    monkeypatch.setattr(Pruner, "solve", solving)
    monkeypatch.setattr(spade, "relevance", lambda *a, **k: done.append("relevance") or weigh(*a, **k))
    return done


def test_layers_before_the_first_other_ratio_and_the_relevance_are_computed_once(small, noise, work):
    shared, told = Shared(), []
    for stages in STAGES:
        work.clear()
        trace(small, noise, **{**GIVEN, "stages": stages}, weighting="target", shared=shared)
        told.append(work.copy())
    assert told == [
        ["relevance", "depthwise", "pointwise", "grouped", "head"],
        ["head"],
        ["pointwise", "head"],
        ["grouped", "head"],
    ]


@pytest.mark.parametrize("change", [{"seed": 1}, {"refit": 1.0}, {"target": 4}, {"views": 3}, {"weighting": "target"}])
def test_other_conditions_share_nothing(small, noise, coffee, change, work):
    shared = Shared()
    trace(small, noise, **GIVEN, shared=shared)
    work.clear()
    made = trace(small, noise, **{**GIVEN, **change}, shared=shared)
    assert len(work) >= len(STAGES[0])
    assert_same(made, trace(small, noise, **{**GIVEN, **change}))
    assert_same(trace(small, coffee, **GIVEN, shared=shared), trace(small, coffee, **GIVEN))


def test_a_trace_that_was_cancelled_leaves_nothing_wrong(small, noise):
    def cancel(done, whole, note):
        if note == "solving head":
            raise KeyboardInterrupt

    shared = Shared()
    with pytest.raises(KeyboardInterrupt):
        trace(small, noise, **GIVEN, shared=shared, progress=cancel)
    assert_same(trace(small, noise, **GIVEN, shared=shared), trace(small, noise, **GIVEN))
