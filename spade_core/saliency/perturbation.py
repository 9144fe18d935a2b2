"""Methods that change the picture and watch the logit; they need no gradients."""

from __future__ import annotations

from typing import ClassVar

import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime
from captum.attr import Occlusion as CaptumOcclusion
from skimage.segmentation import slic
from torch import Tensor

from spade_core.saliency.base import Method, Task, counted, with_batches


class Occlusion(Method):
    """What the logit loses when a grey square covers a place."""

    slug, title, cost = "occlusion", "Occlusion", "slow"
    help = "What the logit loses when a grey square covers a place (Zeiler & Fergus 2014)."
    options: ClassVar = {"window": 1 / 7, "stride": 1 / 14}  # shares of the side: 32 and 16 of 224 px
    most: ClassVar = {"window": 1.0, "stride": 1.0}

    def attribute(self, task: Task) -> Tensor:
        """Return the mean loss over the squares that cover each pixel."""
        side = task.x.shape[-1]
        window, stride = (max(1, round(side * task.options[name])) for name in ("window", "stride"))
        stride = min(stride, window)
        evaluations = (-(-(side - window) // stride) + 1) ** 2
        counted(task.module, evaluations // task.batch_size + 1, task.progress, self.title)

        def compute(batch_size: int) -> Tensor:
            with torch.no_grad():
                square, strides = (3, window, window), (3, stride, stride)
                return CaptumOcclusion(task.module).attribute(
                    task.x, square, strides, baselines=0, target=task.target, perturbations_per_eval=batch_size
                )

        return with_batches(task, compute)


class LimeMap(Method):
    """A ridge regression of the logit on which superpixels are visible."""

    slug, title, cost = "lime", "LIME", "slow"
    help = "A linear model of which superpixels matter, fitted to random coverings (Ribeiro et al. 2016)."
    options: ClassVar = {"samples": 400, "segments": 60, "ridge": 1.0}
    most: ClassVar = {"samples": 100_000, "segments": 10_000, "ridge": 1e6}

    def attribute(self, task: Task) -> Tensor:
        """Return each pixel's superpixel coefficient."""
        samples = task.options["samples"]
        regions = slic(task.pixels, n_segments=task.options["segments"], compactness=10, start_label=0)
        mask = torch.from_numpy(regions).long().to(task.x.device).expand(1, 1, -1, -1)
        counted(task.module, samples // task.batch_size + 1, task.progress, self.title)

        def compute(batch_size: int) -> Tensor:
            given = {"baselines": 0, "target": task.target, "feature_mask": mask, "n_samples": samples}
            with torch.no_grad():
                lime = Lime(task.module, interpretable_model=SkLearnRidge(alpha=task.options["ridge"]))
                return lime.attribute(task.x, **given, perturbations_per_eval=batch_size)

        return with_batches(task, compute)
