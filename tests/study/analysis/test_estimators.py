"""The primary estimator against double loops and statsmodels, and the other ways to the same difference."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from spade_core.errors import ConfigError
from spade_core.study.analysis.describe import share
from spade_core.study.analysis.estimators import Variances, odds_ratio, risk_difference
from spade_core.study.analysis.findings import Note
from spade_core.study.analysis.secondary import holm
from spade_core.study.analysis.sensitivity import fixed_effects, interaction, item_t_test, product_bootstrap
from tests.reference import study as slow


def draw(seed, people=12, items=9, half=False):
    """One small study with random answers missing, as arrays; labels are strings."""
    rng = np.random.default_rng(seed)
    person, item = (v.ravel() for v in np.indices((people, items)))
    keep = rng.random(person.size) < 0.8
    person, item = person[keep], item[keep]
    treated = rng.random(person.size) < 0.5
    logit = rng.normal(size=people)[person] + rng.normal(size=items)[item] + 0.5 * treated
    y = (rng.random(person.size) < 1 / (1 + np.exp(-logit))).astype(float)
    if half:
        y[rng.random(y.size) < 0.2] = 0.5
    return y, treated, np.array([f"p{i}" for i in person]), np.array([f"net:{i}" for i in item])


def codes(labels):
    return np.unique(labels, return_inverse=True)[1]


@pytest.mark.parametrize("seed", range(8))
def test_the_primary_is_the_double_loop(seed):
    y, d, people, items = draw(seed, half=seed % 2 == 1)
    found = risk_difference(y, d, people, items)
    estimate, se = slow.two_way(y.tolist(), d.tolist(), people.tolist(), items.tolist())
    assert (found.estimate, found.se) == pytest.approx((estimate, se), rel=1e-10)
    assert (found.participants, found.class_neurons, found.n, found.df) == (12, 9, len(y), 8)
    margin = stats.t.ppf(0.975, 8) * se
    assert (found.low, found.high) == pytest.approx((estimate - margin, estimate + margin), rel=1e-9)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(estimate / se), 8), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_variances_are_statsmodels(seed):
    y, d, people, items = draw(seed, 15, 11)
    model = sm.OLS(y, sm.add_constant(d.astype(float)))
    for clusters, groups in (("participant", codes(people)), ("class_neuron", codes(items))):
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
        found = risk_difference(y, d, people, items, clusters=clusters)
        assert (found.estimate, found.se, found.p) == pytest.approx((fit.params[1], fit.bse[1], fit.pvalues[1]))
        assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[1]))
    both = np.column_stack([codes(people), codes(items)])
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": both}, use_t=True)
    found = risk_difference(y, d, people, items)
    if found.variance == "two-way":
        assert (found.se, found.p) == pytest.approx((fit.bse[1], fit.pvalues[1]))
    else:
        assert found.se > np.sqrt(max(0.0, fit.cov_params()[1, 1]))


def test_both_kinds_of_variance_are_met_above():
    assert {risk_difference(*draw(seed, 15, 11)).variance for seed in range(8)} > {"two-way"}


def test_the_largest_variance_is_taken_where_the_two_way_one_is_smaller_or_negative():
    assert Variances(1.0, 2.0, 2.5, 30, 10).chosen("both") == (2.5, 9, "two-way")
    assert Variances(1.0, 2.0, 1.5, 30, 10).chosen("both") == (2.0, 9, "class_neuron")
    assert Variances(1.0, 0.5, -7.5, 5, 10).chosen("both") == (1.0, 4, "participant")


def test_a_variance_that_is_larger_by_rounding_alone_gives_no_other_name():
    assert Variances(1.0, 1.0 + 1e-12, 1.0, 30, 10).chosen("both") == (1.0 + 1e-12, 9, "two-way")
    assert Variances(3e-33, 1e-33, -2e-33, 30, 10).chosen("both") == (3e-33, 9, "two-way")
    assert Variances(1.0, 1.0 + 1e-12, 0.5, 30, 10).chosen("both") == (1.0 + 1e-12, 9, "participant")


def test_intersections_are_counted_once_where_a_pair_repeats():
    rng = np.random.default_rng(0)
    people, items = np.repeat([0, 0, 1, 1, 2, 2], 2), np.repeat([0, 1, 0, 1, 0, 1], 2)
    for _ in range(5):
        y, d = rng.integers(0, 2, 12).astype(float), np.arange(12) % 3 == 0
        found = risk_difference(y, d, people, items)
        estimate, se = slow.two_way(y.tolist(), d.tolist(), people.tolist(), items.tolist())
        assert (found.estimate, found.se) == pytest.approx((estimate, se), rel=1e-10)


def test_equal_shares_differ_by_exactly_nothing():
    d = np.arange(42) % 2 == 0
    y = (np.arange(42) // 2 % 3 == 0).astype(float)
    found = risk_difference(y, d, np.arange(42) % 7, np.arange(42) // 6)
    assert str(found.estimate) == "0.0", "else a text says -0.0 points"


@pytest.mark.parametrize("seed", range(6))
def test_the_odds_ratio_is_statsmodels(seed):
    y, d, people, items = draw(seed, 15, 11)
    groups = np.column_stack([codes(people), codes(items)])
    fit = sm.Logit(y, sm.add_constant(d.astype(float))).fit(disp=0, cov_type="cluster", cov_kwds={"groups": groups})
    found = odds_ratio(y, d, people, items)
    assert "arginal" in found.note
    assert found.estimate == pytest.approx(np.exp(fit.params[1]), rel=1e-5)
    rates = [y[side].mean() for side in (d, ~d)]
    assert found.estimate == pytest.approx(rates[0] / (1 - rates[0]) / (rates[1] / (1 - rates[1])), rel=1e-9)
    if found.variance == "two-way":
        assert found.se == pytest.approx(fit.bse[1], rel=1e-5)
        assert np.log(found.high / found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 10) * fit.bse[1], rel=1e-5)


def test_separation_gives_no_odds_ratio_but_a_sentence():
    y, d, people, items = draw(0)
    found = odds_ratio(np.where(d, 1.0, y), d, people, items)
    assert isinstance(found, Note)
    assert "not defined" in found.note


def test_equal_answers_give_no_interval():
    _, d, people, items = draw(0)
    for y, value in ((np.ones(len(d)), 0), (d.astype(float), 1)):
        found = risk_difference(y, d, people, items)
        assert (found.estimate, found.low, found.high, found.p) == (value, None, None, None)
        assert "no error can be estimated" in found.warning


def test_one_sided_intervals_have_no_upper_end():
    y, d, people, items = draw(3)
    two, one = risk_difference(y, d, people, items), risk_difference(y, d, people, items, sidedness="greater")
    assert one.high is None
    assert one.low > two.low
    expected = two.p / 2 if two.estimate > 0 else 1 - two.p / 2
    assert one.p == pytest.approx(expected)
    assert risk_difference(y, d, people, items, alpha=0.1).low == pytest.approx(one.low)


def test_missing_answers_are_left_out():
    y, d, people, items = draw(1)
    holes = y.copy()
    holes[::5] = np.nan
    kept = ~np.isnan(holes)
    assert risk_difference(holes, d, people, items) == risk_difference(y[kept], d[kept], people[kept], items[kept])


def test_few_clusters_are_warned_of():
    assert "12 participants and 9 class neurons" in risk_difference(*draw(0)).warning
    assert risk_difference(*draw(0, 25, 9)).warning.startswith("Only 9 class neurons:")
    assert risk_difference(*draw(0, 20, 20)).warning is None
    json.dumps(risk_difference(*draw(0)).to_dict(), allow_nan=False)


def test_too_little_data_is_a_sentence():
    y, d, people, items = draw(0)
    for arguments, message in (
        ((np.full(len(y), np.nan), d, people, items), "no answers yet"),
        ((y, np.ones_like(d), people, items), "One of the two conditions"),
        ((y, d, np.zeros_like(d), items), "two participants"),
        ((y, d, people, np.zeros_like(d)), "two class neurons"),
    ):
        with pytest.raises(ConfigError, match=message):
            risk_difference(*arguments)


@pytest.mark.parametrize("seed", range(4))
def test_fixed_effects_are_least_squares_with_dummies(seed):
    y, d, people, items = draw(seed, 14, 10)
    person, item = codes(people), codes(items)
    design = np.column_stack([d, np.eye(14)[person], np.eye(10)[item][:, 1:]]).astype(float)
    fit = sm.OLS(y, design).fit(cov_type="cluster", cov_kwds={"groups": np.column_stack([person, item])})
    found = fixed_effects(y, d, people, items)
    assert found.estimate == pytest.approx(fit.params[0])
    if found.variance == "two-way":
        assert found.se == pytest.approx(fit.bse[0])
    with pytest.raises(ConfigError, match="conditions cannot be told"):
        fixed_effects(y, person % 2 == 0, people, items)


@pytest.mark.parametrize("seed", range(3))
def test_the_interaction_is_least_squares_with_a_product(seed):
    y, d, people, items = draw(seed, 14, 10)
    later = np.arange(len(y)) % 2
    design = np.column_stack([d * later, np.ones(len(y)), d, later]).astype(float)
    groups = np.column_stack([codes(people), codes(items)])
    fit = sm.OLS(y, design).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = interaction(y, d, people, items, later=later)
    assert found.estimate == pytest.approx(fit.params[0])
    if found.variance == "two-way":
        assert found.se == pytest.approx(fit.bse[0])


def test_the_item_t_test_is_scipys():
    y, d, people, items = draw(5)
    differences = [
        y[(items == name) & d].mean() - y[(items == name) & ~d].mean()
        for name in np.unique(items)
        if (d[items == name]).any() and (~d[items == name]).any()
    ]
    expected = stats.ttest_1samp(differences, 0)
    found = item_t_test(y, d, people, items)
    assert (found.estimate, found.p) == pytest.approx((np.mean(differences), expected.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_the_product_bootstrap_is_seeded_and_wider():
    y, d, people, items = draw(2, 40, 25)
    found = product_bootstrap(y, d, people, items)
    assert found == product_bootstrap(y, d, people, items)
    primary = risk_difference(y, d, people, items)
    assert found.estimate == pytest.approx(primary.estimate)
    assert found.se > primary.se
    assert "onservative" in found.warning


def test_one_product_bootstrap_draw_by_hand():
    y, d = np.array([1.0, 0.0, 1.0, 1.0]), np.array([True, True, False, False])
    people, items = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    rng = np.random.default_rng(0)
    person = rng.multinomial(2, [0.5, 0.5], 50)
    item = rng.multinomial(2, [0.5, 0.5], 50)
    values = []
    for w, v in zip(person, item, strict=True):
        weight = w[people] * v[items]
        if weight[d].sum() and weight[~d].sum():
            values.append(np.average(y[d], weights=weight[d]) - np.average(y[~d], weights=weight[~d]))
    found = product_bootstrap(y, d, people, items, resamples=50)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


def test_holm_is_the_definition_and_statsmodels():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5):
        p = rng.random(size) ** 3
        found = list(holm(dict(zip("abcde"[:size], p, strict=True))).values())
        assert found == pytest.approx(slow.holm(p.tolist()))
        assert found == pytest.approx(multipletests(p, method="holm")[1])
    assert holm({}) == {}


def test_wilson_is_statsmodels():
    for count, n in ((0, 5), (3, 7), (50, 50), (81, 143)):
        found = share(count, n, 0.05)
        assert (found.low, found.high) == pytest.approx(proportion_confint(count, n, method="wilson"), abs=1e-12)
        assert found.share == count / n
    for n in range(1, 200):
        low, high = share(0, n, 0.05).low, share(n, n, 0.05).high
        assert (low, high) == pytest.approx((0, 1))
        assert f"{100 * low:.1f}" == "0.0"
    assert share(0, 0, 0.05).to_dict() == {"count": 0, "n": 0, "share": None, "low": None, "high": None}


def test_wilson_is_its_formula():
    z, n, p = stats.norm.ppf(0.95), 41, 17 / 41
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = share(17, n, 0.1)
    assert (found.low, found.high) == pytest.approx([(middle + side * half) / (1 + z * z / n) for side in (-1, 1)])


@pytest.mark.parametrize("modules", ["ui.participant.trials, spade_core.study.running.flow", "cli", "ui.study.results"])
def test_nothing_but_an_estimate_waits_for_statsmodels(modules):
    code = f"import sys, spade_core.{modules}; sys.exit('statsmodels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
