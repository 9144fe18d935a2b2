"""Multi-head attention whose projections are ordinary linear calls.

``nn.MultiheadAttention`` hands its weights to one fused function, or to a native kernel, so nothing outside sees the
inputs of its projections. :class:`ExplicitAttention` computes the same result step by step: the packed input
projection is one ``F.linear(x, self.in_proj_weight, self.in_proj_bias)`` and the output projection is a call of the
``out_proj`` module. Parameter names and forward signature are those of the original.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ExplicitAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` with visible projections; outputs agree within float rounding.

    Self-attention (query, key and value are one tensor) reads the packed weight in one call. Otherwise query, key and
    value are projected with slices of it (or with the separate weights of ``kdim`` and ``vdim``); calls with slices
    are not seen by code that looks for the parameter itself. Nested tensors are not supported.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,  # noqa: ARG002 - a hint that attn_mask is causal; the mask itself is applied
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; arguments, shapes and results as in ``nn.MultiheadAttention.forward``."""
        unbatched = query.dim() == 2
        length_first = not unbatched and not self.batch_first
        q, k, v = self._project(query, key, value)
        if unbatched:
            q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif length_first:
            q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        k, v, extra = self._extend(k, v)
        mask = self._mask(attn_mask, key_padding_mask, q, extra)
        q, k, v = (x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))
        mixed, weights = self._attend(q, k, v, mask, need_weights)
        mixed = mixed.transpose(1, 2).flatten(2)
        if weights is not None and average_attn_weights:
            weights = weights.mean(dim=1)
        if unbatched:
            return self.out_proj(mixed.squeeze(0)), None if weights is None else weights.squeeze(0)
        return self.out_proj(mixed.transpose(0, 1) if length_first else mixed), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        packed = self.in_proj_weight
        if packed is not None and query is key and key is value:
            return F.linear(query, packed, self.in_proj_bias).chunk(3, dim=-1)
        separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights = separate if packed is None else packed.chunk(3)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))

    def _extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Append the learned and the zero key-value pair, where the module has them; also return how many."""
        before = k.shape[1]
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(k.shape[0], 1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.expand(v.shape[0], 1, -1)], dim=1)
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        return k, v, k.shape[1] - before

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, like: Tensor, extra: int) -> Tensor | None:
        """Return one additive mask that broadcasts to (batch, heads, queries, keys), or None."""
        masks = []
        if attn_mask is not None:
            mask = _additive(attn_mask, like)
            masks.append(mask.unflatten(0, (-1, self.num_heads)) if mask.dim() == 3 else mask[None, None])
        if padding is not None:
            masks.append(_additive(padding, like)[:, None, None, :])
        return F.pad(sum(masks[1:], masks[0]), (0, extra)) if masks else None

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return F.scaled_dot_product_attention(q, k, v, mask, dropout), None
        scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1)
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        weights = F.dropout(weights, dropout) if dropout else weights
        return weights @ v, weights


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    return mask if mask.is_floating_point() else like.new_zeros(mask.shape).masked_fill(mask, float("-inf"))


def use_explicit_attention(module: nn.Module) -> None:
    """Turn every ``nn.MultiheadAttention`` into :class:`ExplicitAttention`, in place.

    PyTorch's encoder layers would bypass ``self_attn`` by a native kernel in eval mode; their own switches for it are
    turned off here, on these instances only.
    """
    for child in module.modules():
        if type(child) is nn.MultiheadAttention:
            child.__class__ = ExplicitAttention
        elif isinstance(child, nn.TransformerEncoderLayer):
            child.activation_relu_or_gelu = 0
        elif isinstance(child, nn.TransformerEncoder):
            child.enable_nested_tensor = child.use_nested_tensor = False
