"""Receptive fields gathered by index, and their second moment by outer products."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def receptive_fields(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``(groups, positions, cols)`` of a convolution's input, by loops over groups, pictures and output positions."""
    (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
    if conv.padding == "same":
        total_h, total_w = dh * (kh - 1), dw * (kw - 1)
        pad = (total_w // 2, total_w - total_w // 2, total_h // 2, total_h - total_h // 2)
    elif conv.padding == "valid":
        pad = (0, 0, 0, 0)
    else:
        pad = (conv.padding[1], conv.padding[1], conv.padding[0], conv.padding[0])
    x = nn.functional.pad(x, pad)
    per_group = x.shape[1] // conv.groups
    rows = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    cols = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    groups = []
    for g in range(conv.groups):
        fields = [
            torch.stack(
                [
                    x[n, c, i * sh + a * dh, j * sw + b * dw]
                    for c in range(g * per_group, (g + 1) * per_group)
                    for a in range(kh)
                    for b in range(kw)
                ]
            )
            for n in range(x.shape[0])
            for i in range(rows)
            for j in range(cols)
        ]
        groups.append(torch.stack(fields))
    return torch.stack(groups)


def mean_outer_product(fields: Tensor) -> Tensor:
    """``(groups, cols, cols)``: the mean of ``x x^T``."""
    return torch.stack([torch.stack([torch.outer(x, x) for x in group]).mean(0) for group in fields])
