"""Read a layer of a network by name: its value before the activation, as maps, whatever the architecture."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from spade_core.errors import LayerError
from spade_core.isolation import full_precision
from spade_core.models.canonical.activations import is_activation
from spade_core.models.layers import share_copy
from spade_core.models.layouts import Layout, Layouts
from spade_core.neurons import LOGITS, LayerShape, split_token

_BLOCK = re.compile(r"(?:^|[._])\d+$")  # the whole of a repeated block, not a part of it


def as_maps(y: Tensor, layout: Layout | None, token: int | None = None) -> Tensor:
    """Return a layer's output as ``(n, channels, rows, columns)``.

    Tokens become a map without the class token; a vector becomes a map of one place, and so does a single token.

    Args:
        layout: how the output holds a map, see :class:`~spade_core.models.layouts.Layouts`; None: not at all.
        token: index of the one that is wanted, class token and registers counted, or None.

    Raises:
        LayerError: the output has neither, or no such token.
    """
    if token is not None:
        if y.dim() != 3 or token >= y.shape[1]:
            held = f"{y.shape[1]} tokens" if y.dim() == 3 else "no tokens"
            raise LayerError(
                f"The layer puts out {held}, and so has no token {token}: choose another, or leave it out."
            )
        return y[:, token, :, None, None]
    if y.dim() == 2:
        return y[:, :, None, None]
    if layout is not None:
        return layout.to_maps(y)
    if y.dim() == 3:
        return y.transpose(1, 2).unsqueeze(3)
    if y.dim() == 4:
        return y
    raise LayerError(f"An output of shape {tuple(y.shape)} holds no channels that can be visualized: choose another.")


@contextlib.contextmanager
def read_layers(
    module: nn.Module, names: Sequence[str], form: Callable[[Tensor, Layout | None, int | None], Tensor] = as_maps
) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that holds the named layers' values after every forward pass of ``module``.

    An activation is read before it is applied; so is whatever returns the very output of an activation inside it: a
    normalization fused with one, a residual block, a sequence. Of a module that is called several times the last call
    counts. An activation that is called as a function cannot be seen: a canonical model has none but those that its
    notes name. What the network does in place later changes no value, and every value stays part of the graph. The
    hooks are removed at the end.

    Args:
        module: a private copy, see ``layers.share_copy``.
        names: of modules, ``NAME@INDEX`` for a token, or ``logits``, which are always read, as the network gives them.
        form: what is kept of a layer's value, given how it holds a map, and the token's index.

    Raises:
        LayerError: there is no layer of a name.
    """
    seen: dict[str, Tensor] = {}
    layouts, given = Layouts(module), torch.empty(0)

    def look(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal given
        given = args[0]

    def kept(name: str, value: Tensor) -> Tensor:
        layer, token = split_token(name)
        return form(value, layouts.of("" if name == LOGITS else layer, value.shape, given), token)

    before = _BeforeActivations(kept, seen)
    with contextlib.ExitStack() as hooks:
        hooks.callback(before.calls.clear)
        hooks.enter_context(module.register_forward_pre_hook(look))
        layers = {name: _find(module, split_token(name)[0]) for name in names if name != LOGITS}
        activations = (child for layer in layers.values() for child in layer.modules() if is_activation(child))
        for child in dict.fromkeys(activations):  # first: where the layer itself is one, it is known when it is read
            hooks.enter_context(child.register_forward_pre_hook(before.enter))
            hooks.enter_context(child.register_forward_hook(before.leave))
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(partial(before.read, name)))
        hooks.enter_context(module.register_forward_hook(lambda _m, _a, y: seen.__setitem__(LOGITS, kept(LOGITS, y))))
        hooks.enter_context(module.register_forward_hook(lambda *_: before.calls.clear()))
        yield seen


class _BeforeActivations:
    """What the activations were given and what they made of it, in their last calls.

    Attributes:
        calls: activation -> input and output.
    """

    def __init__(self, form: Callable[[str, Tensor], Tensor], seen: dict[str, Tensor]) -> None:
        self.calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._form, self._seen = form, seen
        self._given: dict[nn.Module, Tensor] = {}

    def read(self, name: str, layer: nn.Module, _args: tuple, y: object) -> Tensor | None:
        """Note the input of the activation whose output ``layer`` returns as ``y``, or ``y`` where none did; a hook.

        Then a copy takes the place of ``y`` in the network: what follows may write into it, as ``x += shortcut`` does.
        """
        if not isinstance(y, Tensor):
            raise LayerError(f"The output of {name} is no tensor: choose a convolution, a block or a linear layer.")
        for child in layer.modules():
            x, result = self.calls.get(child, (None, None))
            if result is y and x is not None and x.shape == y.shape:  # a gated unit makes another shape
                self._seen[name] = self._form(name, x)
                return None
        self._seen[name], copy = self._form(name, y), y.clone()
        self.calls |= {child: (x, copy) for child, (x, result) in self.calls.items() if result is y}
        return copy

    def enter(self, activation: nn.Module, args: tuple) -> None:
        """Keep what an activation is given; a hook."""
        x = args[0]
        if getattr(activation, "inplace", False):
            x = x.clone()
            args[0].copy_(x)  # so that what is about to be overwritten was made from the kept value
        self._given[activation] = x

    def leave(self, activation: nn.Module, _args: tuple, y: Tensor) -> None:
        """Keep what it made of it; a hook."""
        self.calls[activation] = self._given.pop(activation), y


@full_precision()
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


def layer_shapes(module: nn.Module, x: Tensor) -> tuple[LayerShape, ...]:
    """List the layers whose output has channels, in the order of computation, the logits last.

    Where a block puts out tokens with one before the patches, that one, no place of the map, follows as a layer.

    Args:
        module: a private copy; hooks set here are removed.
    """
    found: dict[str, LayerShape] = {}
    names: Mapping[nn.Module, str] = {child: name for name, child in module.named_modules() if name}
    layouts = Layouts(module)

    def note(child: nn.Module, _args: tuple, y: object) -> None:
        if not isinstance(y, Tensor) or y.shape[:1] != x.shape[:1] or y.dim() not in (2, 3, 4):
            return
        name, kind = names[child], type(child).__name__
        maps = as_maps(y, layouts.of(name, y.shape, x))
        found[name] = LayerShape(name, kind, *maps.shape[1:])
        if y.dim() == 3 and maps[0, 0].numel() < y.shape[1] and _BLOCK.search(name):
            found[f"{name}@0"] = LayerShape(f"{name}@0", kind, maps.shape[1], 1, 1)

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for child in names:
            hooks.enter_context(child.register_forward_hook(note))
        logits = module(x)
    maps = as_maps(logits, layouts.of("", logits.shape, x))
    return (*found.values(), LayerShape(LOGITS, "output", *maps.shape[1:]))
