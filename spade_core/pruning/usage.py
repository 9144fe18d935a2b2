"""Which weights a forward pass really uses, in which order, and whether views can be told apart inside it."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.models.layers import Layer, prunable_layers
from spade_core.models.weight_calls import Call, WeightCalls
from spade_core.pictures.size import Size, sides_of

_CACHE: weakref.WeakKeyDictionary[nn.Module, dict[Size, Survey]] = weakref.WeakKeyDictionary()
ACTIVATIONS_ALIVE = 3  # layers whose activations live at once, as a rule of thumb for residual networks


@dataclass(frozen=True)
class Survey:
    """What two small passes showed.

    Attributes:
        uses: parameter name -> how often one pass calls it, in the order of the first calls.
        lockstep: whether the first half of a batch stays the first half of every layer's input, as the sequential
            calibration needs.
        bytes_per_view: estimate of the memory that one view's activations need.
    """

    uses: Mapping[str, int]
    lockstep: bool
    bytes_per_view: int

    def missing_reason(self, layer: Layer) -> str:
        """Say why a layer has no captured input."""
        if layer.kind == "attention":
            return "not captured: this attention does not project query, key and value of one input together"
        return "not captured: the forward pass never hands this weight itself to F.conv2d or F.linear"


def survey(module: nn.Module, size: Size, device: torch.device | str = "cpu", *, channels: int = 3) -> Survey:
    """Run ``module`` on one and on two random pictures of ``size`` and note the calls of its weights.

    The result is kept as long as the module lives.
    """
    known = _CACHE.setdefault(module, {})
    if size not in known:
        known[size] = _survey(module, (2, channels, *sides_of(size)), device)
    return known[size]


def _survey(module: nn.Module, shape: Sequence[int], device: torch.device | str) -> Survey:
    generator = torch.Generator().manual_seed(0)
    dtype = next(module.parameters()).dtype
    pictures = torch.randn(*shape, generator=generator).to(device, dtype)
    weights = {layer.parameter: module.get_parameter(layer.parameter) for layer in prunable_layers(module)}
    single, double = (_record(module, pictures[:count], weights) for count in (1, 2))
    uses = Counter(name for name, _ in single)
    lockstep = len(single) == len(double) and all(
        _halves(small, large) for (_, small), (_, large) in zip(single, double, strict=True)
    )
    largest = max((x.numel() * x.element_size() for _, x in single), default=1)
    return Survey(uses, lockstep, ACTIVATIONS_ALIVE * largest)


def _record(module: nn.Module, pictures: Tensor, weights: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    seen: list[tuple[str, Tensor]] = []

    def note(name: str, x: Tensor, _weight: Tensor, _call: Call) -> None:
        seen.append((name, x.detach()))

    with torch.no_grad(), WeightCalls(weights, note):
        module(pictures)
    return seen


def _halves(small: Tensor, large: Tensor) -> bool:
    if large.shape[1:] != small.shape[1:] or large.shape[0] != 2 * small.shape[0]:
        return False
    scale = float(small.abs().max()) or 1.0
    return bool(((large[: small.shape[0]] - small).abs().max() / scale) < 1e-3)
