"""Other ways to the same difference, to see whether the primary one hangs on its method; and small shared statistics.

None of them replaces the primary analysis: fixed effects drop the differences between people and between class
neurons, the t-test looks at class neurons alone, the product bootstrap (Owen and Eckles 2012) resamples both sides
and is conservative (its intervals cover about 99 %).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, hstack
from scipy.special import ndtri, stdtr, stdtrit

from spade_core.errors import ConfigError
from spade_core.study.analysis.estimators import ZERO, Estimate, cluster_variances, from_influence

RESAMPLES = 4000
RANK = 1e-9  # a regressor with less left over is a combination of the others


def wilson(successes: int, n: int, *, alpha: float = 0.05) -> tuple[float, float] | None:
    """Return Wilson's interval of a share, or None of nothing."""
    if n == 0:
        return None
    z = float(ndtri(1 - alpha / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p values by name, not above 1 and in the order of the raw ones."""
    adjusted, running = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}


def fixed_effects(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, *, alpha: float = 0.05
) -> Estimate:
    """Return the difference within people and within class neurons: least squares with an intercept for each of them.

    Clusters and degrees of freedom are those of the primary analysis, two-sided.

    Raises:
        ConfigError: nobody and no class neuron met both conditions, or there are fewer answers than intercepts.
    """
    people, items = pd.factorize(np.asarray(participant))[0], pd.factorize(np.asarray(class_neuron))[0]
    return _partial(outcome, treated, hstack([_dummies(people), _dummies(items)]).tocsr(), people, items, alpha)


def _dummies(codes: np.ndarray) -> csr_array:
    """Return one 0/1 column for each code, sparse ``(n, codes)``."""
    return csr_array(
        (np.ones(len(codes)), (np.arange(len(codes)), codes)), shape=(len(codes), codes.max(initial=0) + 1)
    )


def interaction(
    outcome: ArrayLike, treated: ArrayLike, later: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, *,
    alpha: float = 0.05,
) -> Estimate:  # fmt: skip
    """Return the difference where ``later`` minus the difference elsewhere; two-sided, with the primary clusters.

    Raises:
        ConfigError: one of the four kinds of trials has no answers.
    """
    d, h = np.asarray(treated, dtype=float), np.asarray(later, dtype=float)
    people, items = pd.factorize(np.asarray(participant))[0], pd.factorize(np.asarray(class_neuron))[0]
    return _partial(outcome, d * h, csr_array(np.column_stack([np.ones_like(d), d, h])), people, items, alpha)


def _partial(
    outcome: ArrayLike, regressor: ArrayLike, others: csr_array, people: np.ndarray, items: np.ndarray, alpha: float
) -> Estimate:
    """Return one regressor's coefficient beside ``others`` ``(n, m)``, by Frisch and Waugh: from what they leave."""
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
    power = float(left_x @ left_x)
    if power < RANK:
        raise ConfigError("The conditions cannot be told from the rest of this model; collect more answers.")
    value = float(left_x @ left_y) / power
    influence = left_x * (left_y - value * left_x) / power
    return from_influence(value, cluster_variances(influence, people, items, parameters=rank), len(y), alpha=alpha)


def item_t_test(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, *, alpha: float = 0.05
) -> Estimate:
    """Return the mean over class neurons of their own differences, by a t-test; two-sided.

    Class neurons that lack answers under one condition are left out.

    Raises:
        ConfigError: fewer than two class neurons have answers under both conditions.
    """
    sums, counts, people = _cells(outcome, treated, participant, class_neuron)
    per_item, answers = sums.sum(1), counts.sum(1)  # (2, items)
    usable = (answers > 0).all(0)
    items = int(usable.sum())
    if items < 2:
        raise ConfigError("At least two class neurons need answers under both conditions; collect more answers.")
    means = per_item[:, usable] / answers[:, usable]
    differences = means[1] - means[0]
    value, se = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(items))
    n = int(answers[:, usable].sum())
    if se < ZERO:
        warning = "All class neurons differ by the same amount, so that no error can be estimated."
        return Estimate(value, 0.0, None, None, None, items - 1, people, items, n, "t-test over class neurons", warning)
    margin = se * float(stdtrit(items - 1, 1 - alpha / 2))
    p = float(2 * stdtr(items - 1, -abs(value / se)))
    return Estimate(
        value, se, value - margin, value + margin, p, items - 1, people, items, n, "t-test over class neurons"
    )


def product_bootstrap(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, *,
    alpha: float = 0.05, resamples: int = RESAMPLES, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Return the difference with the percentile interval of a bootstrap over people times class neurons.

    An answer's weight is how often its person was drawn times how often its class neuron was; conservative.

    Raises:
        ConfigError: a condition is empty.
    """
    sums, counts, people = _cells(outcome, treated, participant, class_neuron)
    items = sums.shape[2]
    totals = counts.sum((1, 2))
    if not totals.all():
        raise ConfigError("One of the two conditions has no answers; collect both before comparing them.")
    rng = np.random.default_rng(seed)
    person = rng.multinomial(people, np.full(people, 1 / people), resamples).astype(float)
    item = rng.multinomial(items, np.full(items, 1 / items), resamples).astype(float)
    weighted = [[((person @ table) * item).sum(1) for table in kind] for kind in (sums, counts)]
    (y0, y1), (n0, n1) = weighted
    usable = (n0 > 0) & (n1 > 0)
    drawn = y1[usable] / n1[usable] - y0[usable] / n0[usable]
    if len(drawn) < 2:
        raise ConfigError("There are too few answers for a bootstrap; collect more answers.")
    low, high = np.percentile(drawn, [100 * alpha / 2, 100 * (1 - alpha / 2)])
    value = float(sums[1].sum() / totals[1] - sums[0].sum() / totals[0])
    warning = "Conservative: the interval is wider than its level says."
    return Estimate(
        value, float(drawn.std(ddof=1)), float(low), float(high), None, None, people, items, int(totals.sum()),
        "product bootstrap", warning,
    )  # fmt: skip


def _cells(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return sums and counts of the outcome, ``(condition, person, class neuron)`` each, and the number of people."""
    y, d = np.asarray(outcome, dtype=float), np.asarray(treated, dtype=bool).astype(int)
    known = ~np.isnan(y)
    if not known.any():
        raise ConfigError("There are no answers yet; collect some first.")
    people, items = pd.factorize(np.asarray(participant)[known])[0], pd.factorize(np.asarray(class_neuron)[known])[0]
    shape = (2, int(people.max()) + 1, int(items.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (d[known], people, items), y[known])
    np.add.at(counts, (d[known], people, items), 1)
    return sums, counts, shape[1]
