"""The prunable weights of a network, and copies of it that share what is not pruned."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One prunable weight.

    Attributes:
        name: the parameter's name without ``.weight`` (``blocks.0.0.conv_dw``, ``...self_attention.in_proj``).
        parameter: its qualified name in ``named_parameters()``.
        kind: ``conv2d``, ``linear`` or ``attention`` (an ``in_proj`` of ``nn.MultiheadAttention``).
        shape: of the weight; ``(out, in / groups, kh, kw)`` or ``(out, in)``.
        groups: convolution groups, else 1.
        kernel: kernel height times width, else 1.
    """

    name: str
    parameter: str
    kind: str
    shape: tuple[int, ...]
    groups: int = 1
    kernel: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether each group reads one channel."""
        return self.groups > 1 and self.shape[1] == 1

    @property
    def numel(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def prunable_layers(module: nn.Module) -> tuple[Layer, ...]:
    """List every ``Conv2d``, ``Linear`` and attention projection weight, in module order, each parameter once."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    layers: dict[str, Layer] = {}
    for child in module.modules():
        for weight, kind, groups in _weights_of(child):
            parameter = names.get(id(weight))
            if parameter is None:  # computed at every call, or a buffer: there is nothing to prune
                continue
            kernel = weight.shape[2:].numel() if kind == "conv2d" else 1
            name = parameter.removesuffix("_weight").removesuffix(".weight")
            layers.setdefault(parameter, Layer(name, parameter, kind, tuple(weight.shape), groups, kernel))
    return tuple(layers.values())


def _weights_of(module: nn.Module) -> Iterator[tuple[Tensor, str, int]]:
    if isinstance(module, nn.Conv2d):
        yield module.weight, "conv2d", module.groups
    elif isinstance(module, nn.Linear):
        yield module.weight, "linear", 1
    elif isinstance(module, nn.MultiheadAttention):
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if (weight := getattr(module, name)) is not None:
                yield weight, "attention", 1


def share_copy(module: nn.Module, own: Collection[str] = ()) -> nn.Module:
    """Copy the module objects, sharing every parameter and buffer except those named in ``own``, which are cloned.

    A tensor that the network holds under several names (tied weights, a module registered twice) is owned under all of
    them if any is named, and stays one tensor of the copy. Hooks are not carried over, so whatever is registered on the
    copy dies with it and the original stays untouched.
    """
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    owned = {id(tensor) for name, tensor in tensors if name in own}
    memo: dict[int, object] = {id(tensor): tensor for _, tensor in tensors if id(tensor) not in owned}
    for child in module.modules():
        for hooks in (child._forward_hooks, child._forward_pre_hooks, child._backward_hooks, child._backward_pre_hooks):
            memo[id(hooks)] = OrderedDict()  # never copied: a hook may hold what a copy cannot be made of
    return copy.deepcopy(module, memo)
