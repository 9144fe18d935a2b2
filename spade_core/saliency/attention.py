"""What attention looks at: its weights, caught where they are computed, and rolled out through the layers.

Attention rollout says where a class token's values come from, whatever the class: it knows no target.
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
from spade_core.models.layouts import layout_of
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
    layout = layout_of((1, tokens, 1))
    if layout is None:  # the model was asked before
        raise LayerError(f"{task.title} found no square of patches among {tokens} tokens.")
    seen = rolled[:1] if layout.prefix else rolled.mean(0, keepdim=True)
    return F.interpolate(layout.to_maps(seen[..., None]), task.x.shape[-2:], mode="bilinear", align_corners=False)


class Weights(TorchFunctionMode):
    """Keep the weights of every attention inside the block, each ``(n, heads, queries, keys)``, in ``found``."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self.found.append(_weights(**dict(zip(_CALLED, args, strict=False)) | kwargs))
        elif func in _SOFTMAX and result.ndim == 4:
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
    if _rolls(_SHAPES[model]):
        return None
    return f"{title} needs every layer to attend to all patches, and {model.name} attends otherwise."


def has_attention(module: nn.Module) -> bool:
    """Whether a module is a layer of attention, or holds one."""
    return any(ATTENTION.search(type(child).__name__) for child in module.modules())


_SHAPES: weakref.WeakKeyDictionary[LoadedModel, list[torch.Size]] = weakref.WeakKeyDictionary()
"""Of the weights of each attention of a model."""


def _rolls(shapes: Sequence[torch.Size]) -> bool:
    """Whether each attention is of one picture, all of whose tokens attend to all: ``(1, heads, tokens, tokens)``."""
    tokens = {shape[-1] for shape in shapes}
    whole = all(shape[0] == 1 and shape[-2] == shape[-1] for shape in shapes)
    return whole and len(tokens) == 1 and layout_of((1, *tokens, 1)) is not None
