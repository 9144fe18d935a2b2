"""Layer inputs and their second moments ``H = E[x x^T]``, read where the weight is used.

Modules pad their own inputs, attention calls ``F.linear`` directly, wrappers differ; only the call of ``F.conv2d`` or
``F.linear`` sees the input that the weight really meets. :class:`WeightCalls` intercepts these calls by the weight's
identity (a torch function mode, local to the thread), and :func:`capture` uses it to collect every second moment in one
pass over the views. For one layer, the input of a convolution is every receptive field of every view (SPADE, Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spade_core.progress import Progress, silent

__all__ = ["Call", "WeightCalls", "capture", "cross_moment", "input_columns", "second_moment"]

_CONV2D = {F.conv2d, torch.conv2d}
_LINEAR = {F.linear}
_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Call:
    """One call of a weight: what is needed to unfold its input and to compute its output again.

    Attributes:
        kind: ``conv2d`` or ``linear``.
        bias: tensor or None.
        stride, padding, dilation, groups: as given to ``F.conv2d``; padding is resolved to
            ``(left, right, top, bottom)`` px.
        kernel: ``(kh, kw)``; ``(1, 1)`` for linear layers.
    """

    kind: str
    bias: Tensor | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    kernel: tuple[int, int] = (1, 1)

    def output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply ``weight`` to ``x`` as the intercepted call would."""
        if self.kind == "linear":
            return F.linear(x, weight, self.bias)
        left, right, top, bottom = self.padding
        if left == right and top == bottom:
            pad = (top, left)
        else:
            x, pad = F.pad(x, self.padding), (0, 0)
        return F.conv2d(x, weight, self.bias, self.stride, pad, self.dilation, self.groups)


Handler = Callable[[str, Tensor, Tensor, Call], Tensor | None]


class WeightCalls(TorchFunctionMode):
    """Intercept the calls that use one of ``weights``.

    Args:
        weights: name -> parameter, matched by identity.
        handler: called as ``handler(name, x, weight, call)``; a tensor that it returns replaces the call's output,
            None lets the call run as it is.
    """

    def __init__(self, weights: Mapping[str, Tensor], handler: Handler) -> None:
        super().__init__()
        self._names = {id(weight): name for name, weight in weights.items()}
        self._handler = handler

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _CONV2D or func in _LINEAR:
            x, weight = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "weight")
            name = self._names.get(id(weight))
            if name is not None:
                call = _conv_call(weight, args, kwargs) if func in _CONV2D else _linear_call(args, kwargs)
                replaced = self._handler(name, x, weight, call)
                if replaced is not None:
                    return replaced
        return func(*args, **kwargs)


def _argument(args: tuple, kwargs: dict, position: int, name: str, default: Any = None) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _linear_call(args: tuple, kwargs: dict) -> Call:
    return Call("linear", bias=_argument(args, kwargs, 2, "bias"))


def _conv_call(weight: Tensor, args: tuple, kwargs: dict) -> Call:
    kernel = (weight.shape[2], weight.shape[3])
    dilation = _pair(_argument(args, kwargs, 5, "dilation", 1))
    return Call(
        "conv2d",
        bias=_argument(args, kwargs, 2, "bias"),
        stride=_pair(_argument(args, kwargs, 3, "stride", 1)),
        padding=_resolve_padding(_argument(args, kwargs, 4, "padding", 0), kernel, dilation),
        dilation=dilation,
        groups=_argument(args, kwargs, 6, "groups", 1),
        kernel=kernel,
    )


def _resolve_padding(
    padding: str | int | tuple[int, ...], kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":  # an odd total puts the extra pixel at the right and at the bottom
        height, width = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        return (width // 2, width - width // 2, height // 2, height - height // 2)
    assert not isinstance(padding, str)
    height, width = _pair(padding)
    return (width, width, height, height)


def input_columns(x: Tensor, call: Call) -> Tensor:
    """Unfold the input of one call.

    Args:
        x: ``(n, channels, height, width)`` or ``(channels, height, width)`` for convolutions, ``(..., in)`` for linear
            layers.

    Returns:
        ``(groups, positions, cols)``, cols ordered as the weight's ``(in / groups, kh, kw)``; positions are ordered
        view by view, row by row.
    """
    if call.kind == "linear":
        return x.reshape(1, -1, x.shape[-1])
    x = x if x.dim() == 4 else x.unsqueeze(0)
    if any(call.padding):
        x = F.pad(x, call.padding)
    views, channels = x.shape[:2]
    extent = [d * (k - 1) + 1 for k, d in zip(call.kernel, call.dilation, strict=True)]
    windows = x.unfold(2, extent[0], call.stride[0]).unfold(3, extent[1], call.stride[1])
    windows = windows[..., :: call.dilation[0], :: call.dilation[1]]  # (views, channels, oh, ow, kh, kw)
    cols = channels // call.groups * call.kernel[0] * call.kernel[1]
    rows, columns = windows.shape[2:4]
    windows = windows.reshape(views, call.groups, channels // call.groups, rows, columns, *call.kernel)
    return windows.permute(1, 0, 3, 4, 2, 5, 6).reshape(call.groups, views * rows * columns, cols)


def second_moment(x: Tensor, call: Call) -> tuple[Tensor, int]:
    """Return the sum of ``x x^T`` over views and positions, ``(groups, cols, cols)``, and how many inputs it sums."""
    return cross_moment(x, None, call)


def cross_moment(x: Tensor, other: Tensor | None, call: Call) -> tuple[Tensor, int]:
    """Return the sum of ``x other^T`` over views and positions, in memory-bounded chunks of views.

    Args:
        x: input of one call, see :func:`input_columns`.
        other: a second input of the same shape; None stands for ``x`` itself.

    Returns:
        ``(groups, cols, cols)`` in the dtype of ``x``, and the number of inputs summed.
    """
    batched = x.dim() == 4 if call.kind == "conv2d" else x.dim() > 1
    x = x if batched else x.unsqueeze(0)
    per_view = x[0].numel() * x.element_size() * call.kernel[0] * call.kernel[1]
    step = max(1, _CHUNK_BYTES // max(1, per_view))
    total: Tensor | None = None
    count = 0
    for start in range(0, x.shape[0], step):
        left = input_columns(x[start : start + step], call)
        right = left if other is None else input_columns(other[start : start + step], call)
        part = left.transpose(1, 2) @ right
        total = part if total is None else total.add_(part)
        count += left.shape[1]
    assert total is not None
    return total, count


def capture(
    module: nn.Module,
    batches: list[Tensor],
    weights: Mapping[str, Tensor],
    *,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """Collect the second moments of all ``weights`` in one pass of ``module`` over ``batches``.

    Args:
        module: in eval mode; not changed.
        batches: views, each ``(n, 3, height, width)``, normalised.
        weights: name -> parameter of ``module``.

    Returns:
        name -> ``(groups, cols, cols)``, the mean of ``x x^T`` over views and positions (no factor 2), in the dtype of
        the activations. A weight whose call was never seen is missing.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, x: Tensor, weight: Tensor, call: Call) -> None:
        moment, count = second_moment(x, call)
        if name in sums:
            sums[name] += moment
        else:
            sums[name] = moment
        counts[name] = counts.get(name, 0) + count

    with torch.no_grad(), WeightCalls(weights, add):
        for index, batch in enumerate(batches):
            progress(index, len(batches), "reading the layers' inputs")
            module(batch)
    return {name: total / counts[name] for name, total in sums.items()}
