"""PyTorch's compiler, which nothing here uses: how to run what people have compiled, and how to import without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def compiler() -> Any:
    """Return PyTorch's compiler, or None: nobody has imported it, which takes a second, so nothing is compiled."""
    return sys.modules.get(COMPILER)


def uncompiled() -> AbstractContextManager[object]:
    """Run what is compiled as it was written, inside the block."""
    return nullcontext() if compiler() is None else import_module("torch").compiler.set_stance("force_eager")


@contextmanager
def without_the_compiler() -> Iterator[None]:
    """Let a library be imported that names PyTorch's compiler meanwhile.

    torchvision and timm mark functions that are not to be compiled, and ask whether others are. The compiler is a fifth
    of all that a worker imports before its first job. So a stand-in takes its place until the end of the block: what is
    marked stays as it is, whatever is asked later asks the compiler itself, and any other name imports it at once.
    """
    if compiler() is not None:
        yield
        return
    package, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    mine = {package.__name__: package, utils.__name__: utils}
    vars(package).update(disable=_as_it_is, __path__=[], __getattr__=_real(package.__name__, mine))
    vars(utils).update(is_compile_supported=_asked_later, __getattr__=_real(utils.__name__, mine))
    sys.modules.update(mine)
    try:
        yield
    finally:
        _leave(mine)


def _as_it_is(function: Callable[..., object] | None = None, *_given: object, **_options: object) -> object:
    """Stand in for ``disable``, by itself or with options before the function."""
    return _as_it_is if function is None else function


def _asked_later(device: str) -> object:
    return import_module(f"{COMPILER}.utils").is_compile_supported(device)


def _real(module: str, mine: dict[str, ModuleType]) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        if name.startswith("__"):  # what the import system itself looks for
            raise AttributeError(name)
        _leave(mine)
        return getattr(import_module(module), name)

    return get


def _leave(mine: dict[str, ModuleType]) -> None:
    for name, module in mine.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
