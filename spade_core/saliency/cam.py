"""Grad-CAM on any architecture: the last layer whose output is a spatial map that the target still listens to.

Convolutional networks give maps ``(n, channels, rows, columns)``, Swin ``(n, rows, columns, channels)``, ViT tokens
``(n, prefix + rows * columns, channels)``. The chosen layer of the private copy is followed by an adapter that shows
Captum the map in its own layout and hands the network back what it expects.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from spade_core.errors import LayerError
from spade_core.layers import share_copy
from spade_core.models import LoadedModel
from spade_core.saliency.base import Method, Task, counted
from spade_core.saliency.rules import GuidedBackpropMap

__all__ = ["GradCam", "GuidedGradCam", "Layout", "choose_layer", "layout_of"]

PREFIXES = (0, 1, 2, 4, 5)  # class, distillation and register tokens before the patches
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class Layout:
    """How a layer's output holds its spatial map.

    Attributes:
        kind: ``channels_first``, ``channels_last`` or ``tokens``.
        prefix: tokens before the patches.
        side: rows (= columns) of the map.
    """

    kind: str
    prefix: int
    side: int

    def to_maps(self, y: Tensor) -> Tensor:
        """Return ``(n, channels, rows, columns)``."""
        if self.kind == "channels_first":
            return y
        if self.kind == "channels_last":
            return y.permute(0, 3, 1, 2)
        patches = y[:, self.prefix :].unflatten(1, (self.side, self.side))
        return patches.permute(0, 3, 1, 2)

    def from_maps(self, maps: Tensor, y: Tensor) -> Tensor:
        """Put the map back into the layout of ``y``."""
        if self.kind == "channels_first":
            return maps
        last = maps.permute(0, 2, 3, 1)
        return last if self.kind == "channels_last" else torch.cat([y[:, : self.prefix], last.flatten(1, 2)], 1)

    def patches(self, gradient: Tensor) -> Tensor:
        """Return the part of a gradient that belongs to the map."""
        return gradient[:, self.prefix :] if self.kind == "tokens" else gradient


def layout_of(shape: Sequence[int]) -> Layout | None:
    """Tell how an output of this shape holds a square spatial map of more than one place, or None."""
    if len(shape) == 4 and shape[2] == shape[3] > 1:
        return Layout("channels_first", 0, shape[2])
    if len(shape) == 4 and shape[1] == shape[2] > 1:
        return Layout("channels_last", 0, shape[1])
    if len(shape) == 3:
        for prefix in PREFIXES:
            side = math.isqrt(max(0, shape[1] - prefix))
            if side > 1 and side * side == shape[1] - prefix:
                return Layout("tokens", prefix, side)
    return None


def choose_layer(module: nn.Module, x: Tensor, target: int, name: str | None = None) -> tuple[str, Layout]:
    """Return the layer that Grad-CAM reads: ``name``, or the last spatial map that the target's logit depends on.

    Args:
        module: a private copy; hooks set here are removed.
        x: input ``(1, 3, height, width)``.

    Raises:
        LayerError: there is no such layer, or its output holds no spatial map.
    """
    if name is not None:
        return name, _layout_by_name(module, x, name)
    seen = _spatial_outputs(module, x)
    with torch.enable_grad():
        outputs = [output for _, output, _ in seen]
        logit = seen.logits[0, target]
        gradients = torch.autograd.grad(logit, outputs, allow_unused=True) if outputs else ()
    for (layer, _, layout), gradient in reversed(list(zip(seen, gradients, strict=True))):
        # The patches of a ViT's last block no longer reach the class token: there the gradient is zero.
        if gradient is not None and bool(layout.patches(gradient).any()):
            return layer, layout
    raise LayerError("Grad-CAM needs a layer with a spatial map before the pooling, and this model has none.")


class _Outputs(list[tuple[str, Tensor, Layout]]):
    logits: Tensor


def _spatial_outputs(module: nn.Module, x: Tensor) -> _Outputs:
    """Return (layer, output, layout) of every spatial output in the order of completion, pooled ones left out."""
    found, pooled = _Outputs(), set()
    names = {child: name for name, child in module.named_modules() if name}

    def note(child: nn.Module, args: tuple, output: object) -> None:  # noqa: ARG001
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        if isinstance(child, _POOLS):
            pooled.add(id(output))
        layout = layout_of(output.shape)
        if layout is not None and id(output) not in pooled:
            found.append((names[child], output, layout))

    handles = [child.register_forward_hook(note) for child in names]
    try:
        with torch.enable_grad():
            found.logits = module(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _layout_by_name(module: nn.Module, x: Tensor, name: str) -> Layout:
    known = dict(module.named_modules())
    if name not in known or not name:
        near = difflib.get_close_matches(name, list(known), n=3)
        raise LayerError(f"There is no layer {name!r}: did you mean {', '.join(near) or 'one of the command layers'}?")
    for layer, _, layout in reversed(_spatial_outputs(module, x)):
        if layer == name:
            return layout
    raise LayerError(
        f"The output of {name} is no spatial map: choose a convolution, block or activation before the pooling."
    )


class _Adapter(nn.Module):
    """A layer, followed by its map in Captum's layout (``maps``)."""

    def __init__(self, layer: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.layer, self.maps, self.layout = layer, nn.Identity(), layout

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        y = self.layer(*args, **kwargs)
        return self.layout.from_maps(self.maps(self.layout.to_maps(y)), y)


def _cam(task: Task, *, positive: bool) -> tuple[Tensor, str]:
    """Return Grad-CAM upsampled to the input, ``(1, 1, height, width)``, and the layer that was read."""
    name, layout = choose_layer(task.module, task.x, task.target, task.layer)
    parent, _, leaf = name.rpartition(".")
    adapter = _Adapter(task.module.get_submodule(name), layout)
    setattr(task.module.get_submodule(parent), leaf, adapter)
    attribution = LayerGradCam(task.module, adapter.maps).attribute(
        task.x, target=task.target, relu_attributions=positive
    )
    return F.interpolate(attribution, task.x.shape[-2:], mode="bilinear", align_corners=False), name


class GradCam(Method):
    """Maps of a late layer, weighted by their mean gradient; signed, without the final ReLU of the paper."""

    slug, title, cost = "gradcam", "Grad-CAM", "fast"
    help = "Late feature maps weighted by their gradients, upsampled (Selvaraju et al. 2017)."

    def attribute(self, task: Task) -> Tensor:
        """Return the signed class activation map."""
        counted(task.module, 2, task.progress, self.title)
        return _cam(task, positive=False)[0]


class GuidedGradCam(Method):
    """Guided backprop times the positive part of Grad-CAM."""

    slug, title, cost, architectures = "guided_gradcam", "Guided Grad-CAM", "fast", "ReLU and ReLU6 networks"
    help = "Guided backprop times the upsampled Grad-CAM (Selvaraju et al. 2017)."

    def unsupported(self, model: LoadedModel) -> str | None:
        """Return a reason for networks with other activations than separate ReLU and ReLU6 modules."""
        return GuidedBackpropMap().unsupported(model)

    def attribute(self, task: Task) -> Tensor:
        """Return the product; each factor is computed on a copy of its own."""
        counted(task.module, 3, task.progress, self.title)
        guided = GuidedBackpropMap().attribute(_fork(task))
        return guided * _cam(_fork(task), positive=True)[0]


def _fork(task: Task) -> Task:
    twin = share_copy(task.module)
    counted(twin, 2, lambda *_: task.progress(1, 3, GuidedGradCam.title), "")
    return Task(
        twin, task.x.detach().clone().requires_grad_(), task.pixels, task.target, task.options, task.batch_size,
        task.layer, lambda *_: None,
    )  # fmt: skip
