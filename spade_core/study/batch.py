"""The primary estimator over many studies with one plan at once, for simulations.

The same numbers as :func:`spade_core.study.analysis.estimators.risk_difference` gives one study after the other (a test
compares them), some hundred times faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import stdtr, stdtrit

from spade_core.study.analysis.estimators import ZERO, Clusters, Sidedness
from spade_core.study.power.simulated import Handout


@dataclass(frozen=True)
class Batch:
    """Estimates of many studies, ``(studies,)`` each; NaN where there is no error, ``high`` inf if one-sided."""

    estimate: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def risk_differences(
    outcome: np.ndarray, handout: Handout, *,
    clusters: Clusters = "both", alpha: float = 0.05, sidedness: Sidedness = "two-sided",
) -> Batch:  # fmt: skip
    """Return the difference SPADE - dense of every study.

    Args:
        outcome: ``(studies, n)``, none missing; handout: the plan of all of them.
        clusters, alpha, sidedness: as in :func:`spade_core.study.analysis.estimators.risk_difference`.
    """
    d = handout.spade
    mean1, mean0 = (outcome[:, side].mean(1, keepdims=True) for side in (d, ~d))
    influence = np.where(d, (outcome - mean1) / d.sum(), (mean0 - outcome) / (~d).sum())
    people, people_count = _summed(influence, handout.participant)
    items, items_count = _summed(influence, handout.class_neuron)
    both, _ = _summed(influence, np.arange(d.size))  # nobody meets a class neuron twice: each answer is its own pair
    variance, df = {
        "participant": (people, people_count - 1),
        "class_neuron": (items, items_count - 1),
        "both": (np.maximum(np.maximum(people, items), people + items - both), min(people_count, items_count) - 1),
    }[clusters]
    return from_standard_errors((mean1 - mean0)[:, 0], np.sqrt(variance), df, alpha=alpha, sidedness=sidedness)


def from_standard_errors(
    estimate: np.ndarray, se: np.ndarray, df: int, *, alpha: float, sidedness: Sidedness
) -> Batch:  # fmt: skip
    """Return intervals and p values by t with ``df`` degrees of freedom."""
    se = np.where(se < ZERO, np.nan, se)
    one_sided = sidedness == "greater"
    margin = se * stdtrit(df, 1 - alpha if one_sided else 1 - alpha / 2)
    t = estimate / se
    p = stdtr(df, -t) if one_sided else 2 * stdtr(df, -abs(t))
    high = np.where(np.isnan(se), np.nan, np.inf) if one_sided else estimate + margin
    return Batch(estimate, se, estimate - margin, high, p)


def _summed(influence: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the cluster-robust variance of each study by one kind of cluster, and how many clusters there are."""
    names, codes = np.unique(label, return_inverse=True)
    n, groups = len(codes), len(names)
    sums = influence
    if groups < n:
        member = csr_array((np.ones(n), (codes, np.arange(n))), shape=(groups, n))
        sums = (member @ influence.T).T
    factor = groups / (groups - 1) * (n - 1) / (n - 2)
    return factor * (sums * sums).sum(1), groups
