"""Weights that a layer's own forward computes at every call, as weight standardization does, become plain parameters.

What is pruned is then the weight that the convolution really uses. A layer whose weights depend on the picture, or that
does more than to compute them, stays as it is.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spade_core.models.weight_calls import CONV2D, LINEAR, PARAMETERS

_PLAIN: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)


class _Used(TorchFunctionMode):
    """Remember the weight of the last convolution or product."""

    weight: Tensor | None = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in CONV2D or func in LINEAR:
            self.weight = (dict(zip(PARAMETERS, args, strict=False)) | (kwargs or {})).get("weight")
        return func(*args, **(kwargs or {}))


def fold_weights(network: nn.Module, pictures: Tensor) -> None:
    """Make plain layers, in place, of those that compute their weights and nothing else.

    Each becomes one only if its output stays bit-identical and its weights are the same for two inputs.

    Args:
        network: in eval mode; its tensors are its own.
        pictures: an input, ``(n, channels, height, width)``; the second one is its mirror image at half the contrast.
    """
    layers = [child for child in network.modules() if _computes(child)]
    found = _computed_weights(network, layers, pictures[:1].clone()) if layers else {}
    again = _computed_weights(network, list(found), pictures[:1].flip(-1) / 2) if found else {}
    for layer in found.keys() & again.keys():
        if torch.equal(found[layer], again[layer]):
            _make_plain(layer, found[layer])


def _computed_weights(network: nn.Module, layers: Iterable[nn.Module], x: Tensor) -> dict[nn.Module, Tensor]:
    """Return the weights that the layers computed, of those that with these as their own give the same output."""
    found: dict[nn.Module, Tensor] = {}
    other: set[nn.Module] = set()
    with torch.no_grad(), ExitStack() as hooks, _Used() as used:

        def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            if used.weight is not None and _fits(layer, given, output, used.weight):
                found[layer] = used.weight
            else:
                other.add(layer)

        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(note))
        network(x)
    return {layer: weight for layer, weight in found.items() if layer not in other}


def _computes(layer: nn.Module) -> bool:
    """Whether a layer with weights has a forward of its own."""
    plain = next((kind for kind in _PLAIN if isinstance(layer, kind)), None)
    return plain is not None and type(layer).forward is not plain.forward and "forward" not in vars(layer)


def _fits(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor, weight: Tensor) -> bool:
    """Whether a plain layer with ``weight``, another tensor than the layer's own, gives the same output."""
    own = layer.get_parameter("weight")
    if weight is own or weight.shape != own.shape or len(given) != 1:
        return False
    if isinstance(layer, nn.Conv2d):
        return torch.equal(layer._conv_forward(given[0], weight, layer.bias), output)
    return torch.equal(F.linear(given[0], weight, layer.bias), output)  # type: ignore[arg-type]


def _make_plain(layer: nn.Module, weight: Tensor) -> None:
    plain = next(kind for kind in _PLAIN if isinstance(layer, kind))
    layer.register_parameter("weight", nn.Parameter(weight.detach().clone(), requires_grad=False))
    layer.forward = types.MethodType(plain.forward, layer)
