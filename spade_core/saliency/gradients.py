"""Methods that follow the gradient through the network as it is."""

from __future__ import annotations

from functools import partial

import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from spade_core.saliency.base import Completeness, Task, baseline, counted, with_batches


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
    """Return the mean gradient on the way from the baseline to the picture, times their difference.

    The integral is Gauss-Legendre quadrature. Its number of steps is doubled, up to ``most_steps``, until the map adds
    up to the logit's difference within 5 % (Sundararajan et al. 2017, section 5).
    """
    start, steps, most = baseline(task), task.options["steps"], task.options["most_steps"]
    complete, done = Completeness(task, start), 0.0
    while True:
        attribution = _integrated(task.fork(done, (1 + done) / 2), start, steps)
        if complete.holds(attribution) or 2 * steps > most:
            break
        steps, done = 2 * steps, (1 + done) / 2
    task.record["steps_taken"] = steps
    complete.note(attribution, "more steps come closer")
    return attribution


def _integrated(task: Task, start: Tensor, steps: int) -> Tensor:
    counted(task.module, -(-steps // task.batch_size), task.progress, task.title)
    given = start if start.any() else None  # Captum's own zero: a tensor of zeros gives other last bits
    attribute = partial(IntegratedGradients(task.module).attribute, task.x, given, task.target, n_steps=steps)
    return with_batches(task, lambda size: attribute(internal_batch_size=size, method="gausslegendre"))


def gradient_shap(task: Task) -> Tensor:
    """Return the mean gradient at random points between noisy copies of the picture and the baseline.

    It is taken in chunks of the batch size, on which the draws therefore depend.
    """
    samples, noise = int(task.options["samples"]), task.options["noise"]
    counted(task.module, -(-samples // task.batch_size), task.progress, task.title)
    shap, nothing = GradientShap(task.module), baseline(task)

    def compute(batch_size: int) -> Tensor:
        total = torch.zeros_like(task.x)
        for start in range(0, samples, batch_size):
            count = min(batch_size, samples - start)
            part = shap.attribute(task.x, baselines=nothing, target=task.target, n_samples=count, stdevs=noise)
            total += part.detach() * (count / samples)
        return total

    return with_batches(task, compute)
