"""Finished runs as evidence: those that are shipped, one's own, and the paper's tables beside them.

Shipped are the ``results.parquet`` of runs on the reporting split, in ``assets/evidence``; their commands are in
``docs/measurements.md``. Nothing here imports torch: pages show evidence beside maps.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, TypedDict

from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.evaluation.configuration import seed_of
from spade_core.evaluation.records import RECORDS, RESULTS, Results, read_results
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.pruning.options import TraceOptions
from spade_core.saliency.metrics import Interval
from spade_core.trojan.triggers import Paste

FOLDER = ASSETS / "evidence"
DEFAULT = "default"  # the arm that a page's own traces belong to


class Published(TypedDict):
    """A table of the paper; ``rows``: method slug -> a number a column."""

    title: str
    shown: str
    columns: list[str]
    rows: dict[str, list[float]]


@cache
def published(benchmark: str) -> Published | None:
    """Return the paper's table of a benchmark, or None where it has none."""
    return json.loads((FOLDER / "paper.json").read_text(encoding="utf-8")).get(benchmark)


@dataclass(frozen=True, eq=False)
class Evidence:
    """A finished run."""

    results: Results
    statistics: Statistics

    @classmethod
    def of(cls, source: Path | BinaryIO) -> Evidence:
        """Open a ``results.parquet``.

        Raises:
            ConfigError: it is something else.
        """
        found = read_results(source)
        return cls(found, Statistics(found.configuration, found.scores, found.outcomes))

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.results.header["model"])

    def paste(self, picture: int) -> Paste | None:
        """Return the trigger that was pasted into a picture."""
        _, sha256, trigger = self.results.pictures[picture]
        return Paste(trigger, seed=seed_of(self.results.configuration.seed, sha256)) if trigger else None


def results_in(folder: Path) -> Evidence:
    """Open what a benchmark wrote into its folder.

    Raises:
        ConfigError: there is no finished run, or what is there cannot be read.
    """
    with suppress(OSError):
        if (file := folder / RESULTS).is_file():
            return Evidence.of(file)
        if (folder / RECORDS).is_file():
            raise ConfigError("The run of this folder has not ended: give its command once more, and it goes on.")
    raise ConfigError("The folder is absent, cannot be read, or holds no results: give the --out of a benchmark.")


@cache
def shipped() -> dict[str, Evidence]:
    """Return the shipped runs by name."""
    return {file.stem: Evidence.of(file) for file in sorted(FOLDER.glob("*.parquet"))}


@dataclass(frozen=True)
class Claim:
    """What a method's maps of default traces gained over the dense ones, under one processing.

    Attributes:
        gain: percent of the dense error that is gone; ``points`` of the metric where that has no error.
    """

    processing: str
    gain: Interval
    points: bool = False

    @property
    def holds(self) -> bool:
        """Whether the interval lies above 0."""
        return self.gain.low > 0

    @property
    def refuted(self) -> bool:
        """Whether the interval lies below 0."""
        return self.gain.high < 0

    @property
    def about(self) -> str:
        """What is claimed, of how many pictures."""
        what = "Faithfulness gained" if self.points else "Dense error gone"
        return f"{what} on {self.gain.n} {'pictures' if self.points else 'triggered pictures'}"

    def __str__(self) -> str:
        mean, low, high = self.gain.mean, self.gain.low, self.gain.high
        if self.points:
            return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"
        return f"{mean:.0f} % [{low:.0f}, {high:.0f}]"


def claims(weights: str, trace: Mapping[str, object], options: Collection[str] = ()) -> Mapping[str, tuple[Claim, ...]]:
    """Return method -> what shipped runs say of its maps, where they are of the same weights, trace and method.

    Args:
        weights: sha256 of the model; trace: options of the trace that is shown.
        options: slugs of the methods that have options of their own, of which nothing was measured.
    """
    known = _claims(weights) if _is_default(trace) else {}
    return {slug: told for slug, told in known.items() if slug not in options}


def _is_default(trace: Mapping[str, object]) -> bool:
    """Whether options of a trace are the default's, whatever its seed."""
    plain = {**TraceOptions().given(), "preset": DEFAULT}
    return plain == {**plain, **{name: value for name, value in trace.items() if name != "seed"}}


@cache
def _claims(weights: str) -> Mapping[str, tuple[Claim, ...]]:
    found: dict[str, tuple[Claim, ...]] = {}
    for evidence in shipped().values():
        chosen = evidence.results.configuration
        told = evidence.results.header["weights"] == weights and {DENSE, DEFAULT} <= set(chosen.arms)
        if told and _is_default(chosen.trace) and not chosen.options:
            made = ((slug, _claims_of(evidence.statistics, at)) for at, slug in enumerate(chosen.methods))
            found |= {slug: own for slug, own in made if own}
    return found


def _claims_of(statistics: Statistics, method: int) -> tuple[Claim, ...]:
    """Return what a run says of a method by its first metric; nothing where its default map is the dense one."""
    chosen, at = statistics.configuration, slice(method, method + 1)
    arms = (chosen.arms.index(arm) for arm in (DENSE, DEFAULT))
    dense, own = (statistics.scores[:, arm, method] for arm in arms)
    if (dense == own).all():
        return ()
    points = not chosen.metrics[0].has_error
    gain = partial(statistics.difference, other=DENSE) if points else statistics.removed
    return tuple(
        Claim(slug, gain(DEFAULT, methods=at, processing=number, metric=0), points)
        for number, slug in enumerate(chosen.processing)
    )
