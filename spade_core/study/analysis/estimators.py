"""The primary estimator: a difference between conditions whose error respects people and class neurons at once.

Answers of one person resemble each other, and so do answers about one class neuron; whoever forgets the second gets
intervals that cover 80 % instead of 95 % (``benchmarks.study_statistics``). The difference is ordinary least squares of
the outcome on the condition; its variance is two-way cluster-robust (Cameron, Gelbach and Miller 2011):
V(participant) + V(class neuron) - V(both), each with the usual factor G/(G-1) (n-1)/(n-k), by ``statsmodels``.
Where that falls below one of its parts or below zero, the largest of the three is taken. The reference distribution is
t with the smaller cluster count - 1 degrees of freedom.

``statsmodels`` is imported where it computes: pages that only name these types do not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from spade_core.errors import ConfigError
from spade_core.study.analysis.findings import Estimate, Found, Note, Sidedness

if TYPE_CHECKING:
    from statsmodels.base.model import LikelihoodModelResults

FEW_CLUSTERS = 20  # below, cluster-robust errors are known to be too small
ZERO = 1e-12  # a standard error below is rounding noise

Clusters = Literal["both", "participant", "class_neuron"]


class Test(TypedDict, total=False):
    """How a difference is tested.

    Attributes:
        clusters: ``both`` (the primary analysis, and the default); others exist to show that one kind is not enough.
        alpha: 1 - level of the interval, by default 0.05.
        sidedness: ``greater`` tests for more where treated only; the interval then has no upper end.
    """

    clusters: Clusters
    alpha: float
    sidedness: Sidedness


@dataclass(frozen=True)
class Variances:
    """Cluster-robust variances of one coefficient.

    Attributes:
        participant, class_neuron: by one kind of cluster each; two_way: by both, may be negative.
        participants, class_neurons: numbers of clusters.
    """

    participant: float
    class_neuron: float
    two_way: float
    participants: int
    class_neurons: int

    def chosen(self, clusters: Clusters) -> tuple[float, int, str]:
        """Return variance, degrees of freedom and the variance's name for this choice of clusters."""
        named = {"two-way": self.two_way, "participant": self.participant, "class_neuron": self.class_neuron}
        counts = {"participant": self.participants, "class_neuron": self.class_neurons}
        if clusters != "both":
            return named[clusters], counts[clusters] - 1, clusters
        largest = max(named.values())
        name = next(name for name in named if np.isclose(named[name], largest, rtol=1e-9, atol=ZERO**2))
        return largest, min(counts.values()) - 1, name


def cluster_variances(
    fit: LikelihoodModelResults, participant: np.ndarray, class_neuron: np.ndarray, *, parameters: int | None = None
) -> Variances:
    """Return the variances of a fit's last coefficient.

    Args:
        participant, class_neuron: ``(n,)`` labels of any kind, two or more each.
        parameters: coefficients of the model where the fit has only what others have left over, for the small-sample
            factor.
    """
    from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

    groups = np.column_stack([pd.factorize(labels)[0] for labels in (participant, class_neuron)])
    n, own = fit.model.exog.shape
    factor = 1.0 if parameters is None else (n - own) / (n - parameters)
    both, people, items = (float(factor * covariance[-1, -1]) for covariance in cov_cluster_2groups(fit, groups))
    return Variances(people, items, both, *(int(count) + 1 for count in groups.max(0)))


def risk_difference(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, **test: Unpack[Test]
) -> Estimate:
    """Return the mean outcome where ``treated`` minus the mean elsewhere, with a cluster-robust interval.

    Args:
        outcome: ``(n,)`` 0 to 1 (or any number); NaN is missing and left out.
        treated: ``(n,)``, true for SPADE, false for dense.
        participant, class_neuron: ``(n,)`` labels.
        test: see :class:`Test`.

    Raises:
        ConfigError: a condition is empty, or there are fewer than two participants or class neurons.
    """
    from statsmodels.regression.linear_model import OLS

    y, d, people, items = _complete(outcome, treated, participant, class_neuron)
    found = cluster_variances(OLS(y, np.column_stack([np.ones(len(y)), d])).fit(), people, items)
    value = float(y[d].mean() - y[~d].mean())  # the fit's is off in its last digits, and equal means must give 0
    return interval(value, found, len(y), **test)


def odds_ratio(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike, **test: Unpack[Test]
) -> Found:
    """Return the marginal odds ratio of a logit on the condition, with the primary clusters, and a note on it.

    Marginal: it compares the odds of all answers under one condition with those under the other; the odds ratio of one
    person and one class neuron would lie further from 1. Only a note where a condition has only 0 or only 1.

    Args:
        outcome: ``(n,)`` 0 or 1, NaN is missing; the other arguments as in :func:`risk_difference`.

    Raises:
        ConfigError: as :func:`risk_difference`.
    """
    from statsmodels.discrete.discrete_model import Logit

    y, d, people, items = _complete(outcome, treated, participant, class_neuron)
    if {y[d].mean(), y[~d].mean()} & {0, 1}:
        why = "One condition has only equal answers, so the odds ratio is not defined; read the risk difference."
        return Note(note=why)
    fit = Logit(y, np.column_stack([np.ones(len(y)), d])).fit(disp=0)
    found = interval(float(fit.params[1]), cluster_variances(fit, people, items), len(y), **test)
    ratios = {
        name: float(np.exp(value))
        for name in ("estimate", "low", "high")
        if (value := getattr(found, name)) is not None
    }
    note = "Marginal odds ratio: over all people and class neurons, not within one of them."
    return found.model_copy(update={**ratios, "note": note})


def interval(value: float, variances: Variances, n: int, **test: Unpack[Test]) -> Estimate:
    """Return the estimate of a coefficient from its value and its cluster-robust variances."""
    variance, df, name = variances.chosen(test.get("clusters", "both"))
    alpha, one_sided = test.get("alpha", 0.05), test.get("sidedness") == "greater"
    people, items = variances.participants, variances.class_neurons
    se = float(np.sqrt(variance))
    low, high, p, warning = None, None, None, None
    counts = ((people, "participants"), (items, "class neurons"))
    if se < ZERO:
        se, warning = 0.0, "All answers within a condition are the same, so that no error can be estimated."
    else:
        if few := [f"{count} {name}" for count, name in counts if count < FEW_CLUSTERS]:
            only = f"Only {' and '.join(few)}"
            warning = f"{only}: with fewer than {FEW_CLUSTERS} clusters the interval may be too narrow."
        margin = se * float(stdtrit(df, 1 - alpha if one_sided else 1 - alpha / 2))
        p = float(stdtr(df, -value / se) if one_sided else 2 * stdtr(df, -abs(value / se)))
        low, high = value - margin, None if one_sided else value + margin
    return Estimate(
        estimate=value,
        se=se,
        low=low,
        high=high,
        p=p,
        df=df,
        participants=people,
        class_neurons=items,
        n=n,
        variance=name,
        warning=warning,
    )


def _complete(
    outcome: ArrayLike, treated: ArrayLike, participant: ArrayLike, class_neuron: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the four columns without missing outcomes, or say what is missing."""
    y, d = np.asarray(outcome, dtype=float), np.asarray(treated, dtype=bool)
    known = ~np.isnan(y)
    y, d, people, items = y[known], d[known], np.asarray(participant)[known], np.asarray(class_neuron)[known]
    if not len(y):
        raise ConfigError("There are no answers yet; collect some first.")
    if d.all() or not d.any():
        raise ConfigError("One of the two conditions has no answers; collect both before comparing them.")
    for labels, name in ((people, "participants"), (items, "class neurons")):
        if (labels == labels[0]).all():
            raise ConfigError(f"At least two {name} are needed to estimate an error; collect more answers.")
    if len(y) < 3:
        raise ConfigError("At least three answers are needed to estimate an error; collect more answers.")
    return y, d, people, items
