"""One forward pass of a network and one backward pass to its input; on a GPU, replayed as CUDA graphs.

A pass over one small image is some hundred kernels of a few microseconds. Launched one by one they keep the processor
busy for several times as long as the GPU; a graph launches all of them at once. The transforms change the image's size
from step to step, so there is one graph for each size.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spade_core.neurons.objectives import Aims

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

    def __init__(
        self, module: nn.Module, layers: dict[str, Tensor], aim: Callable[[Mapping[str, Tensor]], Aims]
    ) -> None:
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


@dataclass(frozen=True, eq=False)
class _Recorded:
    """A graph with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    values: Tensor
    gradient: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.x.copy_(x)
        self.graph.replay()
        return self.values.clone(), self.gradient.clone()  # the next graph may write to the same memory


class _Replayed:
    """Records a pass for every size at its first call; where that cannot be done, calls it as it is.

    A graph keeps the addresses of all that it used: the recorded network's tensors must live and stay where they are.
    """

    def __init__(self, plain: Pass) -> None:
        self._plain = plain
        self._recorded: dict[torch.Size, _Recorded] = {}
        self._pool = torch.cuda.graph_pool_handle()  # the graphs run one after the other and share their memory
        self._refused = False

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :data:`Ascent`."""
        if self._refused:
            return self._plain(x)
        if x.shape not in self._recorded:
            found = self._run_beside(x)
            try:
                self._recorded[x.shape] = self._record(x)
            except RuntimeError as error:  # the network waits for the GPU, or copies from pageable memory
                logger.info("this network's passes cannot be recorded, they are launched one by one: %s", error)
                self._refused = True
                _record_nothing()
            return found
        return self._recorded[x.shape](x)

    def _run_beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run on a stream of its own: libraries set themselves up at a first call, which must not be recorded."""
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            found = self._plain(x)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        return found

    def _record(self, x: Tensor) -> _Recorded:
        kept, graph = x.detach().clone(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            values, gradient = self._plain(kept)
        return _Recorded(graph, kept, values, gradient)


def _record_nothing() -> None:
    """Begin and end a recording: one that failed leaves the random generator as if it were still going on."""
    with warnings.catch_warnings(), torch.cuda.graph(torch.cuda.CUDAGraph()):
        warnings.filterwarnings("ignore", message="The CUDA Graph is empty")


def fastest(plain: Pass, device: torch.device) -> Ascent:
    """Return ``plain`` in the fastest form that the device has."""
    return _Replayed(plain) if device.type == "cuda" else plain
