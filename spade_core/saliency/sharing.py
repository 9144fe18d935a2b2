"""How a convolution or a linear layer shares out the relevance of its outputs, for layer-wise relevance propagation.

A rule is a sum of contributions that replaces the layer's own: what it hands back to an input is that input's part of
the sum (Montavon et al. 2019, section 10.2). What ``one`` multiplies goes to no input and counts as absorbed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Affine:
    """A convolution or a linear layer as it is called.

    Attributes:
        func: what is called with ``given``: input, weight, bias and more by PyTorch's names.
        one: scalar 1 that wants a gradient.
    """

    func: Callable[..., Tensor]
    given: Mapping[str, Any]
    one: Tensor

    def value(self) -> Tensor:
        """Return what the layer computes, without a gradient."""
        with torch.no_grad():
            return self.func(**self.given)

    def plain(self) -> Tensor:
        """Return the layer's own sum."""
        return self.with_bias(self.func(**{**self.given, "bias": None}), lambda bias: bias)

    def part(self, values: Tensor, sign: int) -> Tensor:
        """Return the sum over the weights of one sign, for other inputs."""
        weight = self.given["weight"]
        chosen = weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)
        return self.func(**{**self.given, "input": values, "weight": chosen, "bias": None})

    def alike(self, sign: int) -> Tensor:
        """Return the sum of the contributions of one sign, the bias's among them."""
        x = self.given["input"]
        found = self.part(x.clamp(min=0), sign) + self.part(x.clamp(max=0), -sign)
        return self.with_bias(found, lambda bias: bias.clamp(min=0) if sign > 0 else bias.clamp(max=0))

    def with_bias(self, found: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return ``found`` and the changed bias, if there is one; what the bias gets is absorbed."""
        if self.given.get("bias") is None:
            return found
        bias = change(self.given["bias"])
        return found + (bias.view(-1, 1, 1) if self.given["weight"].ndim == 4 else bias) * self.one


Rule: TypeAlias = Callable[[Affine, Tensor], Tensor]
"""From a layer and its value to the contributions that share its relevance."""


def plain(layer: Affine, _value: Tensor) -> Tensor:
    """LRP-0: the layer's own sum."""
    return layer.plain()


def alpha1_beta0(layer: Affine, _value: Tensor) -> Tensor:
    """The positive contributions alone (Bach et al. 2015)."""
    return layer.alike(1)


def epsilon(layer: Affine, value: Tensor, share: float) -> Tensor:
    """LRP-epsilon: the layer's own sum, and a constant away from zero that absorbs what is weak or contradicts itself.

    share: of the output's root mean square, which is the constant's size.
    """
    size = share * value.square().mean().sqrt()
    return layer.plain() + torch.where(value < 0, -size, size) * layer.one


def gamma(layer: Affine, value: Tensor, favour: float) -> Tensor:
    """LRP-gamma: contributions of the output's own sign count ``1 + favour`` times.

    The original favours positive ones, as its outputs are those of a ReLU. An output of a linear bottleneck may be
    negative, and would be divided by nearly zero.
    """
    return layer.plain() + favour * torch.where(value < 0, layer.alike(-1), layer.alike(1))


def z_beta(layer: Affine, low: Tensor, high: Tensor) -> Tensor:
    """zB, for pixels between ``low`` and ``high`` (Montavon et al. 2017)."""
    found = layer.func(**{**layer.given, "bias": None})
    return found - layer.part(low, 1) - layer.part(high, -1)
