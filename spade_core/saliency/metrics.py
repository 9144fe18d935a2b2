"""How good a saliency map is: against a known trigger (Trojan AUC, Pointing Game), and against the dense model.

Where a trigger caused the prediction, its mask is the right answer: the *Trojan AUC* is the area under the ROC curve of
the pixels' values against the mask (SPADE, section 4.1), the *Pointing Game* asks whether the highest value lies on
it (Zhang et al. 2016). Without a right answer there are *insertion* and *deletion* (RISE, Petsiuk et al. 2018):
the pixels are changed in order of their saliency, and the softmax probability of the explained class is followed.
Deletion goes from the picture to mean grey (zero in normalised space), insertion from a blurred copy to the picture. A
score is the area under the curve, in percent. Both are read on the *dense* model, whatever network the map came from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tvf

from spade_core.isolation import full_precision
from spade_core.progress import Progress, silent

STEPS = 28  # RISE changes 224 * 8 pixels at a time
BLUR_KERNEL, BLUR_SIGMA = 11, 5.0
BATCH = 32
POINTING_RADIUS = 15  # px, as in the authors' code of the Pointing Game


@dataclass(frozen=True)
class PerturbationCurves:
    """Probabilities of the target after 0, 1, ... steps, float64 ``(steps + 1,)`` each."""

    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, percent; higher is better."""
        return _area(self.insertion)

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve, percent; lower is better."""
        return _area(self.deletion)


def _area(curve: np.ndarray) -> float:
    return float(100 * np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def insertion_deletion(
    module: nn.Module, x: Tensor, saliency: np.ndarray, target: int, *, steps: int = STEPS, progress: Progress = silent
) -> PerturbationCurves:
    """Follow the target's probability while pixels are inserted and deleted by saliency.

    Args:
        module: the dense model, eval mode.
        x: the normalised picture, ``(1, 3, height, width)``.
        saliency: ``(height, width)``; the highest values go first, ties in reading order.
        target: class index.
        steps: number of equal portions of the pixels.
    """
    height, width = x.shape[-2:]
    order = torch.from_numpy(np.argsort(-saliency.reshape(-1), kind="stable").copy()).to(x.device)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=x.device))
    portions = torch.linspace(0, order.numel(), steps + 1, device=x.device).round()
    chosen = (rank.view(1, 1, height, width) < portions.view(-1, 1, 1, 1)).to(x.dtype)  # (steps + 1, 1, h, w)
    blurred = tvf.gaussian_blur(x, [BLUR_KERNEL, BLUR_KERNEL], [BLUR_SIGMA, BLUR_SIGMA])
    insertion = _probabilities(module, blurred, x, chosen, target, lambda d, t, n: progress(d, 2 * t, n))
    deletion = _probabilities(module, x, torch.zeros_like(x), chosen, target, lambda d, t, n: progress(t + d, 2 * t, n))
    return PerturbationCurves(insertion, deletion)


@full_precision()
def _probabilities(
    module: nn.Module, start: Tensor, stop: Tensor, chosen: Tensor, target: int, progress: Progress
) -> np.ndarray:
    found = []
    with torch.no_grad():
        for index, part in enumerate(chosen.split(BATCH)):
            progress(index * BATCH, len(chosen), "perturbing pixels")
            mixed = (start + (stop - start) * part).contiguous(memory_format=torch.channels_last)
            found.append(F.softmax(module(mixed).double(), 1)[:, target].cpu())
    return torch.cat(found).numpy()


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
