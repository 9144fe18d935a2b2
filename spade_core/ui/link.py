"""The address bar: an analysis of a bundled picture as URL parameters, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from spade_core.calibration import CALIBRATIONS
from spade_core.errors import ConfigError
from spade_core.images import bundled
from spade_core.models import DEFAULT_MODEL, MODELS, TIMM
from spade_core.saliency import METHODS
from spade_core.solvers import SOLVERS
from spade_core.sparsity import PRESETS, check_ratio
from spade_core.tracing import MAX_VIEWS

__all__ = ["Choice"]

DEFAULT_METHODS = ("saliency", "input_x_gradient", "integrated_gradients")


def _one_of(table: Mapping[str, Any], what: str, value: str) -> str:
    if value not in table:
        raise ConfigError(f"The link names an unknown {what} {value!r}: it is one of {', '.join(table)}.")
    return value


def _whole(value: str, what: str, low: int, high: int) -> int:
    if not value.lstrip("-").isdigit() or not low <= int(value) <= high:
        raise ConfigError(f"The link's {what} must be a whole number from {low} to {high:,}, not {value!r}.")
    return int(value)


@dataclass(frozen=True)
class Choice:
    """What a person has chosen on the saliency page; its defaults are the page's.

    Attributes:
        picture: ``bundled:NAME``; uploads are not part of a link.
        target: class index, or None for the dense model's top-1.
        sparsity: for the preset ``uniform``; stages: stage -> ratio, for ``custom``.
        calibration, views: None means what the preset prefers.
    """

    model: str = DEFAULT_MODEL
    picture: str = "bundled:dog"
    target: int | None = None
    preset: str = "default"
    sparsity: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    solver: str = "fastspade"
    calibration: str | None = None
    views: int | None = None
    seed: int = 0
    methods: tuple[str, ...] = DEFAULT_METHODS

    def to_query(self) -> dict[str, str]:
        """Return URL parameters; what is at its default is left out, except that ``methods`` marks a link to run."""
        plain = Choice()
        found = {"methods": ",".join(self.methods)}
        for name in ("model", "picture", "target", "preset", "sparsity", "solver", "calibration", "views", "seed"):
            value = getattr(self, name)
            if value is not None and value != getattr(plain, name):
                found[name] = f"{value:g}" if isinstance(value, float) else str(value)
        if self.stages:
            found["stages"] = ",".join(f"{stage}:{ratio:g}" for stage, ratio in self.stages.items())
        return found

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Choice:
        """Rebuild what :meth:`to_query` gave.

        Raises:
            ConfigError: a parameter has an unusable value; the sentence names it.
        """
        choice = cls()
        for name, parse in _PARSERS.items():
            if query.get(name):
                choice = replace(choice, **{name: parse(query[name])})
        return choice

    def trace_options(self) -> dict[str, Any]:
        """Return the keyword arguments of ``spade_core.trace``."""
        found: dict[str, Any] = {"solver": self.solver, "preset": self.preset}
        if self.preset == "uniform":
            found["sparsity"] = self.sparsity
        if self.preset == "custom":
            found["stages"] = dict(self.stages)
        optional = {"calibration": self.calibration, "views": self.views}
        return {**found, **{name: value for name, value in optional.items() if value is not None}}


def _model(value: str) -> str:
    return value if value.startswith(TIMM) else _one_of(MODELS, "model", value)


def _picture(value: str) -> str:
    _one_of(bundled(), "picture", value.removeprefix("bundled:"))
    return f"bundled:{value.removeprefix('bundled:')}"


def _methods(value: str) -> tuple[str, ...]:
    return (
        tuple(dict.fromkeys(_one_of(METHODS, "method", slug) for slug in value.split(",") if slug)) or DEFAULT_METHODS
    )


def _stages(value: str) -> dict[str, float]:
    pairs = (item.rpartition(":") for item in value.split(",") if item)
    return {stage: check_ratio(ratio, f"link's sparsity of {stage}") for stage, _, ratio in pairs}


_PARSERS: dict[str, Callable[[str], Any]] = {
    "model": _model,
    "picture": _picture,
    "target": lambda value: _whole(value, "target", 0, 10**6),
    "preset": lambda value: _one_of(PRESETS, "preset", value),
    "sparsity": lambda value: check_ratio(value, "link's sparsity"),
    "stages": _stages,
    "solver": lambda value: _one_of(SOLVERS, "solver", value),
    "calibration": lambda value: _one_of(CALIBRATIONS, "calibration", value),
    "views": lambda value: _whole(value, "number of views", 1, MAX_VIEWS),
    "seed": lambda value: _whole(value, "seed", 0, 2**31 - 1),
    "methods": _methods,
}
