"""The address bar: an analysis of a bundled picture as URL parameters, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from spade_core.errors import ConfigError
from spade_core.models.registry import DEFAULT_MODEL, MODELS, TIMM
from spade_core.pictures.picture import bundled
from spade_core.pruning.calibration import CALIBRATIONS
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.sparsity import PRESETS, check_ratio
from spade_core.pruning.trace import MAX_VIEWS
from spade_core.saliency import METHODS
from spade_core.trojan.triggers import TRIGGERS, Paste

_PLAIN = (
    "model", "picture", "target", "preset", "sparsity", "solver", "calibration", "views", "seed", "layer", "channel",
    "steps", "images", "other",
)  # fmt: skip
DEFAULT_STEPS, MOST_STEPS = 512, 4096
MOST_IMAGES = 8
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
    """What a person has chosen on a page; its defaults are the pages'.

    Attributes:
        picture: ``bundled:NAME``; uploads are not part of a link.
        target: class index, or None for the dense model's top-1.
        sparsity: for the preset ``uniform``; stages: stage -> ratio, for ``custom``.
        calibration, views: None means what the preset prefers.
        trigger: what is pasted into the picture, or None.
        methods: of the saliency page; layer, channel, steps, images: of the neuron page; position: ``(row, column)`` of
            a single neuron; other, other_trigger: the trace page's second picture.
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
    trigger: Paste | None = None
    layer: str | None = None
    channel: int | None = None
    position: tuple[int, int] | None = None
    steps: int = DEFAULT_STEPS
    images: int = 1
    other: str | None = None
    other_trigger: Paste | None = None

    def to_query(self, *, methods: bool = True) -> dict[str, str]:
        """Return URL parameters; what is at its default is left out, but ``methods`` or ``run`` mark a link to run."""
        plain = Choice()
        found = {"methods": ",".join(self.methods)} if methods else {"run": "1"}
        for name in _PLAIN:
            value = getattr(self, name)
            if value is not None and value != getattr(plain, name):
                found[name] = f"{value:g}" if isinstance(value, float) else str(value)
        for name, paste in (("trigger", self.trigger), ("other_trigger", self.other_trigger)):
            if paste is not None:
                found[name] = _write_trigger(paste)
        if self.position is not None:
            found["position"] = "{}x{}".format(*self.position)
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


def _write_trigger(paste: Paste) -> str:
    size = "" if paste.size is None else str(paste.size)
    place = "" if paste.position is None else "{}x{}".format(*paste.position)
    return ":".join([paste.trigger, size, place, str(paste.seed)])


def _trigger(value: str) -> Paste:
    name, size, place, seed = [*value.split(":"), "", "", ""][:4]
    corner = place.split("x") if place else []
    if len(corner) not in (0, 2):
        raise ConfigError(f"The link's trigger must read name:size:YxX:seed, not {value!r}.")
    position = tuple(_whole(part, "trigger position", 0, 2000) for part in corner)
    return Paste(
        _one_of(TRIGGERS, "trigger", name),
        _whole(size, "trigger size", 8, 2000) if size else None,
        (position[0], position[1]) if corner else None,
        _whole(seed, "trigger seed", 0, 2**31 - 1) if seed else 0,
    )


def _position(value: str) -> tuple[int, int]:
    row, cross, column = value.partition("x")
    if not cross:
        raise ConfigError(f"The link's position must read ROWxCOLUMN, not {value!r}.")
    return _whole(row, "row", 0, 10**6), _whole(column, "column", 0, 10**6)


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
    "trigger": _trigger,
    "layer": lambda value: value,
    "channel": lambda value: _whole(value, "channel", 0, 10**6),
    "position": _position,
    "steps": lambda value: _whole(value, "number of steps", 1, MOST_STEPS),
    "images": lambda value: _whole(value, "number of images", 1, MOST_IMAGES),
    "other": _picture,
    "other_trigger": _trigger,
}
