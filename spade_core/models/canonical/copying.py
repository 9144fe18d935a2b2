"""A copy of a network that owns its tensors, whatever keeps computed, shared or half-precision tensors in it.

Nothing that changes an answer gets lost on the way: what is left behind is named, and ``canonize`` compares.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from spade_core.compiler import compiler
from spade_core.errors import ModelError
from spade_core.models.canonical.folding import fold_weights
from spade_core.models.layers import share_copy

_WRAPPERS = {
    nn.DataParallel: ("module", "DataParallel"),
    nn.parallel.DistributedDataParallel: ("module", "DistributedDataParallel"),
    torch.optim.swa_utils.AveragedModel: ("module", "AveragedModel"),
}
_COPY_ERRORS = (RuntimeError, TypeError, AttributeError)
FEW = 3  # names in a sentence


def _wrapper(module: nn.Module) -> tuple[str, str] | None:
    """Return where a wrapper that computes the same has its network, and what it is called."""
    if (made := compiler()) is not None and type(module) is made.OptimizedModule:
        return "_orig_mod", "torch.compile"
    return _WRAPPERS.get(type(module))


def unwrapped(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network inside wrappers that compute the same, and a note for each wrapper.

    Raises:
        ModelError: it cannot be rewritten, being TorchScript or quantized, or has numbers that are not finite.
    """
    notes: list[str] = []
    while (wrapper := _wrapper(module)) is not None:
        module = getattr(module, wrapper[0])
        notes.append(f"The network inside {wrapper[1]} is taken; it computes the same.")
    for name, child in module.named_modules():
        part = f"Its part {name}" if name else "It"
        if isinstance(child, torch.jit.ScriptModule):
            raise ModelError(f"{part} is a TorchScript module: give the Python module that it was made from.")
        if ".quantized" in type(child).__module__:
            raise ModelError(f"{part} is quantized ({type(child).__name__}): give the network with float weights.")
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(value) or value.is_meta:
            raise ModelError(f"The weights have no values yet ({name}): call the network once, or load its weights.")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"The weights hold values that are not finite (in {name}): take another checkpoint.")
    return module, tuple(notes)


def own_copy(module: nn.Module, pictures: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a copy in eval mode, without hooks and gradients, in float32 (or float64), and notes.

    Weights that are computed at every call (weight and spectral normalization, weight standardization, pruning masks)
    become plain parameters with the values that they have for ``pictures``.

    Raises:
        ModelError: the network cannot be copied.
    """
    twin, shared = _copied(module)
    notes = [*shared, *_without_wrappers(twin)]
    if any(child._forward_pre_hooks and any(True for _ in _computed(child)) for child in twin.modules()):
        with torch.no_grad():  # the hooks compute the weights anew
            twin(pictures.clone())
    for child in twin.modules():
        _fix_weights(child)
    fold_weights(twin, pictures)
    notes += _widen(twin)
    notes += _hooks_told(twin)
    return share_copy(twin).requires_grad_(False), tuple(notes)


def _copied(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    memo, notes = _own_tensors(module)
    try:
        return copy.deepcopy(module, memo).eval(), notes
    except _COPY_ERRORS as error:
        raise ModelError(
            f"The model cannot be copied ({str(error).split('.')[0]}): remove what is no plain tensor or module from "
            "its modules."
        ) from error


def _own_tensors(module: nn.Module) -> tuple[dict[int, object], tuple[str, ...]]:
    """Return a memo for ``copy.deepcopy`` with a tensor for each of the module's, and notes.

    Tensors that are one under two objects become one, those that share memory in part have their own, and those that
    were computed with gradients, which refuse to be copied, get none.
    """
    memo: dict[int, object] = {}
    same: dict[tuple[object, ...], Tensor] = {}
    for child in module.modules():
        for value in vars(child).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    spans: list[tuple[int, int, str]] = []
    notes = []
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if type(value) not in (Tensor, nn.Parameter):
            continue
        start = value.data_ptr()
        key = (start, value.shape, value.stride(), value.dtype, type(value))
        if value.numel() and key not in same:
            stop = start + value.element_size() * (1 + sum((n - 1) * s for n, s in zip(*key[1:3], strict=True)))
            if other := next((one for begin, end, one in spans if begin < stop and start < end), None):
                notes.append(f"{name} shares memory with {other}, and is pruned apart from it.")
            spans.append((start, stop, name))
        fresh = same[key] if value.numel() and key in same else _alone(value)
        memo[id(value)] = same[key] = fresh
    return memo, tuple(notes)


def _without_wrappers(twin: nn.Module) -> Iterator[str]:
    for parent in list(twin.modules()):
        for name, child in list(parent._modules.items()):
            wrapper = _WRAPPERS.get(type(child))
            if wrapper is not None:
                parent._modules[name] = getattr(child, wrapper[0])
                yield f"Of its part {name} the network inside {wrapper[1]} is taken; it computes the same."


def _computed(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield plain tensors that are computed from parameters of like names, as ``weight`` from ``weight_orig``."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor) and any(key.startswith(f"{name}_") for key in module._parameters):
            yield name, value


def _fix_weights(module: nn.Module) -> None:
    """Make parameters of the weights that ``module`` computes at every call."""
    if parametrize.is_parametrized(module):
        # Not by remove_parametrizations: it takes properties off the class, which is also that of the original.
        values = {
            name: getattr(module, name).detach()
            for name in dict(module.get_submodule("parametrizations").named_children())
        }
        del module.parametrizations
        module.__class__ = type(module).__mro__[1]
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    for name, value in list(_computed(module)):
        del vars(module)[name]
        for table in (module._parameters, module._buffers):
            for key in [key for key in table if key.startswith(f"{name}_")]:
                del table[key]
        module.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))


def _alone(value: Tensor) -> Tensor:
    fresh = value.detach().clone()
    return nn.Parameter(fresh, requires_grad=False) if isinstance(value, nn.Parameter) else fresh


def _widen(twin: nn.Module) -> Iterator[str]:
    """Compute in float32 where a part is in less."""
    short = {str(value.dtype).removeprefix("torch.") for value in twin.parameters() if value.element_size() < 4}
    if short:
        twin.float()
        yield f"Its weights are {' and '.join(sorted(short))}; everything is computed in float32."


def _hooks_told(twin: nn.Module) -> Iterator[str]:
    """Say which hooks are left behind; those that only computed weights are not needed any more."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    hooked = [name or "the model" for name, child in twin.named_modules() if any(map(vars(child).get, kinds))]
    if hooked:
        few = ", ".join(hooked[:FEW]) + (" ..." if len(hooked) > FEW else "")
        yield f"Hooks or pre-hooks on {few} are left behind; the answers are the same without them."
