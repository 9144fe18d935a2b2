"""Which code and which libraries made a result: what decides whether a kept one is still good."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "timm", "captum", "numpy", "pillow")  # whose version may change a result
_ROOT = Path(__file__).parent
_OF_FILES = ("study", "tasks")  # packages that are read file by file: each of their subjects needs a few others


@cache
def code_version() -> str:
    """Return the sha256 over the library's sources without the user interface: other code, other results."""
    return _digest(file for file in _ROOT.rglob("*.py") if "ui" not in file.relative_to(_ROOT).parts)


@cache
def task_version(kind: str) -> str:
    """Return the sha256 over the sources that jobs of a kind compute with, so that no other edit voids their results.

    They are the module in :mod:`spade_core.tasks` that has the function ``kind``, what that function imports, and what
    this imports in turn, wherever in a file. A package of the computation (``pruning``, say) counts as a whole, since
    solvers and methods are found by their names. A kind that is not there counts with the whole library.
    """
    home = next((file for file in sorted((_ROOT / "tasks").glob("*.py")) if kind in _functions(file)), None)
    if home is None:
        return code_version()
    found = {home}
    own = [node for node in ast.parse(home.read_bytes()).body if getattr(node, "name", kind) == kind]
    names = {name for node in own for name in _imports(node)}
    while names:
        files = {file for name in names for file in _files(name)} - found
        found |= files
        names = {name for file in files for name in _imported_by(file)}
    return _digest(found)


@cache
def _functions(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.FunctionDef)}


@cache
def _imported_by(file: Path) -> set[str]:
    return _imports(ast.parse(file.read_bytes()))


def _imports(node: ast.AST) -> set[str]:
    """Return the modules, and the names in modules, that a statement imports when it runs."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return set()
    if isinstance(node, ast.ImportFrom):
        return {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    inner = (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    return {name for child in inner for name in _imports(child)}


def _files(module: str) -> set[Path]:
    """Return the sources that a module of this library stands for; none of another's, or of a name in a module."""
    library, *parts = module.split(".")
    path = _ROOT.joinpath(*parts)
    files = {file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()}
    if library != _ROOT.name or not files:
        return set()
    room = _ROOT.joinpath(*parts[:1])
    return set(room.rglob("*.py")) if parts and room.is_dir() and parts[0] not in _OF_FILES else files


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in sorted(files):
        found.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


@cache
def library_versions() -> tuple[str, ...]:
    """Return the installed versions of :data:`LIBRARIES`, in their order."""
    return tuple(importlib.metadata.version(name) for name in LIBRARIES)
