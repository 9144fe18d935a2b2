"""Give a network a form in which every activation can be hooked, without changing what it computes.

Attribution rules (DeepLift, GuidedBackprop, LRP) hook activation modules. They silently fail, or raise, where an
activation works in place, is a function call, or is one module used several times; and the inputs of attention's
projections are invisible. :func:`canonize` rewrites exactly these places, on a copy:

1. a copy of an activation module registered in several places goes to each place; ``inplace`` flags are cleared;
   functions kept as attributes (``self.act = F.relu``) become modules;
2. modules that call activations as functions, or one activation module several times, are traced by ``torch.fx``
   with every child as a leaf and get a rewritten ``forward``; class, attributes and parameter names stay;
3. ``nn.MultiheadAttention`` becomes :class:`~spade_core.attention.ExplicitAttention`.
"""

from __future__ import annotations

import copy
import logging
import operator
import types
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from spade_core.activations import (
    FUNCTIONS,
    METHODS,
    activation_module,
    find_shared_activations,
    is_activation,
    probe,
)
from spade_core.attention import use_explicit_attention
from spade_core.errors import ModelError
from spade_core.layers import share_copy

__all__ = ["canonize", "find_shared_activations"]

logger = logging.getLogger(__name__)

_REWRITE_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, NameError, KeyError, NotImplementedError)
_IN_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul}

Step = Callable[[nn.Module, Tensor], tuple[str, ...]]


def canonize(module: nn.Module, example: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a canonical copy of ``module`` and sentences about what had to stay as it was.

    The copy owns its tensors, is in eval mode, carries no hooks and needs no gradients; the names in its state dict
    are those of ``module``. Each rewrite is kept only if the output for ``example`` is bit-identical (within 1e-5 of
    the largest output where attention was made explicit).

    Args:
        example: an input, ``(n, 3, height, width)``, on the module's device and in its dtype. Two different pictures
            show more than one: a rewrite that would mix up the batch is then noticed.

    Raises:
        ModelError: the module cannot be copied, or has no tensor output for ``example``.
    """
    base = _own_copy(module)
    with torch.no_grad():
        reference = base(example)
    if not isinstance(reference, Tensor):
        raise ModelError(f"The model returns a {type(reference).__name__}; a tensor of logits (n, classes) is needed.")
    whole, notes = _attempt(base, _STEPS, example, reference)
    if whole is not None:
        return whole, notes
    kept: tuple[str, ...] = ()
    for step in _STEPS:
        changed, notes = _attempt(base, (step,), example, reference)
        base = base if changed is None else changed
        kept += notes
    return base, kept


def _own_copy(module: nn.Module) -> nn.Module:
    try:
        twin = share_copy(copy.deepcopy(module))
    except RuntimeError as error:
        raise ModelError(f"The model cannot be copied ({error}); remove weight normalization from it first.") from error
    return twin.eval().requires_grad_(False)


def _attempt(
    base: nn.Module, steps: tuple[Step, ...], example: Tensor, reference: Tensor
) -> tuple[nn.Module | None, tuple[str, ...]]:
    """Apply ``steps`` to a copy of ``base``; return it, or None where the output is no longer the same."""
    twin = share_copy(base)
    names = " and ".join((step.__doc__ or "").split("\n")[0].rstrip(".").lower() for step in steps)
    try:
        notes = tuple(note for step in steps for note in step(twin, example))
        with torch.no_grad():
            output = twin(example)
    except _REWRITE_ERRORS as error:
        logger.info("could not %s: %s", names, error)
        return None, (f"It was not possible to {names}: {error}",)
    if _same(output, reference, exact=_explicit_attention not in steps):
        return twin, notes
    return None, (f"The model's output changed by the attempt to {names}; that was left as it was.",)


def _same(output: Tensor, reference: Tensor, *, exact: bool) -> bool:
    tolerance = 0.0 if exact else 1e-5 * float(reference.abs().max().clamp(min=1.0))
    return torch.allclose(output, reference, rtol=0.0, atol=tolerance, equal_nan=True)


def _separate(module: nn.Module, example: Tensor) -> tuple[str, ...]:  # noqa: ARG001
    """Separate shared activation modules."""
    seen: set[int] = set()
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and is_activation(child) and id(child) in seen:
                parent._modules[name] = share_copy(child)
            seen.add(id(child))
        for name, value in list(vars(parent).items()):
            if callable(value) and value in FUNCTIONS:
                setattr(parent, name, activation_module(FUNCTIONS[value]))
    return ()


def _out_of_place(module: nn.Module, example: Tensor) -> tuple[str, ...]:  # noqa: ARG001
    """Clear in-place flags."""
    for child in module.modules():
        if getattr(child, "inplace", False) is True:
            child.inplace = False
    return ()


def _explicit_attention(module: nn.Module, example: Tensor) -> tuple[str, ...]:  # noqa: ARG001
    """Make attention explicit."""
    use_explicit_attention(module)
    return ()


def _split(module: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Give every use of an activation its own module."""
    seen = probe(module, example)
    owners = dict.fromkeys(seen.functional)
    for name in seen.reused():
        owners.update(dict.fromkeys(seen.callers[name]))
    notes = []
    for owner in owners:
        try:
            _rewrite(module.get_submodule(owner), seen.constants[owner])
        except _REWRITE_ERRORS as error:
            logger.info("cannot trace %s: %s", owner, error)
            notes.append(f"Activations inside {owner or 'the model'} stay as they are: its forward cannot be traced.")
    return tuple(notes)


class _ChildrenAreLeaves(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def _rewrite(owner: nn.Module, constants: dict[str, object]) -> None:
    """Give ``owner`` a forward in which every activation is a child of its own, called once."""
    graph = _ChildrenAreLeaves().trace(owner, concrete_args=dict(constants))
    used: set[str] = set()
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in _IN_PLACE:
            node.target = _IN_PLACE[node.target]
        elif node.op == "call_function" and node.target in FUNCTIONS:
            kwargs = {key: value for key, value in node.kwargs.items() if key != "input"}
            x = node.args[0] if node.args else node.kwargs["input"]
            _call_module(graph, node, owner, activation_module(FUNCTIONS[node.target], node.args[1:], kwargs), x)
        elif node.op == "call_method" and node.target in METHODS:
            made = activation_module(METHODS[node.target], node.args[1:], dict(node.kwargs))
            _call_module(graph, node, owner, made, node.args[0])
        elif node.op == "call_module" and is_activation(owner.get_submodule(node.target)):
            if node.target in used:
                _call_module(graph, node, owner, share_copy(owner.get_submodule(node.target)), node.args[0])
            used.add(str(node.target))
    graph.lint()
    # A bound function in the instance survives deepcopy, and the module keeps its class and its names.
    owner.forward = types.MethodType(type(fx.GraphModule(owner, graph)).forward, owner)  # type: ignore[method-assign]


def _call_module(graph: fx.Graph, node: fx.Node, owner: nn.Module, made: nn.Module, x: fx.node.Argument) -> None:
    """Replace ``node`` by a call of ``made``, which becomes a child of ``owner``."""
    number = sum(name.startswith("activation_") for name, _ in owner.named_children())
    owner.add_module(f"activation_{number}", made)
    with graph.inserting_before(node):
        node.replace_all_uses_with(graph.call_module(f"activation_{number}", (x,)))
    graph.erase_node(node)


_STEPS: tuple[Step, ...] = (_separate, _out_of_place, _explicit_attention, _split)
