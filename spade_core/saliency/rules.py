"""Methods that replace the gradient of ReLU by a rule of their own."""

from __future__ import annotations

import torch.nn.functional as F
from captum.attr import DeepLift, GuidedBackprop
from torch import Tensor, nn

from spade_core.saliency.base import Completeness, Task, baseline, clip_relus, counted

PADDING = -1e4  # below any activation; minus infinity would turn differences into NaN
# Captum divides by input differences; below this one the quotient is rounding noise and the gradient is taken.
EPSILON = 1e-6


class MaxOfRelus(nn.Module):
    """Max pooling as a chain of ``max(a, b) = a + relu(b - a)``, on which the rescale rule is complete.

    Captum's own rule for max pooling loses part of the difference where one pooling follows another (VGG: a fifth).
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.dilation = (
            value if isinstance(value, tuple) else (value, value)
            for value in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        )
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(self.kernel[0] * self.kernel[1] - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled ``(n, channels, rows, columns)``."""
        (top, left), (dy, dx) = self.padding, self.dilation
        x = F.pad(x, (left, left, top, top), value=PADDING)
        rows, columns = (
            (side - d * (k - 1) - 1) // s + 1
            for side, d, k, s in zip(x.shape[2:], self.dilation, self.kernel, self.stride, strict=True)
        )
        down, across = ((count - 1) * step + 1 for count, step in zip((rows, columns), self.stride, strict=True))
        places = [(i * dy, j * dx) for i in range(self.kernel[0]) for j in range(self.kernel[1])]
        taps = [x[:, :, i : i + down : self.stride[0], j : j + across : self.stride[1]] for i, j in places]
        # The central tap is never padding, so no large number is ever added to an activation and taken off again.
        best = taps.pop(len(taps) // 2)
        for tap, relu in zip(taps, self.relus, strict=True):
            best = best + relu(tap - best)
        return best


def deeplift(task: Task) -> Tensor:
    """Return DeepLift's (x - baseline) times multiplier, with the rescale rule."""
    counted(task.module, 2, task.progress, task.title)
    start = baseline(task)
    clip_relus(task.module)
    for parent in list(task.module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d) and not child.ceil_mode:
                setattr(parent, name, MaxOfRelus(child))
    lift = DeepLift(task.module, eps=EPSILON)
    attribution = lift.attribute(task.x, baselines=start, target=task.target)
    Completeness(task, start).note(attribution, "this network has operations for which DeepLift has no rule")
    return attribution


def guided_backprop(task: Task) -> Tensor:
    """Return the gradient, with negative gradients stopped at every ReLU."""
    counted(task.module, 1, task.progress, task.title)
    clip_relus(task.module)
    return GuidedBackprop(task.module).attribute(task.x, target=task.target)
