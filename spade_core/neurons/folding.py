"""Fold batch normalizations into the convolutions before them, on a copy, for passes that nobody looks inside.

In eval mode a batch normalization is one more scale and shift of each channel, which the convolution's own weights can
take over. A pass then saves a read and a write of every normalized map, and the same again on the way back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spade_core.models.layers import share_copy
from spade_core.neurons.layer_values import read_layers

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of the largest output; the largest seen among the registry's networks is 1e-5

# What is left of a normalization once its scale and shift are gone. Exact types: a subclass may compute something else.
_REST: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.BatchNorm2d: lambda _: nn.Identity(),
    BatchNormAct2d: lambda norm: nn.Sequential(norm.drop, norm.act),
}


def fold_norms(module: nn.Module, example: Tensor, *, read: Sequence[str] = ()) -> nn.Module:
    """Return a copy of ``module`` that computes the same with fewer passes over memory.

    Only pairs are folded where one forward pass shows that the normalization's input is the convolution's output, each
    called once. The copy shares all other tensors with ``module``. Values differ by rounding; if the output or a layer
    that is read differs by more for ``example``, the copy is returned as it was.

    Args:
        module: in eval mode; not changed.
        example: an input, ``(n, 3, height, width)``, on the module's device and in its dtype.
        read: names of the layers that will be read: nothing inside them is folded away.

    Raises:
        LayerError: there is no layer of a name.
    """
    plain = share_copy(module)
    with torch.no_grad():
        with _following(plain) as pairs:
            before = _values(plain, example, read)
        folded = share_copy(plain)
        for convolution, norm in pairs():
            if not any(_inside(name, layer) for name in (convolution, norm) for layer in read):
                _fold(folded, convolution, norm)
        after = _values(folded, example, read)
    if all(_close(after[name], value) for name, value in before.items()):
        return folded
    logger.info("the normalizations of this %s stay: folded, it computes something else", type(module).__name__)
    return plain


def _values(module: nn.Module, example: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
    with read_layers(module, read) as seen:
        module(example)
        return {name: value.clone() for name, value in seen.items()}


def _close(value: Tensor, wanted: Tensor) -> bool:
    return bool((value - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


def _inside(name: str, layer: str) -> bool:
    """Whether reading ``layer`` means to read ``name`` or a part of it."""
    return layer == name or layer.startswith(f"{name}.")


@contextmanager
def _following(module: nn.Module) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """Yield a function that tells, after a forward pass, which normalization follows which convolution."""
    calls: Counter[str] = Counter()
    made: dict[str, Tensor] = {}  # the tensors themselves, so that no identity is used again
    found: list[tuple[str, str]] = []

    def note(name: str, output: Tensor) -> None:
        calls[name] += 1
        made[name] = output

    def match(name: str, x: Tensor) -> None:
        calls[name] += 1
        found.extend((source, name) for source, output in made.items() if output is x)

    handles = []
    for name, child in module.named_modules(remove_duplicate=False):
        if isinstance(child, nn.Conv2d):
            handles.append(child.register_forward_hook(lambda _m, _a, y, name=name: note(name, y)))
        elif type(child) in _REST and child.running_mean is not None:
            handles.append(child.register_forward_pre_hook(lambda _m, args, name=name: match(name, args[0])))
    try:
        yield lambda: [pair for pair in found if calls[pair[0]] == calls[pair[1]] == 1]
    finally:
        for handle in handles:
            handle.remove()


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    first, second = module.get_submodule(convolution), cast(nn.BatchNorm2d, module.get_submodule(norm))
    module.set_submodule(convolution, fuse_conv_bn_eval(cast(nn.Conv2d, first), second))
    module.set_submodule(norm, _REST[type(second)](second))
