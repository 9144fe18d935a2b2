"""The map of a bundle: means, spread and agreement, against the maps of its traces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import spade_core as sc
from spade_core.errors import ConfigError
from spade_core.progress import Cancelled
from spade_core.pruning.trace import Bundle
from spade_core.saliency.explanation import AGREEING, Explanation, averaged

QUICK = {"sparsity": 0.7, "views": 2, "untouched": 0}


@pytest.fixture(scope="module")
def bundle(small, noise):
    return sc.trace_many(small, noise, traces=3, **QUICK)


@pytest.mark.parametrize("average", ["magnitude", "signed"])
@pytest.mark.parametrize("method", ["input_x_gradient", "saliency", "gradient_shap"])
def test_the_map_is_the_mean_of_the_traces_maps(bundle, noise, method, average):
    found = sc.explain(bundle, noise, method=method, average=average, seed=2)
    maps = np.stack([sc.explain(one, noise, method=method, seed=2).map.astype(float) for one in bundle.traces])
    maps = np.abs(maps) if average == "magnitude" else maps
    np.testing.assert_allclose(found.map, maps.mean(0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.spread, np.sqrt(((maps - maps.mean(0)) ** 2).sum(0) / 2), rtol=1e-4, atol=1e-7)
    pairs = [spearmanr(maps[a].ravel(), maps[b].ravel()).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.agreement == pytest.approx(min(pairs), abs=1e-6)
    assert found.map.dtype == found.spread.dtype == np.float32
    assert found.signed == (average == "signed" and method != "saliency")
    assert (found.settings["traces"], found.settings["average"]) == (3, average)


def explanation(values):
    made = np.asarray(values, np.float32)
    return Explanation(made, np.abs(made), "saliency", 0, "class 0", True, 1.0, notes=("oddity",))


def test_seeds_that_disagree_are_said_and_others_are_not():
    rising, falling = explanation([[1, 2], [3, 4]]), explanation([[4, 3], [2, 1]])
    apart, alike = averaged([rising, falling], "signed"), averaged([rising, rising], "signed")
    assert apart.agreement == pytest.approx(-1)
    assert f"rank correlation -1.00, below {AGREEING}" in apart.warning
    assert apart.notes == ("oddity", apart.warning)
    assert alike.agreement == pytest.approx(1)
    assert alike.warning is None
    assert alike.notes == ("oddity",)
    assert alike.seconds == 2.0
    assert averaged([rising, explanation(np.ones((2, 2)))], "signed").agreement == 0, "a constant map agrees with none"


def test_opposite_signs_cancel_out_in_the_signed_mean_only():
    one, other = explanation([[1, -2]]), explanation([[-1, -2]])
    assert averaged([one, other], "signed").map.tolist() == [[0, -2]]
    assert averaged([one, other], "magnitude").map.tolist() == [[1, 2]]


def test_a_bundle_of_one_has_no_spread(bundle, noise):
    single = Bundle(bundle.traces[:1])
    found = sc.explain(single, noise, method="input_x_gradient", average="signed")
    assert np.array_equal(found.map, sc.explain(bundle.traces[0], noise, method="input_x_gradient").map)
    assert found.spread is found.agreement is found.warning is None


def test_progress_rises_and_the_model_is_untouched_after_success_error_and_cancel(bundle, small, noise, untouched):
    seen = []
    with untouched(small), untouched(bundle.traces[1]):
        sc.explain(
            bundle, noise, method="gradient_shap", samples=2, progress=lambda done, total, _: seen.append(done / total)
        )
        assert seen == sorted(seen)
        assert seen[-1] == 1

        def stop(done, total, note):
            if done / total > 0.4:
                raise Cancelled

        with pytest.raises(Cancelled):
            sc.explain(bundle, noise, method="saliency", progress=stop)
        with pytest.raises(ConfigError, match="no average 'median': take one of magnitude, signed"):
            sc.explain(bundle, noise, method="saliency", average="median")
