"""Methods that average a gradient over what is drawn: noise in the picture or in the weights, or where a way begins."""

from __future__ import annotations

import torch
from captum.attr import GradientShap, Saliency
from torch import Tensor
from torch.func import functional_call

from spade_core.saliency.base import Task, baseline, blur, counted, with_batches

BLURS = (0.02, 0.25)  # of the side: between these the standard deviation of a blurred reference is drawn


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


def noisegrad(task: Task) -> Tensor:
    """Return the mean of |d logit / d x|, largest over the channels, over noisy copies of the network (NoiseGrad).

    Every parameter is multiplied by noise of mean 1 and standard deviation ``noise`` (Bykov et al. 2022). The copies
    exist for one pass each; dense model and trace meet the same noise at the same seed. The noise should cost the
    network about 5 % of its accuracy, by their rule: in a deep network that is much less than the 0.2 of their library.
    """
    samples, noise = task.options["samples"], task.options["noise"]
    counted(task.module, samples, task.progress, task.title)
    weights = {name: weight.detach() for name, weight in task.module.named_parameters()}
    total = torch.zeros_like(task.x[:, :1])
    for _ in range(samples):
        noisy = {name: weight * (1 + noise * torch.randn_like(weight)) for name, weight in weights.items()}
        logit = functional_call(task.module, noisy, (task.x,))[0, task.target]
        (gradient,) = torch.autograd.grad(logit, task.x)
        total += gradient.abs().amax(1, keepdim=True) / samples
    return total


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


def expected_gradients(task: Task) -> Tensor:
    """Return the mean of (x - x') df/dx at a random point between x and a random reference x' (Erion et al. 2021).

    Theirs are pictures of the training set. Here no folder is asked for: a reference is the picture itself under a blur
    of random width (``blurred``), or noise, each value between the darkest and the brightest (``uniform``).
    """
    samples, x = task.options["samples"], task.x.detach()
    draw = {"blurred": _blurred, "uniform": _uniform}[task.options["references"]]
    counted(task.module, -(-samples // task.batch_size), task.progress, task.title)

    def compute(batch_size: int) -> Tensor:
        total = torch.zeros_like(x)
        for done in range(0, samples, batch_size):
            ways = [(draw(task, x), torch.rand(1)) for _ in range(min(batch_size, samples - done))]
            away = x - torch.cat([start for start, _ in ways])
            share = torch.stack([share for _, share in ways]).view(-1, 1, 1, 1).to(x)
            points = (x - share * away).requires_grad_()
            (gradient,) = torch.autograd.grad(task.module(points)[:, task.target].sum(), points)
            total += (away * gradient).sum(0, keepdim=True) / samples
        return total

    return with_batches(task, compute)


def _blurred(_task: Task, x: Tensor) -> Tensor:
    low, high = BLURS
    return blur(x, low + (high - low) * float(torch.rand(())))


def _uniform(task: Task, x: Tensor) -> Tensor:
    values = torch.rand(x.shape, dtype=x.dtype).to(x)
    return task.dense.preprocessing.normalize(values)
