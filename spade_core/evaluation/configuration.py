"""What a run depends on beside its model and pictures: plain data that is kept with its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from spade_core import __version__
from spade_core.errors import ConfigError, LayerError
from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.benchmarks import BENCHMARKS, METRICS, Benchmark, Metric
from spade_core.evaluation.processing import PROCESSING
from spade_core.pruning import sparsity
from spade_core.pruning.kinds import OneOf
from spade_core.pruning.options import checked
from spade_core.saliency import METHOD_OPTIONS, METHODS

if TYPE_CHECKING:
    from spade_core.models.loaded import LoadedModel

ALL = "all"
OUTCOMES = ("kept", "kl", "sparsity")  # of an arm's networks
NETWORK = "network"  # of seconds: what an arm's networks took
MEASURED = 3  # raised where the same configuration measures something else: a run from before is then not gone on with
THREADS = 2  # an actor's cores; the bits of a trace depend on them


@dataclass(frozen=True)
class Configuration:
    """Everything but model, pictures and engine, JSON-able.

    Attributes:
        benchmark: slug of ``BENCHMARKS``.
        methods: slugs of ``METHODS`` in the order of the tables, or ``all`` alone; arms: of ``ARMS``; none: the
            benchmark's own.
        processing: slugs of ``PROCESSING``, the same on every arm.
        trace: options of ``spade_core.trace`` for the arms that make traces.
        seed: of whatever is drawn; a picture's draws depend on it and on the picture's sha256 alone.
        threads: of torch for one picture; they decide the last bits of a result.
        options: method slug -> options of the method, without those at their defaults.

    Raises:
        ConfigError: a slug is unknown or given twice, or a value cannot be used.
    """

    benchmark: str
    methods: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    processing: tuple[str, ...] = ("raw",)
    trace: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    threads: int = THREADS
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = BENCHMARKS[OneOf("benchmark", BENCHMARKS).check(self.benchmark)]
        for name in ("methods", "arms"):
            object.__setattr__(self, name, tuple(getattr(self, name)) or getattr(kind, name))
        for what, slugs, table in (
            ("method", self.methods, [ALL] if self.methods == (ALL,) else METHODS),
            ("arm", self.arms, ARMS),
            ("processing", self.processing, PROCESSING),
        ):
            _check_slugs(what, slugs, table)
        for arm in self.arms:
            checked(ARMS[arm].options(self.trace))
        object.__setattr__(self, "options", METHOD_OPTIONS.check(self.options))
        if self.kind.redraws and self.of_folder:
            raise ConfigError(f"The arm {self.of_folder[0]} is not made anew of each redrawn model: leave it out.")
        if self.threads < 1 or self.seed < 0:
            raise ConfigError(f"--threads must be at least 1 and --seed 0, not {self.threads} and {self.seed}.")

    @property
    def kind(self) -> Benchmark:
        """What is measured."""
        return BENCHMARKS[self.benchmark]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Of the benchmark."""
        return tuple(METRICS[slug] for slug in self.kind.metrics)

    @property
    def of_folder(self) -> tuple[str, ...]:
        """The arms that are made of a folder."""
        return tuple(arm for arm in self.arms if ARMS[arm].folder)

    @property
    def magnitudes(self) -> bool:
        """Whether all arms' maps lose their signs: so they do in an arm that is a mean of several maps' magnitudes."""
        return any(ARMS[arm].magnitudes for arm in self.arms)

    def for_model(self, model: LoadedModel) -> Configuration:
        """Return the same with the methods that ``all`` stands for.

        Raises:
            LayerError: a method cannot be applied to this architecture.
            ConfigError: an option is of a method that is not among them.
        """
        if self.methods == (ALL,):
            return replace(self, methods=tuple(slug for slug, one in METHODS.items() if not one.unsupported(model)))
        for slug in self.methods:
            if reason := METHODS[slug].unsupported(model):
                raise LayerError(f"{reason} Leave {slug} out of the methods.")
        if others := [slug for slug in self.options if slug not in self.methods]:
            raise ConfigError(
                f"An option is of {others[0]}, which is not among the methods: add it, or drop the option."
            )
        return self

    def header(self, model: LoadedModel, names: Iterable[str]) -> dict[str, object]:
        """Return all that records depend on, JSON-able; ``names`` of the pictures, in their order."""
        pictures = hashlib.sha256("\0".join(names).encode()).hexdigest()
        of_model = {"model": model.name, "weights": model.sha256, "device": model.device.type}
        told = {"pictures": pictures, "version": __version__, "measured": MEASURED, "table": table_digest(model.name)}
        return {**asdict(self), **of_model, **told}

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Configuration:
        """Rebuild what :meth:`header` was given."""
        values: dict[str, Any] = {}
        for one in fields(cls):
            if one.name in header or one.name != "options":
                value = header[one.name]
                values[one.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


def table_digest(model: str) -> str:
    """Return a digest of a model's own table of ratios, which the preset ``default`` stands for; "" without one."""
    found = sparsity.table(model)
    return "" if found is None else hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def seed_of(*parts: object) -> int:
    """Return a seed below 2^31 that depends on the texts of the parts alone."""
    return int(hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:8], 16) >> 1


def _check_slugs(what: str, slugs: tuple[str, ...], table: Collection[str]) -> None:
    for slug in slugs:
        OneOf(what, table).check(slug)
    if not slugs or len(set(slugs)) < len(slugs):
        raise ConfigError(
            f"At least one {what} is needed, and each once, not {','.join(slugs) or 'none'}: give them anew."
        )
