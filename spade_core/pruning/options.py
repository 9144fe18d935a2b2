"""The options of a trace, each declared once: its value, and how the command line, a link and a page ask for it.

To add an option, add a field here and use it where the trace is made. The command line, links, the pages' fields, the
command that a page shows, and the manifest's configuration derive from these declarations. Nothing heavy is imported,
as the command line's help does not wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from inspect import Parameter, signature
from typing import Any, TypeVar

from spade_core.errors import ConfigError
from spade_core.pruning.kinds import RATIO, Kind, Number, OneOf, Ratios, Seed, Switch, Whole, any_of
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.sparsity import PRESETS, Tuned, table
from spade_core.pruning.tables import Table, of_methods

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., object])

CALIBRATIONS = ("independent", "sequential")  # functions of pruning.calibration
WEIGHTINGS = ("none", "target")
MAX_VIEWS = 16_384
MAX_TRACES = 64
NOISE = 0.15  # standard deviation of a noisy copy, as a share of the input's range, as SmoothGrad's default
SOLVER = "fastspade"
RATIO_OPTIONS = {"preset", "sparsity", "stages", "table"}  # what says a trace's ratios


@dataclass(frozen=True)
class Widget:
    """How a page asks for an option.

    Attributes:
        label, help: of the field; without a help, the one of each entry of the table.
        offered: slugs to choose among; none: all of the table.
        counts: numbers to choose among; none: any.
        begin, most: where a slider begins and ends.
        explained: whether the help of the chosen entry stands below.
    """

    label: str
    help: str = ""
    offered: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    begin: float = 0.5
    most: float = 1.0
    explained: bool = False


@dataclass(frozen=True)
class Option:
    """One option of a trace.

    Attributes:
        kind: of its value.
        help, flag: of the command line; ``{preset}`` stands for the preset that a command takes by itself.
        otherwise: the value where neither people nor a preset say one.
        named: whether it is always said, even at its default.
        preset: the only preset to which a page offers it.
        widget: None hides it from the pages, but not from links.
    """

    kind: Kind[Any]
    help: str
    flag: str = ""
    otherwise: object = None
    named: bool = False
    preset: str | None = None
    widget: Widget | None = None


def _option(default: T, kind: Kind[Any], text: str, **more: Any) -> T:
    return field(default_factory=lambda: default, metadata={"option": Option(kind, text, **more)})


_CALIBRATION = "Independent is the paper's. Sequential solves each layer on what the pruned trace really sees."
_WEIGHTING = "By the target, what speaks for the explained class counts; none is the paper's, where all counts alike."
_TABLE = "ratios that 'tune' wrote, in the place of the model's own (preset default)"
_VIEWS = "The paper takes 1,024; beyond a few dozen nothing was gained here."


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """What a trace is asked for; None leaves an option open.

    Attributes:
        preset: a slug of ``PRESETS``; None: ``default``, or ``uniform``/``custom`` where a ratio is given.
        sparsity: one ratio for all layers; alone it means the preset ``uniform``.
        stages: stage -> ratio, for the preset ``custom``.
        table: in the place of the model's own, for the preset ``default``: a file that ``tune`` wrote, or its content.
        solver: a slug of ``SOLVERS``.
        calibration: ``independent`` (the paper) or ``sequential`` (ours); None: what the preset prefers.
        views: number of views; None: what the preset prefers. The paper uses 1,024.
        untouched: how many of them are the picture as the model sees it, the others being random; None: what the preset
            prefers. The paper uses none (section 3.1); one is enough for the trace to agree with the dense model on it.
        noisy: how many of them are the untouched picture under noise (ours), for maps that are means over such copies,
            as SmoothGrad's: a trace that has seen none may break there; None: what the preset prefers, none.
        weighting: ``none`` (the paper) counts all receptive fields alike, ``target`` (ours) by what they say for the
            target, see ``spade_core.pruning.relevance``; None: what the preset prefers.
        refit: ridge of a refit of the surviving weights on their support, as a fraction of the mean diagonal (ours); 0:
            none (the paper); None: what the preset prefers.
        damping: fraction of the mean diagonal; None: the solver's own.
        block_size: columns per mask choice; None: what the preset prefers, or the authors' (kernel size).
        first_layer: prune the first layer too; it stays dense by default, as in the authors' code.
        positions: the second moments of kernels larger than 1x1 are taken over at least this many random receptive
            fields (and 16 a column); 0: over all, as in the paper; None: what the preset prefers, 2,048.
        seed: of the views.
    """

    preset: str | None = _option(
        None,
        OneOf("preset", PRESETS),
        f"{any_of(PRESETS)} (default: {{preset}})",
        widget=Widget("Preset", "How sparse each layer becomes.", explained=True),
    )
    sparsity: float | None = _option(
        None, RATIO, "one ratio for all layers, 0 to 1", preset="uniform", widget=Widget("Sparsity", most=0.99)
    )
    stages: Mapping[str, float] = _option(
        {}, Ratios(), "ratio of a stage (preset custom)", flag="--stage", preset="custom", widget=Widget("")
    )
    table: Tuned | None = field(default=None, metadata={"option": Option(Table(), _TABLE, preset="default")})
    solver: str = _option(
        SOLVER, OneOf("solver", SOLVERS), f"{any_of(SOLVERS)} (default: {SOLVER})", named=True, widget=Widget("Solver")
    )
    calibration: str | None = _option(
        None,
        OneOf("calibration", CALIBRATIONS),
        f"{any_of(CALIBRATIONS)} (the paper: {CALIBRATIONS[0]}; default: the preset's)",
        otherwise="sequential",
        widget=Widget("Calibration", _CALIBRATION, ("sequential", "independent")),
    )
    views: int | None = _option(
        None,
        Whole("number of views", 1, MAX_VIEWS, f"must lie between 1 and {MAX_VIEWS:,}"),
        "number of views (the paper: 1024)",
        otherwise=16,
        widget=Widget("Views", _VIEWS, counts=(8, 16, 24, 48, 64, 128, 256, 1024)),
    )
    untouched: int | None = _option(
        None,
        Whole("number of untouched views", rule="must be 0 or more"),
        "how many of the views are the untouched picture (the paper: 0)",
        otherwise=1,
    )
    noisy: int | None = _option(
        None,
        Whole("number of noisy views", rule="must be 0 or more"),
        "how many of the views are the untouched picture under noise (the paper: 0)",
        otherwise=0,
    )
    weighting: str | None = _option(
        None,
        OneOf("weighting", WEIGHTINGS),
        f"{any_of(WEIGHTINGS)}: what counts in a layer's fit (the paper: {WEIGHTINGS[0]}; default: the preset's)",
        otherwise="none",
        widget=Widget("Weighting", _WEIGHTING),
    )
    refit: float | None = _option(
        None,
        Number("ridge of the refit", 0, 1000, "must be a fraction of the mean diagonal, 0 (no refit) to 1000"),
        "ridge of the refit on the support, a fraction of the mean diagonal (the paper: 0, none)",
        otherwise=0.0,
    )
    damping: float | None = _option(
        None,
        Number("damping", 0, 10, "must be a fraction of the mean diagonal, 0 to 10"),
        "fraction of the mean diagonal",
    )
    block_size: int | None = _option(
        None, Whole("block size", 1, rule="must be at least 1 column"), "columns per mask choice"
    )
    first_layer: bool = _option(False, Switch(), "prune the first layer, too")
    positions: int | None = _option(
        None,
        Whole("number of positions", rule="must be 0 (all) or more"),
        "fields that a second moment is taken over, at least (the paper: 0, all; default: the preset's, or 2048)",
        otherwise=2048,
    )
    seed: int = _option(0, Seed(), "of views and methods (default: 0)", named=True, widget=Widget("Seed"))

    def given(self) -> dict[str, object]:
        """Return what is not left at its default, but for the seed, which methods and drawings share."""
        values = {name: getattr(self, name) for name in TRACE_OPTIONS if name != "seed"}
        return {
            name: value
            for name, value in values.items()
            if value is not None and (TRACE_OPTIONS[name].named or value != getattr(_DEFAULTS, name))
        }

    def filled(self, preferred: Mapping[str, object]) -> TraceConfig:
        """Return all options; what is open is taken from ``preferred``, or as it is declared."""
        otherwise: dict[str, Any] = {name: option.otherwise for name, option in TRACE_OPTIONS.items()} | dict(preferred)
        said = {name: value for name in TRACE_OPTIONS if (value := getattr(self, name)) is not None}
        return TraceConfig(**{**otherwise, **said})


class TraceConfig(TraceOptions):
    """All options of a trace, none left open; JSON-able, and with model and picture all that a replay needs."""

    preset: str
    calibration: str
    views: int
    untouched: int
    noisy: int
    weighting: str
    refit: float
    damping: float
    positions: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {**asdict(self), "stages": dict(self.stages)}


@dataclass(frozen=True)
class Average:
    """A way to make one map of several traces': its title and a line of help."""

    title: str
    help: str


AVERAGES = {
    "magnitude": Average("Magnitude", "How strongly a pixel counts in the mean, whichever way."),
    "signed": Average("Signed", "What speaks for and against the class cancels out between the traces."),
}
_TRACES = "Several traces of the picture, which differ by their random views, make one map, and show where they agree."


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """How many traces a map is made of, and how.

    Attributes:
        traces: number of traces of the picture; their seeds follow each other. The paper takes one.
        average: a slug of ``AVERAGES``: the mean of the maps' magnitudes or of the maps; of a single trace nothing.
    """

    traces: int = _option(
        1,
        Whole("number of traces", 1, MAX_TRACES, f"must lie between 1 and {MAX_TRACES}"),
        "number of traces that a map is the mean of (the paper and the default: 1)",
        widget=Widget("Traces", _TRACES),
    )
    average: str = _option(
        "magnitude",
        OneOf("average", AVERAGES),
        f"{any_of(AVERAGES)}: what the mean of several traces is of (default: magnitude)",
        widget=Widget("Mean of several traces"),
    )

    @property
    def magnitudes(self) -> bool:
        """Whether the maps are means of magnitudes, which have no sign."""
        return self.traces > 1 and self.average == "magnitude"


def _options_of(declared: type) -> dict[str, Option]:
    found: dict[str, Option] = {one.name: one.metadata["option"] for one in fields(declared)}
    return {name: replace(option, flag=option.flag or "--" + name.replace("_", "-")) for name, option in found.items()}


TRACE_OPTIONS = _options_of(TraceOptions)
BUNDLE_OPTIONS = _options_of(BundleOptions)
_DEFAULTS = TraceOptions()


def checked(options: Mapping[str, object]) -> TraceOptions:
    """Return the options of these names, and the preset that the ratios imply.

    Raises:
        ConfigError: an option is unknown or cannot be used; the sentence names it.
    """
    if unknown := options.keys() - TRACE_OPTIONS.keys():
        raise ConfigError(f"A trace has no option {min(unknown)!r}: take one of {', '.join(TRACE_OPTIONS)}.")
    values: dict[str, Any] = {
        name: TRACE_OPTIONS[name].kind.check(value) for name, value in options.items() if value is not None
    }
    implied = "uniform" if "sparsity" in values else "custom" if values.get("stages") else "default"
    found = TraceOptions(**{"preset": implied, **values})
    if found.sparsity is not None and found.preset not in ("uniform", "paper", "weighted"):
        raise ConfigError(f"The preset {found.preset!r} has its own ratios: leave the sparsity out or take 'uniform'.")
    if found.table is not None:
        if found.preset != "default":
            raise ConfigError(f"The preset {found.preset!r} has its own ratios: leave it out, or the table.")
        checked(found.table["options"])
    return found


def by_ratios(
    options: Mapping[str, object], model: str, methods: Sequence[str]
) -> list[tuple[dict[str, object], tuple[str, ...]]]:
    """Return the options of each trace that the methods' maps are made of, and which methods' these are.

    Where the table of the preset ``default``, a given one or the model's own, has ratios for methods, theirs are in the
    place of the table, and those of the mean of all methods for the others. Else all methods have what is given.

    Args:
        options: as a trace is asked for; model: its name; methods: slugs.

    Raises:
        ConfigError: an option is unknown or cannot be used.
    """
    asked = checked(options)
    tuned = (asked.table or table(model)) if asked.preset == "default" else None
    if tuned is None or not tuned.get("methods"):
        return [(dict(options), tuple(methods))]
    own = of_methods(tuned, methods)
    tables = [one for at, one in enumerate(own.values()) if one not in list(own.values())[:at]]
    return [({**options, "table": one}, tuple(slug for slug in methods if own[slug] == one)) for one in tables]


def checked_bundle(options: Mapping[str, object]) -> BundleOptions:
    """Return the options of a bundle of these names.

    Raises:
        ConfigError: one cannot be used; the sentence names it.
    """
    return BundleOptions(**{name: BUNDLE_OPTIONS[name].kind.check(value) for name, value in options.items()})


def takes_options(function: Function) -> Function:
    """Let help and notebooks show the options of a function that takes them as ``**options``, one by one."""
    found = signature(function)
    kept = [one for one in found.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    options = [
        Parameter(one.name, Parameter.KEYWORD_ONLY, default=getattr(_DEFAULTS, one.name), annotation=one.type)
        for one in fields(TraceOptions)
    ]
    vars(function)["__signature__"] = found.replace(parameters=[*kept, *options])
    attributes = (TraceOptions.__doc__ or "").partition("Attributes:\n")[2].rstrip()
    function.__doc__ = (function.__doc__ or "").replace("        options: see ``TraceOptions``.", attributes)
    return function
