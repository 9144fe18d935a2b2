"""How good a saliency map is against a known trigger.

Where a trigger caused the prediction, its mask is the right answer: the *Trojan AUC* is the area under the ROC curve of
the pixels' values against the mask (SPADE, section 4.1), the *Pointing Game* asks whether the highest value lies on
it (Zhang et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTING_RADIUS = 15  # px, as in the authors' code of the Pointing Game


def trojan_auc(saliency: np.ndarray, mask: np.ndarray) -> float:
    """Return the area under the ROC curve of the pixels' values as scores for lying in ``mask``, in percent.

    It is the probability that a random pixel of the mask has a higher value than a random other one, ties counting
    half.

    Args:
        saliency: ``(height, width)``, taken as it is; of signed maps give the magnitude, unless evidence against the
            class shall rank last.
        mask: bool, the same shape.

    Raises:
        ValueError: shapes differ, or the mask is empty or everything.
    """
    _check_mask(saliency, mask)
    from scipy.stats import rankdata  # here: a worker that starts does not wait for it

    inside = int(mask.sum())
    if inside in (0, mask.size):
        raise ValueError("the mask must hold some pixels and leave some out")
    ranks = rankdata(saliency.ravel())[mask.ravel()]
    return float(100 * (ranks.sum() - inside * (inside + 1) / 2) / (inside * (mask.size - inside)))


def pointing_game(saliency: np.ndarray, mask: np.ndarray, *, radius: float = POINTING_RADIUS) -> bool:
    """Return whether the highest value lies on ``mask`` or less than ``radius`` px away from it.

    Args:
        saliency: ``(height, width)``; of equal highest values the first in reading order counts.
        mask: bool, the same shape, not empty.
        radius: tolerance, px at the map's size; 0 or below 1: on the mask itself.
    """
    _check_mask(saliency, mask)
    row, column = np.unravel_index(np.argmax(saliency), saliency.shape)
    rows, columns = np.nonzero(mask)
    distance = float(np.hypot(rows - row, columns - column).min(initial=np.inf))
    return distance == 0 or distance < radius


def _check_mask(saliency: np.ndarray, mask: np.ndarray) -> None:
    if saliency.shape != mask.shape or mask.dtype != bool:
        raise ValueError(f"the mask must be bool of shape {saliency.shape}, not {mask.dtype} of {mask.shape}")


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over ``n`` pictures."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap_interval(values: np.ndarray, *, seed: int = 0, resamples: int = 10_000) -> Interval:
    """Return the mean of ``values`` ``(n,)`` with its percentile bootstrap 95 % interval over pictures."""
    values = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (resamples, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), len(values))
