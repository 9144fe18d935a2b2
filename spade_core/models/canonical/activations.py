"""Which activations a network applies, and who calls them.

A probe runs one forward pass and records every activation that is *not* a separate module used once: functions called
directly (``F.relu(x)``, ``x.relu_()``) and activation modules called several times. Attribution rules that hook
modules are wrong for those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from types import NoneType
from typing import Any

import torch
from timm.layers import activations as plain
from timm.layers import activations_me as memory_efficient
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from spade_core.models.layers import share_copy

# Function -> class of the module that does the same, and the names of its arguments, in the function's order after the
# input.
_NAMES = "ReLU ReLU6 ELU CELU SELU GELU SiLU Mish Hardtanh Hardswish Hardsigmoid Sigmoid Tanh Softplus LogSigmoid"
_ACTIVATIONS: dict[str, type[nn.Module]] = {name.lower(): getattr(nn, name) for name in _NAMES.split()}
_ACTIVATIONS["leaky_relu"] = nn.LeakyReLU
_ARGUMENTS = {"leaky_relu": "negative_slope", "elu": "alpha", "celu": "alpha", "gelu": "approximate"}
_ARGUMENTS |= {"hardtanh": "min_val max_val", "softplus": "beta threshold"}
_TIMM = ("Swish", "Mish", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "HardMish", "GELUTanh", "QuickGELU")
_TIMM_ME = ("SwishMe", "MishMe", "HardSigmoidMe", "HardSwishMe", "HardMishMe")
_TYPES: tuple[type[nn.Module], ...] = (
    *_ACTIVATIONS.values(),
    *(nn.PReLU, nn.RReLU, nn.Softsign, nn.Tanhshrink, nn.GLU),
    *(getattr(plain, name) for name in _TIMM),  # of nn.Module itself
    *(getattr(memory_efficient, name) for name in _TIMM_ME),
)


def _spellings(owner: object) -> dict[Callable[..., Tensor], str]:
    """Map the callables of ``owner`` that are activations, in-place spellings included, to their names."""
    pairs = ((getattr(owner, name + tail, None), name) for name in _ACTIVATIONS for tail in ("", "_"))
    return {function: name for function, name in pairs if function is not None}


FUNCTIONS: dict[Callable[..., Tensor], str] = _spellings(F) | _spellings(torch)
"""Functions that apply an activation, with its name."""
METHODS: dict[str, str] = {function.__name__: name for function, name in _spellings(Tensor).items()}
"""Names of tensor methods that apply an activation, with its name."""
_SEEN = FUNCTIONS | _spellings(Tensor)
SEPARATED = (*_TYPES, nn.MaxPool2d)
"""Modules that rules of attribution hook, so that each must be called once."""
# By-hand activations and gates, by the names of the functions that make them: a rule for modules never sees these.
_BY_HAND = {
    "clamp",
    "clip",
    "clamp_min",
    "clamp_max",
    "threshold",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "where",
    "abs",
}
_BY_HAND |= {"masked_fill", "heaviside", "sign", "softshrink", "hardshrink", "softsign", "tanhshrink", "glu", "prelu"}
_BOUNDS = {"clamp": ("min", "max"), "clip": ("min", "max"), "clamp_min": ("min",), "threshold": ("threshold", "value")}
_BOUNDS["max_pool2d"] = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_BY_HAND |= {"rrelu", "exp", "gt", "ge", "lt", "le", "greater", "less", "max_pool2d"}


def plain_name(function: object) -> str:
    """Return a function's or a method's name without the marks of in-place and of internal spellings."""
    return str(function if isinstance(function, str) else getattr(function, "__name__", "")).strip("_")


def hidden_module(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> nn.Module | None:
    """Return the module that a by-hand ReLU or max pooling is, called with these arguments after its input, or None."""
    given: dict[str, Any] = dict(zip(_BOUNDS.get(name, ()), args, strict=False)) | dict(kwargs)
    plain = all(isinstance(value, int | float | tuple | list | NoneType) for value in given.values())
    if name not in _BOUNDS or not plain:
        return None
    given.pop("inplace", None)
    if name == "max_pool2d":
        return nn.MaxPool2d(**given) if "kernel_size" in given and not given.pop("return_indices", False) else None
    limits = tuple(given.get(key) for key in _BOUNDS[name])
    if limits in {"threshold": ((0, 0),), "clamp_min": ((0,),)}.get(name, ((0, None),)):
        return nn.ReLU()
    return nn.ReLU6() if limits == (0, 6) and name != "threshold" else None


def activation_module(name: str, args: tuple = (), kwargs: Mapping[str, object] | None = None) -> nn.Module:
    """Make the module equal to activation ``name`` called with these arguments after its input; in-place is ignored."""
    names = _ARGUMENTS.get(name, "").split()
    options = dict(zip(names, args, strict=False)) | dict(kwargs or {})
    return _ACTIVATIONS[name](**{key: value for key, value in options.items() if key in names})


def is_activation(module: nn.Module) -> bool:
    """Whether ``module`` applies one of the activations that are known here."""
    return isinstance(module, _TYPES)


@dataclass
class Probe:
    """What one forward pass showed; modules are named as in ``named_modules()``.

    Attributes:
        functional: owner module -> names of the activations that it calls as functions.
        callers: called module -> the module that called it, one entry a call.
        constants: called module -> its arguments that are not tensors, by parameter name (of its first call).
        activations: names of the activation modules that were called.
    """

    functional: dict[str, list[str]] = field(default_factory=dict)
    callers: dict[str, list[str]] = field(default_factory=dict)
    constants: dict[str, dict[str, object]] = field(default_factory=dict)
    activations: set[str] = field(default_factory=set)

    def reused(self) -> dict[str, int]:
        """Return the activation modules called more than once, with the number of calls."""
        return {name: len(self.callers[name]) for name in sorted(self.activations) if len(self.callers[name]) > 1}


class _Functions(TorchFunctionMode):
    """Report activations; by-hand ones where a module can replace them, or, with ``gates``, wherever they matter."""

    def __init__(self, report: Callable[[str], None], *, gates: bool) -> None:
        super().__init__()
        self.report, self.gates = report, gates

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = plain_name(func)
        if func in _SEEN:
            self.report(_SEEN[func])
        elif name in _BY_HAND and (_followed(args) if self.gates else hidden_module(name, args[1:], kwargs)):
            self.report(name)
        return func(*args, **kwargs)


def _followed(args: Sequence[object]) -> bool:
    """Whether a gradient flows into one of the arguments: a mask made of constants is no gate."""
    return any(isinstance(value, Tensor) and value.requires_grad for value in args)


def probe(module: nn.Module, example: Tensor, *, gates: bool = False) -> Probe:
    """Run ``module(example)`` once and record its activations; hooks are removed at the end.

    Args:
        gates: whether to record every by-hand gate that the output depends on, not only those that are activations.
    """
    result = Probe()
    with _watched(module, result) as report, torch.set_grad_enabled(gates), _Functions(report, gates=gates):
        module(example.detach().clone().requires_grad_(gates).clone())
    return result


@contextmanager
def _watched(module: nn.Module, result: Probe) -> Iterator[Callable[[str], None]]:
    names = {child: name for name, child in module.named_modules()}
    stack: list[nn.Module] = []

    def enter(child: nn.Module, args: tuple, kwargs: dict[str, object]) -> None:
        name = names[child]
        if stack:
            result.callers.setdefault(name, []).append(names[stack[-1]])
        if isinstance(child, SEPARATED):
            result.activations.add(name)
        if name not in result.constants:
            result.constants[name] = _constants(child, args, kwargs)
        stack.append(child)

    def leave(_child: nn.Module, _args: tuple, _output: object) -> None:
        stack.pop()

    def report(activation: str) -> None:
        if not isinstance(stack[-1], SEPARATED):
            result.functional.setdefault(names[stack[-1]], []).append(activation)

    with ExitStack() as hooks:
        for child in names:
            hooks.enter_context(child.register_forward_pre_hook(enter, with_kwargs=True))
            hooks.enter_context(child.register_forward_hook(leave))
        yield report


def _constants(module: nn.Module, args: tuple, kwargs: dict[str, object]) -> dict[str, object]:
    """Return the arguments that are None or plain values; a traced forward pass keeps them as they are."""
    bound = signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    plain = (bool, int, float, str, type(None))
    return {name: value for name, value in bound.arguments.items() if isinstance(value, plain)}


def find_shared_activations(module: nn.Module, example: Tensor) -> list[str]:
    """Name every activation of ``module`` that is not a separate, out-of-place module called once.

    Empty for a network on which module-hook rules (DeepLift, GuidedBackprop) are exact. Runs one forward pass on a
    structural copy; ``module`` itself gets no hooks.

    Args:
        example: input, ``(n, 3, height, width)``.

    Returns:
        Sentences such as ``"layer1.0.relu is called 2 times"``, ``"layer1.0 calls relu as a function"`` or
        ``"layer1.0.relu works in place"``, by module name.
    """
    twin = share_copy(module)
    seen = probe(twin, example, gates=True)
    found = [f"{name} is called {count} times" for name, count in seen.reused().items()]
    for name, activations in seen.functional.items():
        found += [f"{name or 'the model'} calls {kind} as a function" for kind in Counter(activations)]
    found += [f"{name} works in place" for name, child in twin.named_modules() if getattr(child, "inplace", False)]
    return sorted(found)
