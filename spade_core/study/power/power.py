"""How many people and class neurons a study needs, by simulating it and analysing it as the real one will be.

A study is drawn as its design hands trials out (:mod:`spade_core.study.power.simulated`), answered after stated
assumptions (:mod:`spade_core.study.power.assumed`), and analysed by the primary estimator, for agreement and with half
credit for "cannot tell". The power that counts is that of the verdict: "people chose better" is written only where both
intervals lie above 0.

More people do not make up for few class neurons: with endlessly many people the effect of each class neuron is known,
but not what the next ones would show. :func:`ceiling` is the power of that study.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spade_core.errors import ConfigError
from spade_core.progress import Progress, silent, span
from spade_core.study.analysis.coding import Plan
from spade_core.study.analysis.estimators import Clusters
from spade_core.study.design.design import Design
from spade_core.study.power.assumed import Assumptions, class_neuron_means, draw
from spade_core.study.power.simulated import Batch, from_standard_errors, hand_out, risk_differences

HANDOUTS = 20  # plans with other tie-breaks and orders, among which the simulated studies are divided
MOST_NUMBERS = 1_000_000  # answers drawn at once
CURVE = (0.25, 0.5, 1, 2, 4)  # of the planned participants, where nobody asks for others
ENOUGH = 0.8


@dataclass(frozen=True)
class Found:
    """What simulated studies found about one outcome; every ``…_error`` is a Monte Carlo standard error.

    Attributes:
        effect: the true difference.
        power: share of studies with p at most alpha; with no effect this is the size of the test.
        coverage: share of intervals that hold the true effect.
        mean_se: mean standard error of the estimate.
    """

    effect: float
    power: float
    power_error: float
    coverage: float
    coverage_error: float
    mean_se: float
    mean_se_error: float


@dataclass(frozen=True)
class PowerResult:
    """What simulated studies of one size found.

    Attributes:
        participants: None stands for endlessly many; class_neurons, trials: main trials a person, of all conditions.
        simulations: number of studies.
        primary, half_credit: see :class:`Found`.
        verdict: share of studies that may write "people chose better"; verdict_error: its Monte Carlo standard error.
    """

    participants: int | None
    class_neurons: int
    trials: int
    simulations: int
    primary: Found
    half_credit: Found
    verdict: float
    verdict_error: float


def power(
    design: Design, participants: int, class_neurons: int, assumptions: Assumptions | None = None, *,
    clusters: Clusters = "both", simulations: int = 1000, seed: int = 0, progress: Progress = silent,
) -> PowerResult:  # fmt: skip
    """Return how often a study of this size finds the effect, and how often it may say so.

    Args:
        design: hands out the trials; its ``analysis`` gives alpha and sidedness.
        participants: who complete; class_neurons: of the main items.
        assumptions: None: those of :class:`spade_core.study.power.assumed.Assumptions`.
        clusters: other than ``both`` only to show what goes wrong.
        simulations: number of studies; seed: the same one gives the same result.

    Raises:
        ConfigError: impossible sizes, or a design that does not compare SPADE with dense.
    """
    _check(simulations)
    assumptions, plan = assumptions or Assumptions(), Plan.of(design.analysis)
    rng, shuffle = np.random.default_rng(seed), random.Random(seed)  # noqa: S311 - a simulation
    parts: list[tuple[Batch, Batch]] = []
    done = 0
    for studies in _shares(simulations, HANDOUTS):
        handout = hand_out(design, class_neurons, participants, shuffle)
        for count in _shares(studies, -(-studies * len(handout.spade) // MOST_NUMBERS)):
            progress(done, simulations, f"{participants} people, {class_neurons} class neurons")
            done += count
            agree, undecided = draw(handout, assumptions, count, rng)
            primary, half = (
                risk_differences(values, handout, clusters=clusters, alpha=plan.alpha, sidedness=plan.sidedness)
                for values in (agree.astype(float), agree + 0.5 * undecided)
            )
            parts.append((primary, half))
    primary, half = (_joined([pair[outcome] for pair in parts]) for outcome in (0, 1))
    return _result(participants, class_neurons, design.trials, assumptions, plan, primary, half)


def ceiling(
    design: Design, class_neurons: int, assumptions: Assumptions | None = None, *,
    simulations: int = 1000, seed: int = 0,
) -> PowerResult:  # fmt: skip
    """Return the power with endlessly many people: what this number of class neurons allows at most.

    The averages of each class neuron are then exact, and the estimates and their errors become those of a t-test over
    class neurons, within participants and between them.

    Raises:
        ConfigError: fewer than two class neurons or simulations.
    """
    if class_neurons < 2:
        raise ConfigError("A study needs at least 2 participants and 2 class neurons.")
    assumptions, plan = assumptions or Assumptions(), Plan.of(design.analysis)
    _check(simulations)
    agree, undecided = class_neuron_means(assumptions, class_neurons, simulations, np.random.default_rng(seed))
    primary, half = (
        from_standard_errors(
            gap.mean(1), gap.std(1, ddof=1) / np.sqrt(class_neurons), class_neurons - 1,
            alpha=plan.alpha, sidedness=plan.sidedness,
        )
        for gap in (values[..., 1] - values[..., 0] for values in (agree, agree + 0.5 * undecided))
    )  # fmt: skip
    return _result(None, class_neurons, design.trials, assumptions, plan, primary, half)


def power_report(
    design: Design, class_neurons: Sequence[int], participants: Sequence[int] | None = None,
    assumptions: Assumptions | None = None, *,
    simulations: int = 1000, seed: int = 0, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Return the power over participants for every number of class neurons, with the ceiling of each, JSON-able.

    Args:
        participants: None: from a quarter of the design's target to four times as many.
        class_neurons: where there are fewer than the design's trials, its trials are cut to them.

    Returns:
        ``design``, ``assumptions``, ``simulations``, ``seed``, ``rows`` of :class:`PowerResult` and ``texts``.
    """
    assumptions = assumptions or Assumptions()
    wanted = participants or curve(design)
    rows: list[PowerResult] = []
    total = len(class_neurons) * (len(wanted) + 1)
    for items in class_neurons:
        cut = design.model_copy(update={"trials": min(design.trials, items)})
        for people in wanted:
            part = span(progress, len(rows) / total, (len(rows) + 1) / total)
            rows.append(power(cut, people, items, assumptions, simulations=simulations, seed=seed, progress=part))
        rows.append(ceiling(cut, items, assumptions, simulations=simulations, seed=seed))
    progress(total, total, "done")
    return {
        "design": _described(design), "assumptions": asdict(assumptions), "simulations": simulations, "seed": seed,
        "rows": [asdict(row) for row in rows], "texts": [*_texts(rows), _GUESSES],
    }  # fmt: skip


def curve(design: Design) -> list[int]:
    """Return numbers of participants around the design's target."""
    target = Plan.of(design.analysis).target_participants
    return sorted({max(2, len(design.conditions), round(share * target)) for share in CURVE})


_GUESSES = "The random effects are guesses until a pilot study gives better ones; every figure follows from them."


def _described(design: Design) -> dict[str, Any]:
    plan = Plan.of(design.analysis)
    return {
        "name": design.name, "conditions": list(design.conditions), "arrangement": design.arrangement,
        "order": design.order, "trials": design.trials, "target_participants": plan.target_participants,
        "alpha": plan.alpha, "sidedness": plan.sidedness,
    }  # fmt: skip


def _texts(rows: Sequence[PowerResult]) -> list[str]:
    """Return for each number of class neurons what it takes, and what it never gives."""
    texts = []
    for items in dict.fromkeys(row.class_neurons for row in rows):
        finite = [row for row in rows if row.class_neurons == items and row.participants is not None]
        (limit,) = (row for row in rows if row.class_neurons == items and row.participants is None)
        enough = next((row for row in finite if row.verdict >= ENOUGH), None)
        reached = (
            f"{enough.participants} participants give “people chose better” in {_percent(enough)} of studies"
            if enough
            else f"none of these numbers of participants gives “people chose better” in {100 * ENOUGH:.0f} % of studies"
        )
        texts.append(
            f"{items} class neurons: {reached}; endlessly many would in {_percent(limit)}, the ceiling that the class "
            "neurons set."
        )
    return texts


def _percent(row: PowerResult) -> str:
    return f"{100 * row.verdict:.0f} ± {100 * row.verdict_error:.1f} %"


def _shares(total: int, parts: int) -> Iterator[int]:
    """Divide a number of studies among parts as evenly as can be, leaving out empty ones."""
    return (len(part) for part in np.array_split(np.arange(total), min(parts, total)))


def _check(simulations: int) -> None:
    if simulations < 2:
        raise ConfigError("At least 2 simulated studies are needed; 1000 or more give useful figures.")


def _joined(batches: Sequence[Batch]) -> Batch:
    names = ("estimate", "se", "low", "high", "p")
    return Batch(**{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names})


def _result(
    participants: int | None, class_neurons: int, trials: int, assumptions: Assumptions, plan: Plan, primary: Batch,
    half: Batch,
) -> PowerResult:  # fmt: skip
    better = (primary.low > 0) & (half.low > 0)
    share, error = _share(better)
    return PowerResult(
        participants, class_neurons, trials, len(better), _found(primary, assumptions.effect, plan),
        _found(half, assumptions.half_effect, plan), share, error,
    )  # fmt: skip


def _found(batch: Batch, effect: float, plan: Plan) -> Found:
    """Return the shares; a study whose error cannot be estimated finds nothing and covers nothing."""
    with np.errstate(invalid="ignore"):
        found, covered = batch.p <= plan.alpha, (batch.low <= effect) & (effect <= batch.high)
    known = batch.se[~np.isnan(batch.se)]
    mean, error = (float(known.mean()), float(known.std() / np.sqrt(known.size))) if known.size else (0.0, 0.0)
    return Found(effect, *_share(found), *_share(covered), mean, error)


def _share(hits: np.ndarray) -> tuple[float, float]:
    """Return a share and its Monte Carlo standard error, taken with one hit and one miss more: never 0 by luck."""
    likely = (hits.sum() + 1) / (len(hits) + 2)
    return float(hits.mean()), float(np.sqrt(likely * (1 - likely) / len(hits)))
