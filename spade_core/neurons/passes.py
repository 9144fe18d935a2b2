"""One forward pass of a network and one backward pass to its input, as fast as it can be had.

In eval mode a batch normalization is one more scale and shift of each channel, which the weights of the convolution
before it can take over (:func:`fold_norms`). A pass then saves a read and a write of every normalized map, and the same
again on the way back.

On a GPU passes are replayed as CUDA graphs (:func:`fastest`): a pass over one small image is some hundred kernels of a
few microseconds. Launched one by one they keep the processor busy for several times as long as the GPU; a graph
launches all of them at once. The transforms change the image's size from step to step, so there is one graph for each.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spade_core.models.layers import share_copy
from spade_core.neurons.layer_values import read_layers
from spade_core.neurons.objectives import Aims, Layers

logger = logging.getLogger(__name__)

Ascent = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images ``(n, 3, height, width)`` -> each image's value, ``(n,)``, and the gradient, by which it falls, to them."""


class Pass:
    """Calls the network and asks for the gradient, like any other code.

    Args:
        module: in eval mode, on the images' device.
        layers: what ``read_layers`` yields for it.
        aim: makes the aims once the layers have been seen; may raise ``LayerError``.
    """

    def __init__(self, module: nn.Module, layers: dict[str, Tensor], aim: Callable[[Layers], Aims]) -> None:
        self._module, self._layers, self._aim = module, layers, aim
        self._aims: Aims | None = None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :data:`Ascent`."""
        x = x.detach().requires_grad_()
        self._module(x)
        if self._aims is None:
            self._aims = self._aim(self._layers)
        values, loss = self._aims(self._layers)
        (gradient,) = torch.autograd.grad(loss, x)
        self._layers.clear()
        return values, gradient


class _Replayed:
    """Records a pass for every size at its first call; where that cannot be done, calls it as it is.

    A graph keeps the addresses of all that it used: the recorded network's tensors must live and stay where they are.
    It is held with the memory that it reads and writes: images, values, gradient.
    """

    def __init__(self, plain: Pass) -> None:
        self._plain = plain
        self._recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()  # the graphs run one after the other and share their memory
        self._refused = False

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :data:`Ascent`."""
        if self._refused:
            return self._plain(x)
        if x.shape not in self._recorded:
            # On a stream of its own: libraries set themselves up at a first call, which must not be recorded.
            stream, current = torch.cuda.Stream(x.device), torch.cuda.current_stream(x.device)
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                found = self._plain(x)
            current.wait_stream(stream)
            try:
                given, graph = x.detach().clone(), torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                    values, gradient = self._plain(given)
                self._recorded[x.shape] = graph, given, values, gradient
            except RuntimeError as error:  # the network waits for the GPU, or copies from pageable memory
                logger.info("this network's passes cannot be recorded, they are launched one by one: %s", error)
                self._refused = True
                # A recording that failed leaves the random generator as if it were still going on: record nothing.
                with warnings.catch_warnings(), torch.cuda.graph(torch.cuda.CUDAGraph()):
                    warnings.filterwarnings("ignore", message="The CUDA Graph is empty")
            return found
        graph, given, values, gradient = self._recorded[x.shape]
        given.copy_(x)
        graph.replay()
        return values.clone(), gradient.clone()  # the next graph may write to the same memory


def fastest(plain: Pass, device: torch.device) -> Ascent:
    """Return ``plain`` in the fastest form that the device has."""
    return _Replayed(plain) if device.type == "cuda" else plain


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
            # What is read, or has inside it what is read, stays as it is.
            if not any(f"{layer}.".startswith(f"{name}.") for name in (convolution, norm) for layer in read):
                first = cast(nn.Conv2d, folded.get_submodule(convolution))
                second = cast(nn.BatchNorm2d, folded.get_submodule(norm))
                folded.set_submodule(convolution, fuse_conv_bn_eval(first, second))
                folded.set_submodule(norm, _REST[type(second)](second))
        after = _values(folded, example, read)
    if all((after[name] - value).abs().max() <= TOLERANCE * value.abs().max() for name, value in before.items()):
        return folded
    logger.info("the normalizations of this %s stay: folded, it computes something else", type(module).__name__)
    return plain


def _values(module: nn.Module, example: Tensor, read: Sequence[str]) -> dict[str, Tensor]:
    with read_layers(module, read) as seen:
        module(example)
        return {name: value.clone() for name, value in seen.items()}


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

    with ExitStack() as hooks:
        for name, child in module.named_modules(remove_duplicate=False):
            if isinstance(child, nn.Conv2d):
                hooks.enter_context(child.register_forward_hook(lambda _m, _a, y, name=name: note(name, y)))
            elif type(child) in _REST and child.running_mean is not None:
                hooks.enter_context(child.register_forward_pre_hook(lambda _m, x, name=name: match(name, *x)))
        yield lambda: [pair for pair in found if calls[pair[0]] == calls[pair[1]] == 1]
