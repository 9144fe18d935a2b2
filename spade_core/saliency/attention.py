"""What attention looks at: its weights, caught where they are computed, rolled out through the layers or asked for.

Attention rollout says where a class token's values come from, whatever the class: it knows no target. LeGrad asks how
the target feels each layer's weights.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spade_core.errors import LayerError
from spade_core.models.layers import share_copy
from spade_core.models.layouts import Layout, layout_of
from spade_core.models.loaded import LoadedModel
from spade_core.saliency.base import Task, counted

ATTENTION = re.compile("(?<!fl)atte?n", re.IGNORECASE)  # in class names: Attention, ClassAttn, but not Flatten
_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}
_CALLED = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")


def attention_rollout(task: Task) -> Tensor:
    """Return how much of each patch the class token holds by all layers' attention (Abnar & Zuidema 2020, section 3).

    A layer's weights, of its heads the mean or the largest, are averaged with the identity for the residual connection;
    their product over the layers is read at the class token, or averaged over all tokens where there is none. A patch's
    value is spread over its pixels by bilinear interpolation.
    """
    counted(task.module, 1, task.progress, task.title)
    with torch.no_grad(), Weights() as caught:
        task.module(task.x)
    tokens = caught.found[0].shape[-1]
    same = rolled = torch.eye(tokens, dtype=task.x.dtype, device=task.x.device)
    for weights in caught.found:
        mixed = same + (weights[0].mean(0) if task.options["heads"] == "mean" else weights[0].amax(0))
        rolled = (mixed / mixed.sum(-1, keepdim=True)) @ rolled
    layout = _layout(task, tokens)
    seen = rolled[:1] if layout.prefix else rolled.mean(0, keepdim=True)
    return _spread(task, layout, seen)


def legrad(task: Task) -> Tensor:
    """Return how each layer's logit feels its own attention to each patch (LeGrad, Bousselham et al. 2024, section 3).

    A layer's logit is the head's answer to the tokens that this layer puts out, as if it were the last. Of its gradient
    with respect to the layer's weights the positive part is taken, the mean over heads, queries and layers, and the
    patches' values scaled to 0 to 1. A patch's value is spread over its pixels by bilinear interpolation.
    """
    blocks = _blocks(task.dense)
    counted(task.module, len(blocks), task.progress, task.title)
    total = torch.zeros((), dtype=task.x.dtype, device=task.x.device)
    for name in reversed(blocks):
        with torch.enable_grad(), Weights() as caught:
            logit = task.module(task.x)[0, task.target]
        (slope,) = torch.autograd.grad(logit, caught.found[-1])
        total = total + slope[0].clamp_min(0).mean((0, 1)) / len(blocks)
        task.module.set_submodule(name, _Skipped())
    layout = _layout(task, len(total))
    patches = total[layout.prefix :]
    low, high = patches.min(), patches.max()
    return _spread(task, layout, ((total - low) / (high - low).clamp_min(torch.finfo(total.dtype).tiny))[None])


def _layout(task: Task, tokens: int) -> Layout:
    layout = layout_of((1, tokens, tokens), task.dense.preprocessing.sides)
    if layout is None:  # the model was asked before
        raise LayerError(f"{task.title} found no map of patches among {tokens} tokens: choose another method.")
    return layout


def _spread(task: Task, layout: Layout, values: Tensor) -> Tensor:
    """Return the values of all tokens, ``(1, tokens)``, as a map of the input's size."""
    return F.interpolate(layout.to_maps(values[..., None]), task.x.shape[-2:], mode="bilinear", align_corners=False)


class _Skipped(nn.Module):
    """A layer that is left out: it hands on what it gets."""

    def forward(self, x: Tensor, *_rest: object, **_more: object) -> Tensor:
        return x


class Weights(TorchFunctionMode):
    """Keep the weights of every attention inside the block, each ``(n, heads, queries, keys)``, in ``found``.

    Where gradients are taken they are what the values are weighted with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            given = dict(zip(_CALLED, args, strict=False)) | kwargs
            self.found.append(weights := _weights(**given))
            return weights @ given["value"] if weights.requires_grad else result
        if func in _SOFTMAX and result.ndim == 4:
            self.found.append(result)
        return result


def _weights(
    query: Tensor, key: Tensor, scale: float | None = None, attn_mask: Tensor | None = None, **_rest: object
) -> Tensor:
    """Return the weights that PyTorch's fused attention computes and does not tell."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1)


def no_attention(model: LoadedModel, title: str) -> str | None:
    """Return why a method for transformers cannot be applied to ``model``, or None."""
    if has_attention(model.module):
        return None
    return f"{title} is made for transformers, and {model.name} has no attention."


def no_whole_attention(model: LoadedModel, title: str) -> str | None:
    """Return why attention cannot be rolled out in ``model``, or None; it takes one forward pass a model."""
    if reason := no_attention(model, title):
        return reason
    if model not in _SHAPES:
        with torch.no_grad(), Weights() as caught:
            model.module(model.grey())
        _SHAPES[model] = [weights.shape for weights in caught.found]
    if _rolls(_SHAPES[model], model.preprocessing.sides):
        return None
    return f"{title} needs every layer to attend to all patches, and {model.name} attends otherwise."


def no_blocks(model: LoadedModel, title: str) -> str | None:
    """Return why later layers cannot be left out of ``model``, or None; it takes two forward passes a model."""
    if (reason := no_whole_attention(model, title)) or _blocks(model):
        return reason
    return f"{title} needs every layer of a transformer to be one module, and {model.name} is built otherwise."


def _blocks(model: LoadedModel) -> list[str]:
    """Return the names of the layers in their order, each the outermost module around one attention; else none.

    A layer takes tokens and puts out as many of the same width.
    """
    if model not in _BLOCKS:
        copy, found = share_copy(model.module), dict[int, str]()
        with torch.no_grad(), Weights() as caught:
            for name, child in copy.named_modules():
                if name and not ATTENTION.search(type(child).__name__):
                    _watch(name, child, caught, found)
            copy(model.grey())
        _BLOCKS[model] = [found[place] for place in sorted(found)] if len(found) == len(caught.found) else []
    return _BLOCKS[model]


def _watch(name: str, child: nn.Module, caught: Weights, found: dict[int, str]) -> None:
    """Let a module of a private copy enter its name at the place of the one attention that its forward pass has."""
    begun: list[int] = []

    def after(_module: nn.Module, given: tuple[object, ...], output: object) -> None:
        start, x = begun.pop(), given[0] if given else None
        tokens = isinstance(x, Tensor) and isinstance(output, Tensor) and x.ndim == 3 and x.shape == output.shape
        if tokens and len(caught.found) == start + 1:
            found[start] = name  # whatever is around it ends later

    child.register_forward_pre_hook(lambda *_: begun.append(len(caught.found)))
    child.register_forward_hook(after)


def has_attention(module: nn.Module) -> bool:
    """Whether a module is a layer of attention, or holds one, by its class or, in a converted network, by its name."""
    return any(ATTENTION.search(f"{name} {type(child).__name__}") for name, child in module.named_modules())


_SHAPES: weakref.WeakKeyDictionary[LoadedModel, list[torch.Size]] = weakref.WeakKeyDictionary()
"""Of the weights of each attention of a model."""
_BLOCKS: weakref.WeakKeyDictionary[LoadedModel, list[str]] = weakref.WeakKeyDictionary()
"""What :func:`_blocks` says of a model."""


def _rolls(shapes: Sequence[torch.Size], sides: tuple[int, int]) -> bool:
    """Whether each attention is of one picture, all of whose tokens attend to all: ``(1, heads, tokens, tokens)``."""
    tokens = {shape[-1] for shape in shapes}
    whole = all(shape[0] == 1 and shape[-2] == shape[-1] for shape in shapes)
    return whole and len(tokens) == 1 and layout_of((1, *tokens, *tokens), sides) is not None
