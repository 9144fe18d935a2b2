"""Which code and which libraries made a result: what decides whether a kept one is still good."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "timm", "captum", "numpy", "pillow")  # whose version may change a result


@cache
def code_version() -> str:
    """Return the sha256 over the library's sources without the user interface: other code, other results."""
    found = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        if "ui" not in file.relative_to(root).parts:
            found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


@cache
def library_versions() -> tuple[str, ...]:
    """Return the installed versions of :data:`LIBRARIES`, in their order."""
    return tuple(importlib.metadata.version(name) for name in LIBRARIES)
