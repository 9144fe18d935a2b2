"""Methods that follow the gradient through the network as it is."""

from __future__ import annotations

from functools import partial

import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from spade_core.saliency.base import Completeness, Task, baseline, counted, with_batches


def saliency(task: Task) -> Tensor:
    """Return |d logit / d x|, the largest over the channels."""
    counted(task.module, 1, task.progress, task.title)
    return Saliency(task.module).attribute(task.x, target=task.target, abs=True).amax(1, keepdim=True)


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


def forgrad(task: Task) -> Tensor:
    """Return :func:`saliency` without its frequencies above ``cut`` cycles a picture (FORGrad, Muzellec et al. 2024).

    The paper chooses the cut for each architecture by the faithfulness of the maps on 1,280 pictures; 15 is what its
    authors' library takes for ImageNet. What the filter's ringing leaves below zero is cut, as it is no evidence.
    """
    values = saliency(task)
    height, width = values.shape[-2:]
    rows = torch.fft.fftfreq(height, 1 / height, device=values.device)
    columns = torch.fft.rfftfreq(width, 1 / width, device=values.device)
    low = rows[:, None].square() + columns.square() <= task.options["cut"] ** 2
    return torch.fft.irfft2(torch.fft.rfft2(values) * low, s=(height, width)).clamp(min=0)
