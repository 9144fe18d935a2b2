"""What a run shows: means over pictures with bootstrap intervals, paired differences, wins, and the error removed.

Every statistic here is a function of means over pictures, so one set of resamples serves all of them, and all that is
compared is compared on the same pictures. Pictures are drawn whole, with all their arms and methods. Resampled means
are one matrix product a batch of draws; ``scipy.stats.bootstrap`` would draw anew for each of thousands of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from spade_core.evaluation.configuration import OUTCOMES, Configuration
from spade_core.saliency.metrics import Interval

RESAMPLES = 10_000
CHUNK = 2**22  # counts drawn at once
DENSE = "dense"


def resampled_means(values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Return means over pictures drawn with replacement, float64 ``(resamples, ...)`` of ``(pictures, ...)``."""
    count, generator = len(values), np.random.default_rng(seed)
    flat, found = values.reshape(count, -1), []
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        drawn = generator.multinomial(count, np.full(count, 1 / count), min(step, resamples - start))
        found.append(drawn @ flat / count)
    return np.concatenate(found).reshape(resamples, *values.shape[1:])


def error_removed(dense: np.ndarray, other: np.ndarray, perfect: float = 100.0) -> np.ndarray:
    """Return by how many percent the error is smaller, the mean over methods; in the aggregate, not picture by picture.

    A method's error is ``perfect`` minus its mean over pictures: 100 (1 - (100 - AUC) / (100 - dense AUC)). Where the
    dense map has no error, nothing can be removed: NaN.

    Args:
        dense, other: means over pictures, ``(..., methods)``; each method counts as much.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * (1 - (perfect - other) / np.where(dense < perfect, perfect - dense, np.nan)).mean(-1)


def _interval(whole: np.ndarray, drawn: np.ndarray, pictures: int) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(whole), float(low), float(high), pictures)


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of a run. Indices of methods are slices, so that ``slice(None)`` is the mean over them.

    Attributes:
        scores: float64 ``(pictures, arms, methods, processing, metrics)``; outcomes: ``(pictures, arms, 3)``, as
            ``OUTCOMES`` names them.
    """

    configuration: Configuration
    scores: np.ndarray
    outcomes: np.ndarray

    @property
    def pictures(self) -> int:
        """How many count."""
        return len(self.scores)

    @cached_property
    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        return self.scores.mean(0), resampled_means(self.scores)

    def interval(self, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
        """Return a statistic with its 95 % percentile interval.

        Args:
            statistic: takes means ``(..., arms, methods, processing, metrics)`` and returns ``(...)``.
        """
        whole, drawn = self._means
        return _interval(statistic(whole), statistic(drawn), self.pictures)

    def kept(self, arm: str) -> Interval:
        """Return on how many percent of the pictures an arm's networks keep the class."""
        values = 100 * self.outcomes[:, self._arm(arm), OUTCOMES.index("kept")]
        return _interval(values.mean(0), resampled_means(values), self.pictures)

    def mean(self, arm: str, methods: slice, processing: int, metric: int) -> Interval:
        """Return an arm's mean."""
        at = self._arm(arm)
        return self.interval(lambda means: means[..., at, methods, processing, metric].mean(-1))

    def difference(self, arm: str, other: str, methods: slice, processing: int, metric: int) -> Interval:
        """Return an arm's mean minus another's, paired."""
        at, than = self._arm(arm), self._arm(other)
        place = methods, processing, metric
        return self.interval(lambda means: (means[..., at, *place] - means[..., than, *place]).mean(-1))

    def removed(self, arm: str, methods: slice, processing: int, metric: int) -> Interval:
        """Return the share of the dense error that an arm removes, percent; of a metric that has a perfect value."""
        return self.interval(lambda means: self._removed(means, arm, methods, processing, metric))

    def removed_more(self, arm: str, other: str, methods: slice, processing: int, metric: int) -> Interval:
        """Return how much more of the dense error an arm removes than another, in points, paired."""
        return self.interval(
            lambda means: (
                self._removed(means, arm, methods, processing, metric)
                - self._removed(means, other, methods, processing, metric)
            )
        )

    def _removed(self, means: np.ndarray, arm: str, methods: slice, processing: int, metric: int) -> np.ndarray:
        dense, own = (means[..., self._arm(one), methods, processing, metric] for one in (DENSE, arm))
        return error_removed(dense, own, self.configuration.metrics[metric].perfect)

    def wins(self, arm: str, other: str, methods: slice, processing: int, metric: int) -> float:
        """Return in how many percent of the pictures an arm does better than another; ties count half."""
        own, its = (self.scores[:, self._arm(one), methods, processing, metric].mean(-1) for one in (arm, other))
        better = np.sign(own - its) * self.configuration.metrics[metric].sign
        return float(50 * (1 + better.mean()))

    def pairs(self) -> list[tuple[str, str]]:
        """Return every two arms but dense, in the order in which they were named: the first minus the second."""
        return list(combinations([arm for arm in self.configuration.arms if arm != DENSE], 2))

    def agreement(self, processing: int) -> np.ndarray:
        """Return how alike the metrics rank the cells of arms and methods: Kendall's tau, ``(metrics, metrics)``.

        It is NaN where there are fewer than three cells, or a metric tells none of them apart.
        """
        from scipy.stats import kendalltau  # here: a worker that starts does not wait for it

        signs = np.array([metric.sign for metric in self.configuration.metrics])
        cells = (self._means[0][:, :, processing] * signs).reshape(-1, len(signs)).T
        if cells.shape[1] < 3:
            return np.full((len(signs), len(signs)), np.nan)
        return np.array([[float(kendalltau(one, other).statistic) for other in cells] for one in cells])

    def _arm(self, slug: str) -> int:
        return self.configuration.arms.index(slug)
