"""Give a network a form in which every activation can be hooked, without changing what it computes.

Attribution rules (DeepLift, GuidedBackprop, LRP) hook activation modules. They silently fail, or raise, where an
activation works in place, is a function call, or is one module used several times; and the inputs of attention's
projections are invisible. :func:`canonize` rewrites exactly these places, on a copy:

1. weights that are recomputed at every call (weight and spectral normalization, pruning masks, weight standardization)
   become plain parameters, see :mod:`spade_core.models.canonical.copying`;
2. a copy of an activation module registered in several places goes to each place; ``inplace`` flags are cleared;
   functions kept as attributes (``self.act = F.relu``) become modules;
3. ``nn.MultiheadAttention`` becomes :class:`~spade_core.models.canonical.attention.ExplicitAttention`;
4. modules that call activations as functions, or one activation module several times, are traced by ``torch.fx``
   with every child as a leaf and get a rewritten ``forward``; class, attributes and parameter names stay.
"""

from __future__ import annotations

import logging
import operator
import threading
import types
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument

from spade_core.errors import ModelError
from spade_core.models.canonical.activations import (
    FUNCTIONS,
    METHODS,
    SEPARATED,
    Probe,
    activation_module,
    hidden_module,
    plain_name,
    probe,
)
from spade_core.models.canonical.attention import use_explicit_attention
from spade_core.models.canonical.copying import own_copy
from spade_core.models.layers import share_copy
from spade_core.models.reference import Reference, answers_of
from spade_core.models.weight_calls import WeightCalls

logger = logging.getLogger(__name__)

_REWRITE_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, NameError, LookupError, AssertionError)
_TRACING = threading.Lock()  # torch.fx patches nn.Module for the whole process while it traces
_IN_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul}
_IN_PLACE[operator.itruediv] = operator.truediv
_IN_PLACE_METHODS = {"add_", "sub_", "mul_", "div_"}  # they overwrite what a gradient may need

Step = Callable[[nn.Module, Tensor], tuple[str, ...] | None]  # changes a copy, and may say what stays as it was


def canonize(module: nn.Module, example: Tensor, seen: Reference | None = None) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a canonical copy of ``module`` and sentences about what was left behind or had to stay as it was.

    The copy owns its tensors, is in eval mode, carries no hooks and needs no gradients; the names in its state dict
    are those of ``module``, but for recomputed weights. Each rewrite is kept only if the output for ``example`` is
    bit-identical (within 1e-5 of the largest output where attention was made explicit).

    Args:
        example: an input, ``(n, 3, height, width)``, on the module's device and in its dtype. Two different pictures
            show more than one: a rewrite that would mix up the batch is then noticed.
        seen: what the untouched ``module`` answers, with which the copy must agree; None: ``module`` is believed.

    Raises:
        ModelError: the module cannot be copied, answers otherwise as a copy, or has no tensor output for ``example``.
    """
    base, told = own_copy(module, example)
    if seen is None:
        seen = Reference(example, answers_of(base, example))
    else:
        answers = _checked_copy(module, base, seen)
        seen = replace(seen, pictures=seen.pictures.to(next(base.parameters())), answers=answers)
    whole, notes = _attempt(base, _STEPS, seen)
    if whole is not None:
        return whole, told + notes
    for step in _STEPS:
        changed, notes = _attempt(base, (step,), seen)
        base = base if changed is None else changed
        told += notes
    return base, told


def _checked_copy(module: nn.Module, base: nn.Module, seen: Reference) -> Tensor:
    """Return a copy's answers; refuse one that answers otherwise than ``module``, or by means of it."""
    reached: list[str] = []
    with WeightCalls(dict(module.named_parameters()), lambda name, *_: reached.append(name)):
        answers = seen.answers_of(base)
    if reached:
        raise ModelError(
            f"Its forward uses {reached[0]} of the module itself, not of a copy, as a lambda or closure does: "
            "let it reach its layers through self."
        )
    if (found := seen.gap(answers)) > seen.tolerance:
        hooks = [name or "the model" for name, child in module.named_modules() if _hooked(child)]
        reason = f"the hooks or pre-hooks on {', '.join(hooks[:3])} change them" if hooks else "it depends on its past"
        raise ModelError(
            f"A copy of the network gives other answers (by {found:.2g} of the largest): {reason}. "
            "Write what they depend on into its forward."
        )
    return answers


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _attempt(base: nn.Module, steps: tuple[Step, ...], seen: Reference) -> tuple[nn.Module | None, tuple[str, ...]]:
    """Apply ``steps`` to a copy of ``base``; return it, or None where the output is no longer the same."""
    twin = share_copy(base)
    names = " and ".join((step.__doc__ or "").split("\n")[0].rstrip(".").lower() for step in steps)
    try:
        notes = tuple(note for step in steps for note in step(twin, seen.pictures[:1].clone()) or ())
        output = seen.answers_of(twin)
    except _REWRITE_ERRORS as error:
        logger.info("could not %s: %s", names, error)
        return None, (f"It was not possible to {names}: {error}",)
    tolerance = 1e-5 * float(seen.answers.abs().max().clamp(min=1.0)) if _explicit_attention in steps else 0.0
    if torch.allclose(output, seen.answers, rtol=0.0, atol=tolerance, equal_nan=True):
        return twin, notes
    return None, (f"The model's output changed by the attempt to {names}; that was left as it was.",)


def _separate(module: nn.Module, _example: Tensor) -> None:
    """Separate modules registered in several places."""
    seen: set[int] = set()
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and id(child) in seen and _stateless(child):
                parent._modules[name] = share_copy(child)
            seen.add(id(child))
        for name, value in list(vars(parent).items()):
            if callable(value) and value in FUNCTIONS:
                setattr(parent, name, activation_module(FUNCTIONS[value]))


def _out_of_place(module: nn.Module, _example: Tensor) -> None:
    """Clear in-place flags."""
    for child in module.modules():
        if getattr(child, "inplace", False) is True:
            child.inplace = False  # type: ignore[assignment]


def _explicit_attention(module: nn.Module, _example: Tensor) -> None:
    """Make attention explicit."""
    use_explicit_attention(module)


def _stateless(module: nn.Module) -> bool:
    return not any(True for _ in module.parameters()) and not any(True for _ in module.buffers())


def _split(module: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Give every use of an activation its own module."""
    seen = probe(module, example.clone())
    owners = _owners(module, seen)
    notes = []
    # Inner ones first: a wrapper around an activation is rewritten before its copies are made.
    for owner in sorted(owners, key=lambda name: name.count(".") + bool(name), reverse=True):
        try:
            _rewrite(module.get_submodule(owner), owners[owner], seen.constants[owner])
        except _REWRITE_ERRORS as error:
            logger.info("cannot trace %s: %s", owner, error)
            notes.append(f"Activations inside {owner or 'the model'} stay as they are: its forward cannot be traced.")
    shared = list(probe(module, example.clone()).reused()) if owners else []
    if shared and not notes:
        few = ", ".join(shared[:3]) + (" ..." if len(shared) > 3 else "")
        notes.append(f"{len(shared)} activations are used several times, because whole layers are: {few}.")
    return tuple(notes)


def _owners(module: nn.Module, seen: Probe) -> dict[str, set[str]]:
    """Return the modules whose forward is to be rewritten, each with the children that it calls several times."""
    owners: dict[str, set[str]] = {owner: set() for owner in seen.functional}
    wrappers = [owner for owner in seen.functional if owner and _stateless(module.get_submodule(owner))]
    for unit in (*seen.reused(), *wrappers):
        while unit in seen.callers:
            callers = seen.callers[unit]
            for caller in set(callers):
                if callers.count(caller) > len(seen.callers.get(caller, [caller])):
                    owners.setdefault(caller, set()).add(unit.removeprefix(f"{caller}."))
            # A module around it that is itself used several times, and holds nothing, is copied with it.
            if len(set(callers)) > 1 or not _stateless(module.get_submodule(callers[0])):
                break
            unit = callers[0]
    return owners


class _ChildrenAreLeaves(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True

    def call_module(self, m: nn.Module, forward: Callable[..., object], args: tuple, kwargs: dict) -> object:
        if threading.get_ident() != self.thread:  # somebody else's model, called while this one is traced
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: object, parameter_proxy_cache: dict) -> object:
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _rewrite(owner: nn.Module, repeated: set[str], constants: Mapping[str, object]) -> None:
    """Give ``owner`` a forward in which every activation, and each use of ``repeated``, is a child called once."""
    with _TRACING:
        graph = _ChildrenAreLeaves().trace(owner, concrete_args=dict(constants))
    made: dict[str, nn.Module] = {}
    used: set[str] = set()
    for node in list(graph.nodes):
        if node.op == "placeholder" and node.target.removesuffix("_1") in constants:
            node.target = node.target.removesuffix("_1")  # fx renames constants, callers use the old name
        elif node.op == "call_function" and node.target in _IN_PLACE:
            node.target = _IN_PLACE[node.target]
            _renew(node)
        elif node.op == "call_method" and node.target in _IN_PLACE_METHODS:
            node.target = node.target.removesuffix("_")
            _renew(node)
        child, args, kwargs = _separate_use(node, owner, used, repeated)
        if child is not None:
            name = f"activation_{len(made)}"
            made[name] = child
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_module(name, args, kwargs))
            graph.erase_node(node)
    for name, child in made.items():
        owner.add_module(name, child)
    graph.lint()
    # A bound function in the instance survives deepcopy, and the module keeps its class and its names.
    owner.forward = types.MethodType(type(fx.GraphModule(owner, graph)).forward, owner)


def _renew(node: fx.Node) -> None:
    """Let all that comes after ``node``, which no longer works in place, read its result, not its first input."""
    changed = node.args[0]
    if isinstance(changed, fx.Node):
        changed.replace_all_uses_with(node, delete_user_cb=lambda user: node < user)


Use = tuple[nn.Module | None, tuple, dict[str, Argument]]


def _separate_use(node: fx.Node, owner: nn.Module, used: set[str], repeated: set[str]) -> Use:
    """Return the module that replaces this use of an activation, with its arguments; None where it stays."""
    names = FUNCTIONS if node.op == "call_function" else METHODS if node.op == "call_method" else {}
    if node.target in names:
        kwargs = dict(node.kwargs)
        x = node.args[0] if node.args else kwargs.pop("input")
        return activation_module(names[node.target], node.args[1:], kwargs), (x,), {}  # type: ignore[index]
    if node.op in ("call_function", "call_method") and node.args:
        constants = not any(isinstance(value, fx.Node) for value in (*node.args[1:], *node.kwargs.values()))
        child = hidden_module(plain_name(node.target), node.args[1:], node.kwargs) if constants else None
        if child is not None:
            return child, node.args[:1], {}
    again, target = node.op == "call_module" and node.target in used, str(node.target)
    if node.op == "call_module":
        used.add(target)
    if again and (target in repeated or isinstance(owner.get_submodule(target), SEPARATED)):
        return share_copy(owner.get_submodule(target)), node.args, dict(node.kwargs)
    return None, (), {}


_STEPS: tuple[Step, ...] = (_separate, _out_of_place, _explicit_attention, _split)
