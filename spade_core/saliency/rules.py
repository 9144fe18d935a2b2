"""Methods that replace the gradient of ReLU by a rule of their own."""

from __future__ import annotations

import torch
from captum.attr import DeepLift, GuidedBackprop
from torch import Tensor

from spade_core.models import LoadedModel
from spade_core.saliency.base import Method, Task, clip_relus, counted, quiet, relu_only

__all__ = ["DeepLiftMap", "GuidedBackpropMap"]


class DeepLiftMap(Method):
    """DeepLift with the rescale rule against the mean-grey picture."""

    slug, title, cost, architectures = "deeplift", "DeepLift", "fast", "ReLU and ReLU6 networks"
    help = "Differences from a grey picture, shared out activation by activation (Shrikumar et al. 2017)."
    # Captum divides by input differences; below this one the quotient is rounding noise and the gradient is taken.
    EPSILON = 1e-6

    def unsupported(self, model: LoadedModel) -> str | None:
        """Return a reason for networks with other activations than separate ReLU and ReLU6 modules."""
        return relu_only(model, self.title)

    def attribute(self, task: Task) -> Tensor:
        """Return (x - baseline) times multiplier."""
        counted(task.module, 1, task.progress, self.title)
        clip_relus(task.module)
        with quiet():
            lift = DeepLift(task.module, eps=self.EPSILON)
            return lift.attribute(task.x, baselines=torch.zeros_like(task.x), target=task.target)


class GuidedBackpropMap(Method):
    """The gradient, with negative gradients stopped at every ReLU."""

    slug, title, cost, architectures = "guided_backprop", "Guided backprop", "fast", "ReLU and ReLU6 networks"
    help = "Gradient with negative parts cut at every ReLU (Springenberg et al. 2015)."

    def unsupported(self, model: LoadedModel) -> str | None:
        """Return a reason for networks with other activations than separate ReLU and ReLU6 modules."""
        return relu_only(model, self.title)

    def attribute(self, task: Task) -> Tensor:
        """Return the guided gradient."""
        counted(task.module, 1, task.progress, self.title)
        clip_relus(task.module)
        with quiet():
            return GuidedBackprop(task.module).attribute(task.x, target=task.target)
