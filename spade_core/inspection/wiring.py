"""Which layers' outputs a layer reads, found in one forward pass and not guessed from names or sizes.

Every layer's output is cut from the graph and handed on as a leaf of its own. What a layer computes then depends on the
outputs that it reads *directly* and on nothing else: walking its graph to the leaves names its sources, and the
gradient to a leaf tells channel by channel how they reach it, through residual sums, concatenations, gates, token
layouts and attention alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spade_core.models.weight_calls import Call, WeightCalls

PICTURE = "picture"
"""Name of the node that stands for the network's input."""

_BATCH_NORM = {F.batch_norm, torch.batch_norm}


@dataclass(frozen=True, eq=False)
class Node:
    """One output in the network: a layer's, the same after its batch normalization, or the network's own.

    Attributes:
        layer: its name, with the number of the call where a weight is used several times; empty: the network's output.
        axis: of the channels; batches are of one.
        value: as computed, with a graph that ends at the leaves of ``sources``.
        leaf: the same numbers, where the graphs of whatever reads them end.
        sources: what it reads directly.
        base: of a normalized output, the layer's node; else None.
    """

    layer: str
    axis: int
    value: Tensor
    leaf: Tensor
    sources: tuple[Node, ...]
    base: Node | None = None

    def pull(self, cotangent: Tensor) -> dict[Node, Tensor]:
        """Return the gradient of ``(value * cotangent).sum()`` to the leaf of every source."""
        if not self.sources:
            return {}
        leaves = [source.leaf for source in self.sources]
        found = torch.autograd.grad(self.value, leaves, cotangent, retain_graph=True, materialize_grads=True)
        return dict(zip(self.sources, found, strict=True))


def wire(module: nn.Module, weights: Mapping[str, Tensor], x: Tensor) -> list[Node]:
    """Run ``module`` once and return its nodes in the order of computation: the picture first, the output last.

    An output that goes into a batch normalization in eval mode, which keeps channels apart, gets a second node.

    Args:
        module: in eval mode; not changed.
        weights: name -> parameter of ``module`` used by ``F.conv2d`` or ``F.linear``; the calls are the layers. A
            weight that is used in another way is no layer, and is looked through.
        x: one input, ``(1, 3, height, width)``.
    """
    with torch.enable_grad():
        cut = _Cut(weights)
        given = cut.add(PICTURE, 1, x.detach())
        with cut:
            output = module(given)
        cut.add("", 1, output)
    return cut.nodes


class _Cut(WeightCalls):
    """Replace every layer's output by a leaf, and note what was computed from which leaves."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights, self._layer)
        self.nodes: list[Node] = []
        self._calls: dict[str, int] = {}
        self._leaves: dict[int, Node] = {}
        self._given: dict[int, tuple[Node, Tensor]] = {}  # the tensors are held: their ids must stay theirs

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs)
        if func in _BATCH_NORM and args and id(args[0]) in self._given:
            training = args[5] if len(args) > 5 else (kwargs or {}).get("training", False)
            base, _ = self._given[id(args[0])]
            if not training and self._sources(result) == (base,):  # and nothing was added to it in place
                return self.add(base.layer, base.axis, result, base)
        return result

    def _layer(self, name: str, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        number = self._calls[name] = self._calls.get(name, 0) + 1
        value = call.output(x, weight)
        axis = value.dim() - 3 if call.kind == "conv2d" else value.dim() - 1
        return self.add(name if number == 1 else f"{name} (call {number})", axis, value)

    def add(self, layer: str, axis: int, value: Tensor, base: Node | None = None) -> Tensor:
        """Note a node; return what takes the place of its value."""
        leaf = value.detach().requires_grad_()
        node = Node(layer, axis, value, leaf, self._sources(value), base)
        self.nodes.append(node)
        self._leaves[id(leaf)] = node
        given = leaf.clone()  # a leaf itself must not be written to, and in-place operations may be all around
        if base is None:
            self._given[id(given)] = (node, given)
        return given

    def _sources(self, value: Tensor) -> tuple[Node, ...]:
        """Return the nodes of the leaves that a tensor's graph ends at."""
        found, seen, waiting = set(), set(), [value.grad_fn]
        while waiting:
            function = waiting.pop()
            if function is not None and function not in seen:
                seen.add(function)
                found.add(id(getattr(function, "variable", None)))
                waiting += [following for following, _ in function.next_functions]
        return tuple(node for key, node in self._leaves.items() if key in found)
