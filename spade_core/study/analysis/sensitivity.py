"""Other ways to the same difference, to see whether the primary one hangs on its method.

None of them replaces the primary analysis: fixed effects drop the differences between people and between class
neurons, the t-test looks at class neurons alone, the product bootstrap (Owen and Eckles 2012) resamples both sides
and is conservative (its intervals cover about 99 %).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, hstack

from spade_core.errors import ConfigError
from spade_core.study.analysis.estimators import ZERO, cluster_variances, interval
from spade_core.study.analysis.findings import Estimate

RESAMPLES = 4000
RANK = 1e-9  # a regressor with less left over is a combination of the others


def fixed_effects(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, *, alpha: float = 0.05
) -> Estimate:
    """Return the difference within people and within class neurons: least squares with an intercept for each of them.

    Clusters and degrees of freedom are those of the primary analysis, two-sided.

    Raises:
        ConfigError: nobody and no class neuron met both conditions, or there are fewer answers than intercepts.
    """
    people, items = pd.factorize(np.asarray(participant))[0], pd.factorize(np.asarray(class_neuron))[0]
    n = len(people)
    dummies = [
        csr_array((np.ones(n), (np.arange(n), codes)), shape=(n, codes.max(initial=0) + 1)) for codes in (people, items)
    ]
    return _partial(outcome, treated, hstack(dummies).tocsr(), people, items, alpha)


def interaction(
    outcome: ArrayLike,
    treated: ArrayLike,
    participant: ArrayLike,
    class_neuron: ArrayLike,
    *,
    later: ArrayLike,
    alpha: float = 0.05,
) -> Estimate:
    """Return the difference where ``later`` minus the difference elsewhere; two-sided, with the primary clusters.

    Raises:
        ConfigError: one of the four kinds of trials has no answers.
    """
    d, h = np.asarray(treated, dtype=float), np.asarray(later, dtype=float)
    others = csr_array(np.column_stack([np.ones_like(d), d, h]))
    return _partial(outcome, d * h, others, np.asarray(participant), np.asarray(class_neuron), alpha)


def _partial(
    outcome: ArrayLike, regressor: ArrayLike, others: csr_array, people: np.ndarray, items: np.ndarray, alpha: float
) -> Estimate:
    """Return one regressor's coefficient beside ``others`` ``(n, m)``, by Frisch and Waugh: from what they leave.

    ``statsmodels`` would fit all columns as a dense matrix: 3 s for 300 people and 60 class neurons, where this takes
    0.03 s; and it counts columns where the small-sample factor needs the rank.
    """
    from statsmodels.regression.linear_model import OLS

    y, x = np.asarray(outcome, dtype=float), np.asarray(regressor, dtype=float)
    known = ~np.isnan(y)
    y, x, others, people, items = y[known], x[known], others[known], people[known], items[known]
    if len(set(people)) < 2 or len(set(items)) < 2:
        raise ConfigError("At least two participants and two class neurons are needed; collect more answers.")
    gram = (others.T @ others).toarray()
    rank = int(np.linalg.matrix_rank(gram, hermitian=True)) + 1
    if len(y) <= rank:
        raise ConfigError("There are fewer answers than this model has coefficients; collect more answers.")
    left_y, left_x = (v - others @ np.linalg.lstsq(gram, others.T @ v, rcond=None)[0] for v in (y, x))
    if left_x @ left_x < RANK:
        raise ConfigError("The conditions cannot be told from the rest of this model; collect more answers.")
    fit = OLS(left_y, left_x).fit()
    return interval(float(fit.params[0]), cluster_variances(fit, people, items, parameters=rank), len(y), alpha=alpha)


def item_t_test(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, *, alpha: float = 0.05
) -> Estimate:
    """Return the mean over class neurons of their own differences, by a t-test; two-sided.

    Class neurons that lack answers under one condition are left out.

    Raises:
        ConfigError: fewer than two class neurons have answers under both conditions.
    """
    from scipy.stats import ttest_1samp

    sums, counts = _cells(outcome, treated, participant, class_neuron)
    answers = counts.sum(1)  # (2, items)
    usable = (answers > 0).all(0)
    items = int(usable.sum())
    if items < 2:
        raise ConfigError("At least two class neurons need answers under both conditions; collect more answers.")
    dense, spade = sums.sum(1)[:, usable] / answers[:, usable]
    differences = spade - dense
    se, low, high, p, warning = float(differences.std(ddof=1) / np.sqrt(items)), None, None, None, None
    if se < ZERO:
        se, warning = 0.0, "All class neurons differ by the same amount, so that no error can be estimated."
    else:
        found = ttest_1samp(differences, 0)
        (low, high), p = found.confidence_interval(1 - alpha), found.pvalue
    return Estimate(
        estimate=differences.mean(),
        se=se,
        low=low,
        high=high,
        p=p,
        df=items - 1,
        participants=counts.shape[1],
        class_neurons=items,
        n=int(answers[:, usable].sum()),
        variance="t-test over class neurons",
        warning=warning,
    )


def product_bootstrap(
    outcome: ArrayLike,
    treated: ArrayLike,
    participant: ArrayLike,
    class_neuron: ArrayLike,
    *,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return the difference with the percentile interval of a bootstrap over people times class neurons.

    An answer's weight is how often its person was drawn times how often its class neuron was; conservative.

    Raises:
        ConfigError: a condition is empty.
    """
    sums, counts = _cells(outcome, treated, participant, class_neuron)
    _, people, items = counts.shape
    totals = counts.sum((1, 2))
    if not totals.all():
        raise ConfigError("One of the two conditions has no answers; collect both before comparing them.")
    rng = np.random.default_rng(0)
    person, item = (rng.multinomial(n, np.full(n, 1 / n), resamples).astype(float) for n in (people, items))
    (y0, y1), (n0, n1) = ([((person @ table) * item).sum(1) for table in kind] for kind in (sums, counts))
    usable = (n0 > 0) & (n1 > 0)
    drawn = y1[usable] / n1[usable] - y0[usable] / n0[usable]
    if len(drawn) < 2:
        raise ConfigError("There are too few answers for a bootstrap; collect more answers.")
    low, high = np.percentile(drawn, [100 * alpha / 2, 100 * (1 - alpha / 2)])
    dense, spade = sums.sum((1, 2)) / totals
    return Estimate(
        estimate=spade - dense,
        se=drawn.std(ddof=1),
        low=low,
        high=high,
        p=None,
        df=None,
        participants=people,
        class_neurons=items,
        n=int(totals.sum()),
        variance="product bootstrap",
        warning="Conservative: the interval is wider than its level says.",
    )


def _cells(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums and counts of the outcome, ``(condition, person, class neuron)`` each."""
    y, d = np.asarray(outcome, dtype=float), np.asarray(treated, dtype=bool).astype(int)
    known = ~np.isnan(y)
    if not known.any():
        raise ConfigError("There are no answers yet; collect some first.")
    people, items = (pd.factorize(np.asarray(labels)[known])[0] for labels in (participant, class_neuron))
    shape = (2, int(people.max()) + 1, int(items.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (d[known], people, items), y[known])
    np.add.at(counts, (d[known], people, items), 1)
    return sums, counts
