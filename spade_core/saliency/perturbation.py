"""Methods that change the picture and watch the logit; they need no gradients."""

from __future__ import annotations

import math
from functools import partial

import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime, Occlusion
from skimage.segmentation import slic
from torch import Tensor

from spade_core.saliency.base import Task, baseline, counted, with_batches


def occlusion(task: Task) -> Tensor:
    """Return what the logit loses when a square of the baseline covers a place.

    A pixel gets the mean over the squares that cover it; their side and stride are shares of the input's short side.
    """
    sides = task.x.shape[-2:]
    window, stride = (max(1, round(min(sides) * task.options[name])) for name in ("window", "stride"))
    stride = min(stride, window)
    evaluations = math.prod(-(-(side - window) // stride) + 1 for side in sides)
    counted(task.module, evaluations // task.batch_size + 1, task.progress, task.title)
    channels = task.x.shape[1]
    squares = {"sliding_window_shapes": (channels, window, window), "strides": (channels, stride, stride)}
    cover = Occlusion(task.module).attribute
    attribute = partial(cover, task.x, target=task.target, baselines=baseline(task), **squares)
    with torch.no_grad():
        return with_batches(task, lambda size: attribute(perturbations_per_eval=size))


def lime(task: Task) -> Tensor:
    """Return each pixel's superpixel coefficient in a ridge regression of the logit on which ones are visible."""
    samples, segments = int(task.options["samples"]), int(task.options["segments"])
    regions = slic(task.pixels, n_segments=segments, compactness=10, start_label=0)
    mask = torch.from_numpy(regions).long().to(task.x.device).expand(1, 1, -1, -1)
    counted(task.module, samples // task.batch_size + 1, task.progress, task.title)
    options = {"target": task.target, "baselines": baseline(task), "feature_mask": mask, "n_samples": samples}
    model = Lime(task.module, interpretable_model=SkLearnRidge(alpha=task.options["ridge"]))
    with torch.no_grad():
        return with_batches(task, lambda size: model.attribute(task.x, perturbations_per_eval=size, **options))
