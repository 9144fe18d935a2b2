"""Rows of the grid: both maps processed alike, each in its own unit, and every number that stands beside them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from spade_core.evaluation.evidence import Claim
from spade_core.saliency.metrics import Interval
from spade_core.ui.saliency.maps import VIEWS, panels_of, told_claims, told_scores, told_traces

RNG = np.random.default_rng(0)
DENSE, SPADE = RNG.normal(size=(2, 40, 30))


def shown(view="raw", dense=DENSE, spade=SPADE, spread=None, signed=True):
    return panels_of(dense, spade, spread, "Saliency", VIEWS[view], signed=signed)


def unit(values):
    return values / np.percentile(np.abs(values), 99.5)


@pytest.mark.parametrize(
    ("view", "by_hand"),
    [
        ("raw", lambda values: values),
        ("magnitude", np.abs),
        ("blur2", lambda values: gaussian_filter(np.abs(values), 2)),
        ("blur4", lambda values: gaussian_filter(np.abs(values), 4)),
    ],
)
def test_both_maps_are_processed_alike_and_fill_their_colours(view, by_hand):
    dense, spade, gap = shown(view)
    np.testing.assert_allclose(dense.values, unit(by_hand(DENSE)))
    np.testing.assert_allclose(spade.values, unit(by_hand(SPADE)))
    np.testing.assert_allclose(gap.values, unit(by_hand(SPADE)) - unit(by_hand(DENSE)))
    assert gap.most == np.percentile(np.abs(gap.values), 99.5)
    assert (dense.scale, gap.scale) == ("signed" if view == "raw" else "magnitude", "difference")
    faint = shown(view, spade=1e-6 * SPADE)
    np.testing.assert_allclose(faint[1].values, spade.values)


def test_a_map_without_signs_has_the_scale_of_magnitudes():
    assert shown(signed=False)[0].scale == "magnitude"


def test_the_spread_of_a_bundle_is_a_panel_of_its_own_in_the_unit_of_its_map():
    spread = RNG.random((40, 30))
    panel = shown(spread=spread)[3]
    np.testing.assert_allclose(panel.values, spread / np.percentile(np.abs(SPADE), 99.5))
    assert (panel.name, panel.scale) == ("Spread of the traces", "spread")


def test_a_screen_reader_hears_where_a_map_is_strongest():
    dense = np.zeros((40, 30))
    dense[10, 15] = -3
    text = shown(dense=dense)[0].text
    assert text == "Dense, Saliency: strongest 50 % from the left and 25 % from the top."


def test_a_pasted_triggers_scores_say_which_map_shows_it_better():
    sides = [{"notes": [], "trojan_auc": auc, "pointing_game": hit} for auc, hit in ((89.0, False), (97.5, True))]
    entry = dict(zip(("dense", "spade"), sides, strict=True))
    auc, game = told_scores(entry)
    assert (auc.text, auc.tone) == ("Trojan AUC: dense 89.0, SPADE 97.5 (+8.5)", "good")
    assert game.text == "Pointing Game: dense miss, SPADE hit"
    assert told_scores({"dense": sides[1], "spade": sides[0]})[0].tone == "bad"
    assert told_scores({"dense": {"notes": []}, "spade": {"notes": []}, "agreement": 0.5})[0].text.endswith("0.50")
    assert told_scores(None) == []


@pytest.mark.parametrize(("low", "high", "tone"), [(3, 9, "good"), (-9, -3, "bad"), (-2, 5, "plain")])
def test_a_claim_has_a_colour_only_where_its_interval_lacks_zero(low, high, tone):
    chip, second = told_claims([Claim(one, Interval(4.0, low, high, 60)) for one in ("raw", "blur2")])
    assert second.text == f"Blur 2 px: 4 % [{low}, {high}]"
    assert chip.tone == tone
    told = "Dense error gone on 60 triggered pictures, both processed alike. As it is: "
    assert chip.text == f"{told}4 % [{low}, {high}]"
    (points,) = told_claims([Claim("raw", Interval(4.0, low, high, 30), points=True)])
    assert points.text.startswith("Faithfulness gained on 30 pictures, both processed alike. As it is: +4.0 points [")
    assert points.tone == tone


def test_a_methods_own_traces_are_told():
    fidelity = {"target": 1, "label": "dog", "dense_probability": 0.9, "trace_probability": 0.75}
    fidelity |= {"dense_top5": [(1, 0.9)], "trace_top5": [(1, 0.75)], "kl": 0.0}
    one = {"seed": 0, "sparsity": 0.523, "fidelity": fidelity, "pruned": True}
    assert "52% of the weights removed, probability of the class 75.0%" in told_traces([one])[0]
    assert "no trace improves" in told_traces([one | {"pruned": False}])[0]
    assert told_traces([]) == ()
