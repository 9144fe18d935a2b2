"""Networks as people bring them: registries, own weights, labels, preprocessing, and the calls of their weights."""

from __future__ import annotations

from pkgutil import resolve_name

_HOMES = {"load_model": "loading", "predict": "loaded", "resolve_target": "labels", "wrap_model": "loading"}


def __getattr__(name: str) -> object:
    """Give what scripts import from here; torch is imported with it, not with the package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(f"{__name__}.{_HOMES[name]}:{name}")
