"""Methods that follow the gradient through the network as it is."""

from __future__ import annotations

from functools import partial

import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from spade_core.saliency.base import Task, counted, note_gap, with_batches


def saliency(task: Task) -> Tensor:
    """Return |d logit / d x|, the largest over the channels."""
    counted(task.module, 1, task.progress, task.title)
    return Saliency(task.module).attribute(task.x, target=task.target, abs=True).amax(1, keepdim=True)


def smoothgrad(task: Task) -> Tensor:
    """Return the mean of :func:`saliency` at noisy copies of the picture (Smilkov et al. 2017).

    Unlike theirs the mean is of magnitudes. The noise's standard deviation is a share of the picture's range in
    normalised space; copies are drawn in chunks of the batch size.
    """
    samples, x = int(task.options["samples"]), task.x.detach()
    counted(task.module, -(-samples // task.batch_size), task.progress, task.title)
    gradient, spread = Saliency(task.module), task.options["noise"] * (x.max() - x.min())

    def compute(batch_size: int) -> Tensor:
        total = torch.zeros_like(x[:, :1])
        for start in range(0, samples, batch_size):
            copies = x.expand(min(batch_size, samples - start), -1, -1, -1)
            drawn = torch.randn(copies.shape, dtype=x.dtype, device=x.device)
            noisy = (copies + spread * drawn).requires_grad_()
            part = gradient.attribute(noisy, target=task.target, abs=True).detach()
            total += part.amax(1, keepdim=True).sum(0, keepdim=True) / samples
        return total

    return with_batches(task, compute)


def input_x_gradient(task: Task) -> Tensor:
    """Return x * d logit / d x, in normalised space."""
    counted(task.module, 1, task.progress, task.title)
    return InputXGradient(task.module).attribute(task.x, target=task.target)


def integrated_gradients(task: Task) -> Tensor:
    """Return the mean gradient on the way from the mean-grey picture (zero in normalised space), times the input.

    The integral is Gauss-Legendre quadrature.
    """
    steps = int(task.options["steps"])
    counted(task.module, -(-steps // task.batch_size) + 1, task.progress, task.title)
    attribute = partial(IntegratedGradients(task.module).attribute, task.x, target=task.target, n_steps=steps)
    attribution = with_batches(task, lambda size: attribute(internal_batch_size=size, method="gausslegendre"))
    note_gap(task, attribution, "more steps come closer")
    return attribution


def gradient_shap(task: Task) -> Tensor:
    """Return the mean gradient at random points between noisy copies of the picture and the mean-grey picture.

    It is taken in chunks of the batch size, on which the draws therefore depend.
    """
    samples, noise = int(task.options["samples"]), task.options["noise"]
    counted(task.module, -(-samples // task.batch_size), task.progress, task.title)
    shap, grey = GradientShap(task.module), torch.zeros_like(task.x)

    def compute(batch_size: int) -> Tensor:
        total = torch.zeros_like(task.x)
        for start in range(0, samples, batch_size):
            count = min(batch_size, samples - start)
            part = shap.attribute(task.x, baselines=grey, target=task.target, n_samples=count, stdevs=noise)
            total += part.detach() * (count / samples)
        return total

    return with_batches(task, compute)
