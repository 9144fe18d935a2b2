"""How good a map is, where the right answer is known and where it is not.

With a trigger that caused the prediction, its mask is the right answer: Trojan AUC and Pointing Game are those of
``saliency.metrics``; the *energy* is the share of the map that lies on the mask (Wang et al. 2020, section 4.3).
Without a right answer, *insertion* and *deletion* change the pixels in order of their saliency and follow the
probability of the explained class (RISE, Petsiuk et al. 2018): deletion goes from the picture to mean grey (zero in
normalised space), insertion from a blurred copy to the picture. Both are read on the *dense* model, whatever network
the map came from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tvf

from spade_core.isolation import full_precision
from spade_core.models.output import log_probabilities
from spade_core.progress import Progress, silent, span

STEPS = 28  # RISE changes 224 * 8 pixels at a time
BLUR_KERNEL, BLUR_SIGMA = 11, 5.0
BATCH = 32


def energy_in_mask(saliency: np.ndarray, mask: np.ndarray) -> float:
    """Return which share of the sum of ``saliency`` lies on ``mask``, in percent; of a map of zeros the mask's own.

    Args:
        saliency: ``(height, width)``, at least 0.
        mask: bool, the same shape.
    """
    total = float(saliency.sum(dtype=np.float64))
    return 100 * (float(saliency[mask].sum(dtype=np.float64)) / total if total else float(mask.mean()))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's correlation of two maps' values; 0 where one is constant, and so says nothing."""
    from scipy.stats import rankdata  # here: a worker that starts does not wait for it

    ranks = [rankdata(values.ravel()) for values in (first, second)]
    centred = [one - one.mean() for one in ranks]
    norm = float(np.sqrt(np.prod([np.square(one).sum() for one in centred])))
    return float(centred[0] @ centred[1]) / norm if norm else 0.0


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
    module: nn.Module,
    x: Tensor,
    saliency: np.ndarray,
    target: int,
    *,
    output: str = "logits",
    steps: int = STEPS,
    progress: Progress = silent,
) -> PerturbationCurves:
    """Follow the target's probability while pixels are inserted and deleted by saliency.

    Args:
        module: the dense model, eval mode.
        x: the normalised picture, ``(1, 3, height, width)``.
        saliency: ``(height, width)``; the highest values go first, ties in reading order.
        target: class index.
        output: what the logits mean, a key of ``OUTPUTS``.
        steps: number of equal portions of the pixels.
    """

    def follow(start: Tensor, stop: Tensor, share: float) -> np.ndarray:
        return _probabilities(module, start, stop, chosen, target, output, span(progress, share, share + 0.5))

    height, width = x.shape[-2:]
    order = torch.from_numpy(np.argsort(-saliency.reshape(-1), kind="stable").copy()).to(x.device)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=x.device))
    portions = torch.linspace(0, order.numel(), steps + 1, device=x.device).round()
    chosen = (rank.view(1, 1, height, width) < portions.view(-1, 1, 1, 1)).to(x.dtype)  # (steps + 1, 1, h, w)
    blurred = tvf.gaussian_blur(x, [BLUR_KERNEL, BLUR_KERNEL], [BLUR_SIGMA, BLUR_SIGMA])
    insertion, deletion = follow(blurred, x, 0.0), follow(x, torch.zeros_like(x), 0.5)
    return PerturbationCurves(insertion, deletion)


@full_precision()
def _probabilities(
    module: nn.Module, start: Tensor, stop: Tensor, chosen: Tensor, target: int, output: str, progress: Progress
) -> np.ndarray:
    found = []
    with torch.no_grad():
        for index, part in enumerate(chosen.split(BATCH)):
            progress(index * BATCH, len(chosen), "perturbing pixels")
            mixed = (start + (stop - start) * part).contiguous(memory_format=torch.channels_last)
            found.append(log_probabilities(module(mixed).double(), output)[:, target].exp().cpu())
    return torch.cat(found).numpy()
