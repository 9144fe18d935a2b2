"""Methods that follow the gradient through the network as it is."""

from __future__ import annotations

from typing import ClassVar

import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients
from captum.attr import Saliency as CaptumSaliency
from torch import Tensor

from spade_core.saliency.base import Method, Task, counted, note_gap, with_batches


class Saliency(Method):
    """|d logit / d x|, the largest over the channels."""

    slug, title, cost, signed = "saliency", "Saliency (gradient)", "fast", False
    help = "How strongly each pixel moves the logit: |gradient| (Simonyan et al. 2014)."

    def attribute(self, task: Task) -> Tensor:
        """Return |gradient|."""
        counted(task.module, 1, task.progress, self.title)
        return CaptumSaliency(task.module).attribute(task.x, target=task.target, abs=True)

    def reduce(self, attribution: Tensor) -> Tensor:
        """Return the channel maximum."""
        return attribution.amax(1)[0]


class InputTimesGradient(Method):
    """x * d logit / d x, in normalised space."""

    slug, title, cost = "input_x_gradient", "Input x gradient", "fast"
    help = "Gradient times input: each pixel's share of the linearized logit (Shrikumar et al. 2016)."

    def attribute(self, task: Task) -> Tensor:
        """Return input times gradient."""
        counted(task.module, 1, task.progress, self.title)
        return InputXGradient(task.module).attribute(task.x, target=task.target)


class IntegratedGradientsMap(Method):
    """The gradient averaged on the way from the mean-grey picture (zero in normalised space), times the input."""

    slug, title, cost = "integrated_gradients", "Integrated gradients", "medium"
    help = "Gradients summed on the way from a grey picture to this one (Sundararajan et al. 2017)."
    options: ClassVar = {"steps": 32}
    most: ClassVar = {"steps": 2000}

    def attribute(self, task: Task) -> Tensor:
        """Return integrated gradients by Gauss-Legendre quadrature."""
        steps = task.options["steps"]
        counted(task.module, -(-steps // task.batch_size) + 1, task.progress, self.title)

        def compute(batch_size: int) -> Tensor:
            return IntegratedGradients(task.module).attribute(
                task.x, target=task.target, n_steps=steps, internal_batch_size=batch_size, method="gausslegendre"
            )

        attribution = with_batches(task, compute)
        note_gap(task, attribution, "more steps come closer")
        return attribution


class GradientShapMap(Method):
    """Gradients at random points between noisy copies of the picture and the mean-grey picture."""

    slug, title, cost = "gradient_shap", "Gradient SHAP", "medium"
    help = "Expected gradients at random points between noise and picture (Lundberg & Lee 2017)."
    options: ClassVar = {"samples": 16, "noise": 0.1}
    most: ClassVar = {"samples": 100_000, "noise": 10.0}

    def attribute(self, task: Task) -> Tensor:
        """Return the mean over all samples, in chunks; the draws depend on their size, which is the batch size."""
        samples = task.options["samples"]
        counted(task.module, -(-samples // task.batch_size), task.progress, self.title)

        def compute(batch_size: int) -> Tensor:
            total, grey = torch.zeros_like(task.x), torch.zeros_like(task.x)
            for start in range(0, samples, batch_size):
                count = min(batch_size, samples - start)
                part = GradientShap(task.module).attribute(
                    task.x, grey, n_samples=count, stdevs=task.options["noise"], target=task.target
                )
                total += part.detach() * (count / samples)
            return total

        return with_batches(task, compute)
