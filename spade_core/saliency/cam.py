"""Class activation maps on any architecture: late feature maps, weighted by their gradients or by what they show.

They are those of the last layer whose output is a spatial map that the target still listens to, chosen on the dense
model, so that the two maps of a dense/SPADE pair show the same layer; :mod:`spade_core.models.layouts` tells how it
holds its map. *Grad-CAM* weighs the maps by their gradients: a hook on the layer of the private copy shows Captum the
map in its own layout and hands the network back what it expects. *Score-CAM* weighs them by the class's score when only
they show the picture.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from spade_core.errors import LayerError
from spade_core.models.layers import share_copy
from spade_core.models.layouts import Layout, Layouts
from spade_core.models.output import log_probabilities
from spade_core.progress import span
from spade_core.saliency.attention import ATTENTION
from spade_core.saliency.base import Task, counted, with_batches
from spade_core.saliency.rules import guided_backprop

_POOLS: tuple[type[nn.Module], ...] = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_POOLS += (nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)  # of tokens


def choose_layer(module: nn.Module, x: Tensor, target: int, name: str | None = None) -> tuple[str, Layout]:
    """Return the layer that Grad-CAM reads: ``name``, or the last spatial map that the target's logit depends on.

    Args:
        module: a private copy; hooks set here are removed.
        x: input ``(1, 3, height, width)`` that wants gradients.

    Raises:
        LayerError: there is no such layer, or its output holds no spatial map.
    """
    logits, seen = spatial_outputs(module, x)
    if name is not None:
        return name, _layout_by_name(module, seen, name)
    offered = [found for found in seen if found.offered]
    outputs = [found.output for found in offered]
    gradients = torch.autograd.grad(logits[0, target], outputs, allow_unused=True) if outputs else ()
    for found, gradient in reversed(list(zip(offered, gradients, strict=True))):
        # The patches of a ViT's last block no longer reach the class token: there the gradient is zero.
        if gradient is not None and bool(found.layout.patches(gradient).any()):
            return found.name, found.layout
    if offered:
        raise LayerError("No layer with a spatial map speaks for or against this class: explain another class.")
    raise LayerError(
        "No layer of this model has a spatial map before the pooling, as CAM needs: choose another method."
    )


@dataclass(frozen=True, eq=False)
class Spatial:
    """An output that holds a spatial map; ``offered`` unless it is pooled or an inner value of attention."""

    name: str
    output: Tensor
    layout: Layout
    offered: bool


def spatial_outputs(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Spatial]]:
    """Return the logits, and every module's output that holds a spatial map, in the order of completion.

    Args:
        module: a private copy; hooks set here are removed.
        x: input ``(1, 3, height, width)`` that wants gradients.
    """
    found: list[Spatial] = []
    pooled: list[Tensor] = []
    tokens: set[int] = set()
    names = {child: name for name, child in module.named_modules() if name}
    inside, layouts = _inside_attention(module), Layouts(module)

    def note(child: nn.Module, _args: tuple, output: object) -> None:
        if not isinstance(output, Tensor) or not output.requires_grad or output.shape[:1] != x.shape[:1]:
            return
        if isinstance(child, _POOLS):
            pooled.append(output)
        if (layout := layouts.of(names[child], output.shape, x)) is not None:
            tokens.update(output.shape[1:2] if layout.kind == "tokens" else ())
            # As wide and as high as there are tokens: who attends to whom, in a network that does not name attention.
            apart = output.dim() == 4 and output.shape[-1] in tokens and output.shape[-2] in tokens
            offered = child not in inside and not apart and not any(output is other for other in pooled)
            found.append(Spatial(names[child], output, layout, offered))

    with ExitStack() as hooks, torch.enable_grad():
        for child in names:
            hooks.enter_context(child.register_forward_hook(note))
        return module(x), found


def _inside_attention(module: nn.Module) -> set[nn.Module]:
    """Return what lies within attention and is no map: queries, keys and weights only have the shape of one."""
    heads = [child for child in module.modules() if child is not module and ATTENTION.search(type(child).__name__)]
    inside = {inner for head in heads for inner in head.modules() if inner is not head}
    # A converted network has no classes of its own, but the names of the scopes that its steps came from.
    scoped = {child for name, child in module.named_modules() if ATTENTION.search(name.rpartition(".")[0])}
    return inside | (set() if heads else scoped)


def _layout_by_name(module: nn.Module, seen: Sequence[Spatial], name: str) -> Layout:
    known = dict(module.named_modules())
    if name not in known or not name:
        near = difflib.get_close_matches(name, list(known), n=3) or [found.name for found in seen[-3:]]
        raise LayerError(f"There is no layer {name!r}: did you mean {', '.join(near)}?")
    layouts = [found.layout for found in seen if found.name == name]
    if not layouts:
        advice = "choose a convolution, block or activation before the pooling"
        raise LayerError(f"The output of {name} is no spatial map: {advice}.")
    return layouts[-1]


def _chosen(task: Task, share: float) -> tuple[nn.Module, Layout]:
    """Return the layer of the private copy that is read, and its layout; the choice is ``share`` of the progress."""
    dense = share_copy(task.dense.module)
    counted(dense, 1, span(task.progress, 0.0, share), task.title)
    name, layout = choose_layer(dense, task.x, task.target, task.options["layer"])
    task.record["layer"] = name
    return task.module.get_submodule(name), layout


def _grad_cam(task: Task, *, positive: bool) -> Tensor:
    """Return Grad-CAM upsampled to the input, ``(1, 1, height, width)``."""
    layer, layout = _chosen(task, 0.5)
    counted(task.module, 1, span(task.progress, 0.5, 1.0), task.title)
    maps = nn.Identity()
    layer.register_forward_hook(lambda _layer, _args, y: layout.from_maps(maps(layout.to_maps(y)), y))
    attribution = LayerGradCam(task.module, maps).attribute(task.x, target=task.target, relu_attributions=positive)
    return F.interpolate(attribution, task.x.shape[-2:], mode="bilinear", align_corners=False)


def gradcam(task: Task) -> Tensor:
    """Return maps of a late layer, weighted by their mean gradient; signed, without the final ReLU of the paper."""
    return _grad_cam(task, positive=False)


def guided_gradcam(task: Task) -> Tensor:
    """Return guided backprop times the positive part of Grad-CAM; each factor is computed on a copy of its own."""
    return guided_backprop(task.fork(0.0, 0.5)) * _grad_cam(task.fork(0.5, 1.0), positive=True)


def scorecam(task: Task) -> Tensor:
    """Return the sum of a late layer's maps, each weighted by the class probability of the picture seen through it.

    As in the authors' code: a map is scaled to 0..1 and multiplies the normalised picture, its weight is the softmax
    probability of the class (the sigmoid, for labels that do not exclude each other), constant maps are left out, and
    the sum is clipped at zero. The paper's text subtracts a baseline's score instead. With ``channels`` only the maps
    of largest variance are taken, as in Faster Score-CAM.
    """
    layer, layout = _chosen(task, 0.05)
    x, seen = task.x.detach(), []
    with torch.no_grad(), layer.register_forward_hook(lambda _layer, _args, y: seen.append(y)):
        task.module(x)
    maps = layout.to_maps(seen[-1]).transpose(0, 1)  # (channels, 1, rows, columns)
    spread = maps.amax((2, 3), keepdim=True) - maps.amin((2, 3), keepdim=True)
    alive = (spread > 0).flatten()
    maps, spread = maps[alive], spread[alive]
    if task.options["channels"]:
        most = maps.flatten(1).var(1).topk(min(task.options["channels"], len(maps))).indices
        maps, spread = maps[most], spread[most]
    shown = (maps - maps.amin((2, 3), keepdim=True)) / spread
    counted(task.module, len(maps) // task.batch_size + 1, span(task.progress, 0.05, 1.0), task.title)
    weights = with_batches(task, lambda batch_size: _scores(task, x, shown, batch_size))
    total = (weights.view(-1, 1, 1, 1) * maps).sum(0, keepdim=True).clamp(min=0)
    return F.interpolate(total, x.shape[-2:], mode="bilinear", align_corners=False)


def _scores(task: Task, x: Tensor, shown: Tensor, batch_size: int) -> Tensor:
    """Return the target's probability for the picture through each map, ``(channels,)``."""
    found = [x.new_zeros(0)]
    with torch.no_grad():
        for part in shown.split(batch_size):
            window = F.interpolate(part, x.shape[-2:], mode="bilinear", align_corners=False)
            seen = (x * window).contiguous(memory_format=torch.channels_last)
            logits = task.module(seen)
            found.append(log_probabilities(logits, task.dense.output).exp()[:, task.target])
    return torch.cat(found)
