"""The address bar: an analysis as URL parameters, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spade_core.errors import ConfigError, PictureError
from spade_core.models.registry import DEFAULT_MODEL, HUB, MODELS, TIMM
from spade_core.neurons import LOGITS, PARAMETRIZATIONS, STARTS, Neuron
from spade_core.pictures.frame import CENTRE, parse_frame
from spade_core.pictures.picture import bundled
from spade_core.pruning.kinds import Kind, OneOf, Text, Whole
from spade_core.pruning.options import BUNDLE_OPTIONS, TRACE_OPTIONS, BundleOptions, TraceOptions
from spade_core.pruning.sparsity import PRESETS
from spade_core.results.config import DIVERSITY, AnalysisConfig, VisualizeConfig
from spade_core.saliency import METHOD_OPTIONS, METHODS
from spade_core.trojan.triggers import TRIGGERS, Paste
from spade_core.ui.common.uploads import UPLOADED

_TOKEN = re.compile(rf"{UPLOADED}([\w-]{{22}})?")
DEFAULT_STEPS, MOST_STEPS = 512, 4096
MOST_IMAGES = 8
DEFAULT_METHODS = ("saliency", "input_x_gradient", "integrated_gradients")  # of a choice where nobody chose
PAGE_METHODS = {"saliency": ("saliency", "guided_gradcam", "lrp"), "folder": ("saliency", "guided_gradcam")}
"""The methods with which pages begin: quick ones, whose maps traces of the packaged models keep or improve."""


@dataclass(frozen=True, kw_only=True)
class Choice(BundleOptions, TraceOptions):
    """What a person has chosen on a page, the options of traces included; its defaults are the pages'.

    Attributes:
        picture: ``bundled:NAME``, or ``own:TOKEN`` of an upload, see ``uploads.Kept``.
        frame: what of it the model sees, see ``Frame``.
        target: class index, or None for the dense model's top-1.
        trigger: what is pasted into the picture, or None.
        methods: of the saliency page; options: theirs, by method and name.
        layer, channel, steps, images, parametrization, start: of the neuron page; position: ``(row, column)`` of a
            single neuron.
        other, other_trigger: the trace page's second picture.
        beside: what the saliency page sets beside the analysis: ``class:INDEX``, ``picture:NAME``, ``model:NAME`` or
            ``trace:PRESET``.
    """

    preset: str = "default"
    model: str = DEFAULT_MODEL
    picture: str = "bundled:dog"
    frame: str = str(CENTRE)
    target: int | None = None
    methods: tuple[str, ...] = DEFAULT_METHODS
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    trigger: Paste | None = None
    layer: str | None = None
    channel: int | None = None
    position: tuple[int, int] | None = None
    steps: int = DEFAULT_STEPS
    images: int = 1
    parametrization: str = "fourier"
    start: str = "noise"
    other: str | None = None
    other_trigger: Paste | None = None
    beside: str | None = None

    def to_query(self, *, methods: bool = True) -> dict[str, str]:
        """Return URL parameters; what is at its default is left out, but ``methods`` or ``run`` mark a link to run."""
        found = {"methods": _KINDS["methods"].write(self.methods)} if methods else {"run": "1"}
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if name != "methods" and value is not None and value != getattr(_PLAIN, name):
                found[name] = kind.write(value)
        return found

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Choice:
        """Rebuild what :meth:`to_query` gave.

        Raises:
            ConfigError: a parameter has an unusable value; the sentence names it.
        """
        values: dict[str, Any] = {name: kind.read(query[name]) for name, kind in _KINDS.items() if query.get(name)}
        return cls(**values)

    @classmethod
    def from_link(cls, query: Mapping[str, str]) -> tuple[Choice, tuple[str, ...]]:
        """Rebuild what of a link can be read; what cannot stays at its default, and a sentence says so."""
        values: dict[str, Any] = {}
        told = []
        for name in _KINDS.keys() & query.keys():
            try:
                values |= {name: _KINDS[name].read(query[name])} if query[name] else {}
            except ConfigError as error:
                told.append(str(error))
                if name == "methods" and (known := [slug for slug in query[name].split(",") if slug in METHODS]):
                    values[name] = tuple(dict.fromkeys(known))
        return cls(**values), tuple(sorted(told))

    def trace_options(self) -> dict[str, object]:
        """Return the keyword arguments of ``spade_core.trace`` but for the seed; ratios only as the preset has them."""
        given = self.given().items()
        return {name: value for name, value in given if TRACE_OPTIONS[name].preset in (None, self.preset)}

    def bundle(self) -> BundleOptions:
        """Return how many traces a map is made of, and how."""
        return BundleOptions(**{name: getattr(self, name) for name in BUNDLE_OPTIONS})

    def trace_arguments(self) -> dict[str, object]:
        """Return the keyword arguments of ``spade_core.trace``."""
        return {**self.trace_options(), "seed": self.seed}

    def analysis(self) -> AnalysisConfig:
        """Return what the saliency page asks for."""
        return AnalysisConfig(self.methods, self.target, self.trace_options(), self.options, self.seed, self.bundle())

    def neuron(self) -> Neuron:
        """Return the neuron that is drawn."""
        return Neuron(self.layer or LOGITS, self.channel, self.position)

    def render(self) -> dict[str, object]:
        """Return how it is drawn: keyword arguments of ``RenderConfig`` that a row of facets has, too."""
        return {"steps": self.steps, "seed": self.seed, "parametrization": self.parametrization}

    def drawing(self) -> VisualizeConfig:
        """Return what the neuron page asks for."""
        more = {"diversity": DIVERSITY if self.images > 1 else 0.0, "start": self.start}
        render, options = {**self.render(), **more}, self.trace_arguments()
        return VisualizeConfig(self.neuron(), self.target, self.images, render, options)


class _Model(Kind[str]):
    def read(self, text: str) -> str:
        return text if text.startswith((TIMM, HUB)) else OneOf("model", MODELS).read(text)


class _Picture(Kind[str]):
    def read(self, text: str) -> str:
        if _TOKEN.fullmatch(text):
            return text
        return "bundled:" + OneOf("picture", bundled()).read(text.removeprefix("bundled:"))


class _Frame(Kind[str]):
    def read(self, text: str) -> str:
        try:
            return str(parse_frame(text))
        except PictureError as error:
            raise ConfigError(f"The link cannot be followed: {error}") from None


class _Methods(Kind[tuple[str, ...]]):
    def read(self, text: str) -> tuple[str, ...]:
        method = OneOf("method", METHODS)
        return tuple(dict.fromkeys(method.read(slug) for slug in text.split(",") if slug)) or DEFAULT_METHODS

    def write(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


class _Beside(Kind[str]):
    def read(self, text: str) -> str:
        kind, _, value = text.partition(":")
        return f"{kind}:{_BESIDE[OneOf('comparison', _BESIDE).read(kind)].read(value)}"


class _Trigger(Kind[Paste]):
    """``name:size:YxX:seed``, of which all but the name may be empty."""

    def read(self, text: str) -> Paste:
        name, size, place, seed = [*text.split(":"), "", "", ""][:4]
        parts = place.split("x") if place else []
        if len(parts) not in (0, 2):
            raise ConfigError(f"The link's trigger must read name:size:YxX:seed, not {text!r}.")
        corner = [Whole("trigger position", 0, 2000).read(part) for part in parts]
        return Paste(
            OneOf("trigger", TRIGGERS).read(name),
            Whole("trigger size", 8, 2000).read(size) if size else None,
            (corner[0], corner[1]) if corner else None,
            Whole("trigger seed").read(seed) if seed else 0,
        )

    def write(self, value: Paste) -> str:
        size = "" if value.size is None else str(value.size)
        place = "" if value.position is None else "{}x{}".format(*value.position)
        return ":".join([value.trigger, size, place, str(value.seed)])


class _Position(Kind[tuple[int, int]]):
    def read(self, text: str) -> tuple[int, int]:
        row, cross, column = text.partition("x")
        if not cross:
            raise ConfigError(f"The link's position must read ROWxCOLUMN, not {text!r}.")
        return Whole("row", 0, 10**6).read(row), Whole("column", 0, 10**6).read(column)

    def write(self, value: tuple[int, int]) -> str:
        return "{}x{}".format(*value)


_BESIDE: dict[str, Kind[Any]] = {
    "class": Whole("class", 0, 10**6),
    "picture": _Picture(),
    "model": _Model(),
    "trace": OneOf("preset", PRESETS),
}
_KINDS: dict[str, Kind[Any]] = {
    "model": _Model(),
    "picture": _Picture(),
    "frame": _Frame(),
    "target": Whole("target", 0, 10**6),
    **{name: option.kind for name, option in (TRACE_OPTIONS | BUNDLE_OPTIONS).items()},
    "methods": _Methods(),
    "options": METHOD_OPTIONS,
    "trigger": _Trigger(),
    "layer": Text("layer"),
    "channel": Whole("channel", 0, 10**6),
    "position": _Position(),
    "steps": Whole("number of steps", 1, MOST_STEPS),
    "images": Whole("number of images", 1, MOST_IMAGES),
    "parametrization": OneOf("parametrization", PARAMETRIZATIONS),
    "start": OneOf("start", STARTS),
    "other": _Picture(),
    "other_trigger": _Trigger(),
    "beside": _Beside(),
}
_PLAIN = Choice()
