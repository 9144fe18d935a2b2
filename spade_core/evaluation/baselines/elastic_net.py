"""The multinomial elastic net along a path of penalties: sparse linear classifiers, from none of the features to many.

Minimised is the mean cross entropy between given class probabilities and the classifier's, plus
``penalty * (alpha |W|_1 + (1 - alpha) / 2 |W|_2^2)``; the bias is free (Zou & Hastie 2005; Wong et al.
2021, section 2).

Steps are accelerated proximal gradients on all samples (FISTA, Beck & Teboulle 2009) that restart where they overshoot
(O'Donoghue & Candes 2015). Wong et al. take GLM-SAGA, which draws batches: the features of a folder fit into memory, so
nothing needs to be drawn here. The optimum is the same, as the problem is strictly convex in ``W``. scikit-learn's
solvers take no probabilities and no start from the penalty before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from spade_core.progress import Progress, silent

ALPHA = 0.99  # as the authors'
STEPS = 300  # at most, of each penalty
TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier: ``weight`` ``(classes, features)`` and ``bias`` ``(classes,)``."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of features ``(n, features)``."""
        return x @ self.weight.T + self.bias


def path(
    x: Tensor,
    wanted: Tensor,
    *,
    count: int,
    smallest: float,
    alpha: float = ALPHA,
    tolerance: float = TOLERANCE,
    progress: Progress = silent,
) -> Iterator[Linear]:
    """Yield a classifier for each penalty, from one that leaves all weights zero downwards, each begun at the last.

    Args:
        x: features ``(n, features)``, float; wanted: probabilities ``(n, classes)``, of its dtype.
        count: number of penalties, at least 2; their logarithms are evenly spaced.
        smallest: the last penalty, as a fraction of the first.
        alpha: share of the absolute values in the penalty, above 0, to 1.
        tolerance: a penalty is done when no slope is left above this fraction of it.
        progress: called with (done, 1, note); may raise ``Cancelled``.
    """
    found = Linear(x.new_zeros(wanted.shape[1], x.shape[1]), wanted.mean(0).clamp_min(torch.finfo(x.dtype).tiny).log())
    first = float(_slope(found, x, wanted).weight.abs().max()) / alpha
    for index in range(count):
        progress(index, count, "fitting a sparse last layer")
        found = fit(x, wanted, first * smallest ** (index / (count - 1)), found, alpha=alpha, tolerance=tolerance)
        yield found


def fit(
    x: Tensor, wanted: Tensor, penalty: float, start: Linear, *, alpha: float = ALPHA, tolerance: float = TOLERANCE
) -> Linear:
    """Return the minimum for one penalty; see :func:`path`."""
    step = 2 * len(x) / _largest(x)  # the cross entropy bends at most by half of the inputs' energy
    found = ahead = start
    pace = 1.0
    for _ in range(STEPS):
        after = _stepped(ahead, _slope(ahead, x, wanted), step, penalty, alpha)
        gap, moved = _minus(ahead, after), _minus(after, found)
        if float(_dot(gap, moved)) > 0:
            pace = 1.0  # it runs uphill: the momentum is given up
        faster = (1 + (1 + 4 * pace * pace) ** 0.5) / 2
        share, pace = (pace - 1) / faster, faster
        ahead = Linear(after.weight + share * moved.weight, after.bias + share * moved.bias)
        found = after
        if _most(gap) <= tolerance * penalty * step:
            break
    return found


def _stepped(at: Linear, slope: Linear, step: float, penalty: float, alpha: float) -> Linear:
    """Return the proximal step: down the slope, then towards zero."""
    weight = at.weight - step * slope.weight
    shrunk = (weight.abs() - step * penalty * alpha).clamp_min(0) * weight.sign()
    return Linear(shrunk / (1 + step * penalty * (1 - alpha)), at.bias - step * slope.bias)


def _slope(at: Linear, x: Tensor, wanted: Tensor) -> Linear:
    """Return the gradient of the mean cross entropy."""
    gap = (at(x).softmax(1) - wanted) / len(x)
    return Linear(gap.T @ x, gap.sum(0))


def _largest(x: Tensor) -> float:
    """Return the largest eigenvalue of ``x^T x`` where a column of ones stands beside ``x``."""
    wide = torch.cat([x, x.new_ones(len(x), 1)], 1)
    gram = wide @ wide.T if len(wide) <= wide.shape[1] else wide.T @ wide
    return float(torch.linalg.eigvalsh(gram)[-1])


def _minus(one: Linear, other: Linear) -> Linear:
    return Linear(one.weight - other.weight, one.bias - other.bias)


def _dot(one: Linear, other: Linear) -> Tensor:
    return (one.weight * other.weight).sum() + (one.bias * other.bias).sum()


def _most(one: Linear) -> float:
    return max(float(one.weight.abs().max()), float(one.bias.abs().max()))
