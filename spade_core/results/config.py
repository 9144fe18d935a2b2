"""What a result is asked for, beside model and picture: plain data for jobs and manifests, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from spade_core.errors import ConfigError
from spade_core.neurons import Neuron
from spade_core.pruning.kinds import OneOf
from spade_core.pruning.options import TRACE_OPTIONS, BundleOptions, checked_bundle
from spade_core.saliency import METHODS

_TABLE = TRACE_OPTIONS["table"].kind
_OF_EXPLAIN = ("batch_size", "seed")
MOST_IMAGES = 8
DIVERSITY = 10.0  # weight for several drawings of one neuron; without it they differ by their noise only


def _held(trace: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return options of a trace with what a table's file holds in the place of its name: a replay needs no file."""
    given = trace.get("table")
    return trace if given is None else {**trace, "table": _TABLE.check(given)}


@dataclass(frozen=True)
class AnalysisConfig:
    """Everything but model and picture, JSON-able.

    Attributes:
        methods: slugs of ``METHODS``, in the order of computation.
        target: class index, label, or None for the dense model's top-1.
        trace: keyword arguments of ``spade_core.trace``.
        options: method slug -> options of the method, and ``batch_size`` or ``seed`` of ``explain``.
        seed: of the views and of every method that draws.
        bundle: how many traces a map is made of, and how.
    """

    methods: tuple[str, ...]
    target: int | str | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    bundle: BundleOptions = field(default_factory=BundleOptions)

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError("Choose at least one saliency method.")
        object.__setattr__(self, "trace", _held(self.trace))
        if "seed" in self.trace:
            raise ConfigError("The seed is one for trace and methods: give it beside the trace's options, not in them.")
        for slug in self.methods:
            OneOf("method", METHODS).check(slug)
        for slug, given in self.options.items():
            if slug not in self.methods:
                raise ConfigError(
                    f"Options are given for {slug!r}, which is none of the chosen methods: leave them out."
                )
            METHODS[slug].checked({name: value for name, value in given.items() if name not in _OF_EXPLAIN})

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        return {**asdict(self), "methods": list(self.methods)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnalysisConfig:
        """Rebuild what :meth:`to_dict` gave."""
        if "methods" not in values:
            raise ConfigError("This is no record of saliency maps, as it names no methods: give another manifest.")
        bundle = checked_bundle(values.get("bundle", {}))
        return cls(**{**values, "methods": tuple(values["methods"]), "bundle": bundle})


@dataclass(frozen=True)
class VisualizeConfig:
    """Everything but model and picture, JSON-able.

    Attributes:
        neuron: what is drawn; None: the neuron of the explained class.
        target: class that the trace keeps; None: the dense model's top-1, or the class whose neuron is drawn.
        images: how many drawings of the neuron each network makes, as one batch, each from a noise of its own; the
            ``diversity`` of ``render`` keeps them apart.
        render: keyword arguments of ``RenderConfig``; trace: of ``spade_core.trace``.
    """

    neuron: Neuron | None = None
    target: int | None = None
    images: int = 1
    render: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.images <= MOST_IMAGES:
            raise ConfigError(f"The number of images must lie between 1 and {MOST_IMAGES}, not {self.images}.")
        object.__setattr__(self, "trace", _held(self.trace))

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able form."""
        neuron = None if self.neuron is None else self.neuron.to_dict()
        return {**vars(self), "neuron": neuron, "render": dict(self.render), "trace": dict(self.trace)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VisualizeConfig:
        """Rebuild what :meth:`to_dict` gave."""
        neuron = values.get("neuron")
        return cls(**{**values, "neuron": None if neuron is None else Neuron.from_dict(neuron)})
