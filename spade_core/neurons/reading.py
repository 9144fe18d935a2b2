"""Read a layer of a network by name: its value before the activation, as maps, whatever the architecture."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.activations import is_activation
from spade_core.errors import LayerError
from spade_core.layers import share_copy
from spade_core.layouts import layout_of

__all__ = ["LOGITS", "LayerShape", "as_maps", "layer_shapes", "maps_of", "read_layers"]

LOGITS = "logits"
"""Name of the network's own output, beside the names of its modules."""


@dataclass(frozen=True)
class LayerShape:
    """One layer that can be read.

    Attributes:
        name: of the module; kind: its class.
        channels, rows, columns: of its maps; 1 x 1 where it has no places.
    """

    name: str
    kind: str
    channels: int
    rows: int
    columns: int

    def __str__(self) -> str:
        return f"{self.name} · {self.channels} x {self.rows} x {self.columns}"


def as_maps(y: Tensor) -> Tensor:
    """Return a layer's output as ``(n, channels, rows, columns)``.

    Tokens become a square map without the class token; a vector becomes a map of one place.

    Raises:
        LayerError: the output has neither.
    """
    if y.dim() == 2:
        return y[:, :, None, None]
    layout = layout_of(y.shape)
    if layout is not None:
        return layout.to_maps(y)
    if y.dim() == 3:
        return y.transpose(1, 2).unsqueeze(3)
    if y.dim() == 4:
        return y
    raise LayerError(f"An output of shape {tuple(y.shape)} holds no channels that can be visualized: choose another.")


@contextlib.contextmanager
def read_layers(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that holds the named layers' maps after every forward pass of ``module``.

    An activation, and a normalisation fused with one, is read before the activation is applied. Of a module that is
    called several times the last call counts. The hooks are removed at the end.

    Raises:
        LayerError: there is no layer of a name.
    """
    seen: dict[str, Tensor] = {}
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        handles.extend(_hook(_find(module, name), name, seen) for name in names if name != LOGITS)
        handles.append(module.register_forward_hook(lambda _m, _a, y: seen.__setitem__(LOGITS, as_maps(y))))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def maps_of(network: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Return a layer's maps of one input ``(1, 3, height, width)``, ``(channels, rows, columns)``.

    Raises:
        LayerError: there is no such layer.
    """
    module = share_copy(network)
    with torch.no_grad(), read_layers(module, [layer]) as seen:
        module(x)
        return seen[layer][0].clone()


def _find(module: nn.Module, name: str) -> nn.Module:
    known = dict(module.named_modules())
    if not name or name not in known:
        near = difflib.get_close_matches(name, list(known), n=3) or list(known)[-3:]
        raise LayerError(f"There is no layer {name!r}: did you mean {', '.join(near)}?")
    return known[name]


def _hook(layer: nn.Module, name: str, seen: dict[str, Tensor]) -> torch.utils.hooks.RemovableHandle:
    inner = _fused_activation(layer)
    if inner is not None:
        return inner.register_forward_pre_hook(lambda _m, args: seen.__setitem__(name, as_maps(args[0])))

    def note(_module: nn.Module, _args: tuple, y: object) -> None:
        if not isinstance(y, Tensor):
            raise LayerError(f"The output of {name} is no tensor: choose a convolution, a block or a linear layer.")
        seen[name] = as_maps(y)

    return layer.register_forward_hook(note)


def _fused_activation(layer: nn.Module) -> nn.Module | None:
    """Return the activation whose input is the layer's value: itself, or the one inside a fused normalisation."""
    if is_activation(layer):
        return layer
    inner = [child for child in layer.children() if is_activation(child)]
    normalises = isinstance(layer, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm)
    return inner[0] if normalises and inner else None


def layer_shapes(module: nn.Module, x: Tensor) -> tuple[LayerShape, ...]:
    """List the layers whose output has channels, in the order of computation, the logits last.

    Args:
        module: a private copy; hooks set here are removed.
        x: one input.
    """
    found: dict[str, LayerShape] = {}
    names: Mapping[nn.Module, str] = {child: name for name, child in module.named_modules() if name}

    def note(child: nn.Module, _args: tuple, y: object) -> None:
        if not isinstance(y, Tensor) or y.shape[:1] != x.shape[:1] or y.dim() not in (2, 3, 4):
            return
        maps = as_maps(y)
        found[names[child]] = LayerShape(names[child], type(child).__name__, *maps.shape[1:])

    handles = [child.register_forward_hook(note) for child in names]
    try:
        with torch.no_grad():
            logits = as_maps(module(x))
    finally:
        for handle in handles:
            handle.remove()
    return (*found.values(), LayerShape(LOGITS, "output", *logits.shape[1:]))
