"""How faithful a saliency map is to the dense model: insertion and deletion (RISE, Petsiuk et al. 2018).

Without a right answer, the pixels are changed in order of their saliency, and the softmax probability of the explained
class is followed. Deletion goes from the picture to mean grey (zero in normalised space), insertion from a blurred copy
to the picture. A score is the area under the curve, in percent. Both are read on the *dense* model, whatever network
the map came from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tvf

from spade_core.isolation import full_precision
from spade_core.progress import Progress, silent

STEPS = 28  # RISE changes 224 * 8 pixels at a time
BLUR_KERNEL, BLUR_SIGMA = 11, 5.0
BATCH = 32


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
