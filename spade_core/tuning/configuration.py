"""What a table is tuned for: plain data that is kept with every look and told in the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from spade_core import __version__
from spade_core.errors import ConfigError
from spade_core.evaluation.arms import of_bundle
from spade_core.evaluation.benchmarks import BENCHMARKS, METRICS, Metric
from spade_core.evaluation.configuration import MEASURED, THREADS, Configuration, table_digest
from spade_core.pruning.kinds import OneOf, Ratios, Whole, check_ratio
from spade_core.pruning.options import RATIO_OPTIONS, BundleOptions, checked_bundle
from spade_core.tuning.objectives import OBJECTIVE, OBJECTIVES, PROCESSING, RATIOS, SWEEPS

if TYPE_CHECKING:
    from spade_core.models.loaded import LoadedModel

SWEEPS_KIND = Whole("number of sweeps", 0, 9, "must lie between 0 and 9")


@dataclass(frozen=True)
class Tuning:
    """Everything but model and pictures, JSON-able.

    Attributes:
        objective: of ``OBJECTIVES``.
        methods: slugs of ``METHODS``, or ``all`` alone; none: the benchmark's own.
        processing: of ``PROCESSING``, what is done to a map before it is scored.
        ratios: candidates of each stage, 0 to 1; kept in rising order, each once.
        trace: options of ``spade_core.trace``. A preset among them says where the search begins, and all other options
            that are not said.
        begin: further tables, stage -> ratio, one of which the search may begin at; a stage that is left out is dense.
        sweeps: over the stages, last to first, then back; 0: only whole tables are compared.
        traces, average: how many traces a map is made of, and how.
        seed: of whatever is drawn, as in benchmarks; threads: of torch.
        method_options: method slug -> options of the method, without those at their defaults.

    Raises:
        ConfigError: a slug is unknown or given twice, or a number cannot be used.
    """

    objective: str = OBJECTIVE
    methods: tuple[str, ...] = ()
    processing: str = PROCESSING
    ratios: tuple[float, ...] = RATIOS
    trace: Mapping[str, object] = field(default_factory=dict)
    begin: tuple[Mapping[str, float], ...] = ()
    sweeps: int = SWEEPS
    traces: int = BundleOptions().traces
    average: str = BundleOptions().average
    seed: int = 0
    threads: int = THREADS
    method_options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        OneOf("objective", OBJECTIVES).check(self.objective)
        ratios = {check_ratio(ratio, "candidate ratio") for ratio in self.ratios}
        if not ratios:
            raise ConfigError("There is no candidate ratio: give at least one, such as 0.8.")
        SWEEPS_KIND.check(self.sweeps)
        object.__setattr__(self, "average", self.average if self.traces > 1 else BundleOptions().average)
        object.__setattr__(self, "begin", tuple(dict(Ratios().check(table)) for table in self.begin))
        object.__setattr__(self, "ratios", tuple(sorted(ratios)))
        for name, value in (("methods", self.measured.methods), ("method_options", self.measured.options)):
            object.__setattr__(self, name, value)

    @cached_property
    def measured(self) -> Configuration:
        """The benchmark's configuration that every look is measured by."""
        named = OBJECTIVES[self.objective], tuple(self.methods), (of_bundle(self.bundle),), (self.processing,)
        return Configuration(*named, self.trace, self.seed, self.threads, self.method_options)

    @property
    def bundle(self) -> BundleOptions:
        """How many traces a map is made of, and how."""
        return checked_bundle({"traces": self.traces, "average": self.average})

    @property
    def metric(self) -> Metric:
        """What is tuned for."""
        return METRICS[BENCHMARKS[OBJECTIVES[self.objective]].metrics[0]]

    @property
    def options(self) -> dict[str, object]:
        """The options of the traces, but for what says their ratios."""
        return {name: value for name, value in self.trace.items() if name not in RATIO_OPTIONS}

    def for_model(self, model: LoadedModel) -> Tuning:
        """Return the same with the methods that ``all`` stands for.

        Raises:
            LayerError: a method cannot be applied to this architecture.
        """
        return replace(self, methods=self.measured.for_model(model).methods)

    def header(self, model: LoadedModel, pictures_sha256: str) -> dict[str, object]:
        """Return all that a look depends on but its table, JSON-able."""
        of_model = {"model": model.name, "weights": model.sha256, "device": model.device.type}
        told = {"version": __version__, "measured": MEASURED, "table": table_digest(model.name)}
        return {**asdict(self), **of_model, "pictures_sha256": pictures_sha256, **told}
