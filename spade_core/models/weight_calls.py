"""The calls that use a network's weights, seen with their true inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

CONV2D = {F.conv2d, torch.conv2d}
LINEAR = {F.linear}
PARAMETERS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")  # the first three of F.linear, too


Pair = tuple[int, int]


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
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    kernel: Pair = (1, 1)

    def output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply ``weight`` to ``x`` as the intercepted call would."""
        if self.kind == "linear":
            return F.linear(x, weight, self.bias)
        left, right, top, bottom = self.padding
        uneven = left != right or top != bottom
        x, pad = (F.pad(x, self.padding), (0, 0)) if uneven else (x, (top, left))
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
        if func in CONV2D or func in LINEAR:
            given = dict(zip(PARAMETERS, args, strict=False)) | kwargs
            name = self._names.get(id(given.get("weight")))
            if name is not None:
                weight, call = given["weight"], Call("linear", given.get("bias"))
                if func in CONV2D:
                    kernel, dilation = (weight.shape[2], weight.shape[3]), _pair(given.get("dilation", 1))
                    padding = _resolve_padding(given.get("padding", 0), kernel, dilation)
                    stride, groups = _pair(given.get("stride", 1)), given.get("groups", 1)
                    call = Call("conv2d", given.get("bias"), stride, padding, dilation, groups, kernel)
                replaced = self._handler(name, given["input"], weight, call)
                if replaced is not None:
                    return replaced
        return func(*args, **kwargs)


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _resolve_padding(padding: str | int | tuple[int, ...], kernel: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":  # an odd total puts the extra pixel at the right and at the bottom
        height, width = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        return (width // 2, width - width // 2, height // 2, height - height // 2)
    height, width = _pair(padding)  # type: ignore[arg-type]
    return (width, width, height, height)
