"""The study's statistics as their definitions read: double loops over answers, no closed forms."""

from __future__ import annotations

import itertools
import math


def least_squares(outcome, treated):
    """Difference of means, and each answer's residual."""
    ones = [y for y, d in zip(outcome, treated, strict=True) if d]
    zeros = [y for y, d in zip(outcome, treated, strict=True) if not d]
    mean1, mean0 = sum(ones) / len(ones), sum(zeros) / len(zeros)
    residuals = [y - (mean1 if d else mean0) for y, d in zip(outcome, treated, strict=True)]
    return mean1 - mean0, residuals


def cluster_variance(outcome, treated, cluster):
    """Sandwich variance of the slope: products of the scores of every two answers that share a cluster."""
    _, residuals = least_squares(outcome, treated)
    n, ones = len(outcome), sum(map(bool, treated))
    # (X'X)^-1 of an intercept and a 0/1 column
    determinant = n * ones - ones * ones
    inverse = [[ones / determinant, -ones / determinant], [-ones / determinant, n / determinant]]
    meat = [[0.0, 0.0], [0.0, 0.0]]
    for i in range(n):
        for j in range(n):
            if cluster[i] == cluster[j]:
                x, z = (1.0, float(treated[i])), (1.0, float(treated[j]))
                for a, b in itertools.product(range(2), range(2)):
                    meat[a][b] += x[a] * residuals[i] * residuals[j] * z[b]
    variance = sum(inverse[1][a] * meat[a][b] * inverse[b][1] for a, b in itertools.product(range(2), range(2)))
    groups = len(set(cluster))
    return variance * groups / (groups - 1) * (n - 1) / (n - 2)


def two_way(outcome, treated, participant, class_neuron):
    """Estimate and standard error of the primary analysis."""
    pair = list(zip(participant, class_neuron, strict=True))
    by_person, by_item, by_pair = (cluster_variance(outcome, treated, c) for c in (participant, class_neuron, pair))
    return least_squares(outcome, treated)[0], math.sqrt(max(by_person, by_item, by_person + by_item - by_pair))


def holm(p_values):
    """Adjusted p values: the smallest level at which Holm's step-down procedure rejects each hypothesis."""
    ordered = sorted(p_values)
    found = []
    for p in p_values:
        place = ordered.index(p)
        found.append(min(1.0, max((len(ordered) - k) * ordered[k] for k in range(place + 1))))
    return found


def nominal_alpha(units):
    """Krippendorff's nominal alpha from lists of the values that each unit received."""
    units = [values for values in units if len(values) > 1]
    everything = [value for values in units for value in values]
    n = len(everything)
    observed = sum(sum(a != b for a, b in itertools.permutations(values, 2)) / (len(values) - 1) for values in units)
    expected = sum(a != b for a, b in itertools.permutations(everything, 2)) / (n - 1)
    return 1 - observed / expected
