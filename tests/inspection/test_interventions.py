"""Interventions, against slow masking weight by weight; and the budget of the paths."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from spade_core.errors import ConfigError, LayerError
from spade_core.inspection import Cut, Edge, Paths, strongest_path, within
from spade_core.inspection.interventions import Intervened, ablated, knockouts
from spade_core.models.loaded import predict
from spade_core.progress import Cancelled
from spade_core.pruning.spade import trace
from spade_core.saliency.explanation import explain


@pytest.fixture(scope="module")
def made(small, noise):
    return trace(small, noise, sparsity=0.6, views=4, solver="magnitude")


def slowly(network, picture, gone):
    """Predict with a whole copy of the network of which single weights were set to 0, one after the other."""
    module = copy.deepcopy(network.module)
    with torch.no_grad():
        for parameter, places in gone.items():
            for place in places:
                module.get_parameter(parameter)[tuple(place)] = 0
    return predict(Intervened(module, network.dense), picture)


def places(layer, network, row=None):
    shape = network.module.get_parameter(layer.parameter).shape
    return [place for place in np.ndindex(*shape) if row is None or place[0] == row]


def test_a_cut_is_every_weight_that_leads_into_it_set_to_zero(made, small, noise, untouched):
    first, second = small.layers[0], small.layers[1]
    with untouched(small):
        before = predict(made, noise)
        cut = ablated(made, [Cut(first.name, 1), Cut(second.name)])
        expected = slowly(
            made, noise, {first.parameter: places(first, made, 1), second.parameter: places(second, made)}
        )
        np.testing.assert_allclose(predict(cut, noise), expected, atol=1e-6)
        assert not np.allclose(expected, before)
        assert np.array_equal(predict(made, noise), before)
        assert explain(cut, noise, method="saliency", target=0).map.shape == (16, 16)


@pytest.mark.parametrize(("cut", "said"), [(Cut("none"), "no prunable layer"), (Cut("grouped", 99), "from 0 to 11")])
def test_what_is_not_there_cannot_be_cut(made, cut, said):
    with pytest.raises(LayerError, match=said):
        ablated(made, [cut])


def test_the_curves_end_where_all_kept_or_all_removed_weights_are_gone(made, small, noise, untouched):
    with untouched(small):
        steps = list(knockouts(made, noise, shares=(0.0, 0.5, 1.0), draws=2))
    target, dense = made.fidelity.target, predict(small, noise)[made.fidelity.target]
    kept, removed = {}, {}
    for layer in small.layers:
        row = next(row for row in made.report.layers if row.name == layer.name)
        if row.status == "pruned":
            mask = (made.module.get_parameter(layer.parameter) != 0).numpy()
            kept[layer.parameter], removed[layer.parameter] = np.argwhere(mask), np.argwhere(~mask)
    assert steps[0].without_kept == steps[0].without_removed == pytest.approx(dense, abs=1e-6)
    assert steps[0].random_kept == pytest.approx((dense,) * 3, abs=1e-6)
    assert steps[2].without_kept == pytest.approx(slowly(small, noise, kept)[target], abs=1e-6)
    assert steps[2].without_removed == pytest.approx(slowly(small, noise, removed)[target], abs=1e-6)
    for step in steps:
        for mean, low, high in (step.random_kept, step.random_removed):
            assert low <= mean <= high
    assert steps == list(knockouts(made, noise, shares=(0.0, 0.5, 1.0), draws=2))
    assert steps[1] != next(iter(knockouts(made, noise, shares=(0.5,), draws=2, seed=7)))


def test_each_step_takes_out_what_the_one_before_did(made, small, noise, monkeypatch):
    from spade_core.inspection import interventions

    gone = []
    monkeypatch.setattr(interventions, "_probability", lambda found, picture, masks: gone.append(masks) or 0.5)
    list(knockouts(made, noise, shares=(0.25, 0.75), draws=1))
    for side in range(4):  # kept, its random one, removed, its random one
        for layer, mask in gone[side].items():
            assert not (mask & ~gone[side + 4][layer]).any()
            alive = made.module.get_parameter(layer.parameter) != 0
            count = round(0.25 * int((alive if side < 2 else ~alive).sum()))
            assert int(mask.sum()) == count
            if side in (0, 2):
                assert not (mask & (~alive if side == 0 else alive)).any()


def test_a_cancel_leaves_nothing_behind(made, small, noise, untouched):
    def cancel(done, total, note):
        if done:
            raise Cancelled

    with untouched(small), pytest.raises(Cancelled):
        list(knockouts(made, noise, draws=1, progress=cancel))


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"shares": ()}, {"shares": (1.5,)}])
def test_numbers_that_cannot_be_used_are_refused(made, noise, wrong):
    with pytest.raises(ConfigError, match="Shares must lie"):
        next(knockouts(made, noise, **wrong))


EDGES = (
    Edge("b", 0, "a", 0, 5.0),
    Edge("b", 1, "a", 0, -7.0),
    Edge("c", 0, "b", 0, 3.0),
    Edge("c", 1, "b", 1, 9.0),
)
FOUND = Paths(EDGES, (("a", 0),), ("a", "b", "c"), ())


def test_a_budget_keeps_the_strongest_channels_that_hang_together():
    assert within(FOUND, 9) == FOUND
    assert within(FOUND, 2) == Paths(EDGES[1:2], (("a", 0),), ("a", "b"), ())
    assert within(FOUND, 3).edges == (EDGES[1], EDGES[3])
    assert within(FOUND, 4).edges == (EDGES[0], EDGES[1], EDGES[3])


def test_the_strongest_path_follows_what_speaks_for_the_class():
    assert strongest_path(FOUND) == (("a", 0), ("b", 0), ("c", 0))
    assert strongest_path(Paths((), (), (), ())) == ()
