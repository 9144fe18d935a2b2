"""How many people and class neurons a study needs, by simulating it and analysing it as the real one will be.

A study is drawn as its design hands trials out (:mod:`spade_core.study.power.simulated`), answered after stated
assumptions (:mod:`spade_core.study.power.assumed`), and analysed by the primary estimator, for agreement and with half
credit for "cannot tell". The power that counts is that of the verdict: "people chose better" is written only where both
intervals lie above 0.

More people do not make up for few class neurons: with endlessly many people the effect of each class neuron is known,
but not what the next ones would show. :func:`ceiling` is the power of that study.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from spade_core.errors import ConfigError
from spade_core.progress import Progress, silent, span
from spade_core.study.analysis.estimators import Clusters, Test
from spade_core.study.analysis.findings import Value
from spade_core.study.design.design import Analysis, Design
from spade_core.study.design.schedule import seeded
from spade_core.study.power.assumed import Assumptions, class_neuron_means, draw
from spade_core.study.power.simulated import Estimates, from_standard_errors, hand_out, joined, risk_differences

HANDOUTS = 20  # plans with other tie-breaks and orders, among which the simulated studies are divided
MOST_NUMBERS = 1_000_000  # answers drawn at once
CURVE = (0.25, 0.5, 1, 2, 4)  # of the planned participants, where nobody asks for others
ENOUGH = 0.8
DESCRIBED = ("name", "conditions", "arrangement", "order", "trials", "target_participants", "alpha", "sidedness")
GUESSES = "The random effects are guesses until a pilot study gives better ones; every figure follows from them."


class Rates(Value):
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


class PowerResult(Value):
    """What simulated studies of one size found.

    Attributes:
        participants: None stands for endlessly many; class_neurons, trials: main trials a person, of all conditions.
        simulations: number of studies.
        primary, half_credit: see :class:`Rates`.
        verdict: share of studies that may write "people chose better"; verdict_error: its Monte Carlo standard error.
    """

    participants: int | None
    class_neurons: int
    trials: int
    simulations: int
    primary: Rates
    half_credit: Rates
    verdict: float
    verdict_error: float


class PowerRequest(Value):
    """What power is computed for, as a job is asked for it.

    Attributes:
        class_neurons: where there are fewer than the design's trials, its trials are cut to them.
        participants: None: from a quarter of the design's target to four times as many.
    """

    design: Design
    class_neurons: tuple[int, ...]
    participants: tuple[int, ...] | None = None
    assumptions: Assumptions = Assumptions()
    simulations: int = 1000
    seed: int = 0


class PowerReport(Value):
    """Power by numbers of class neurons and participants, the ceiling of each number of class neurons after the others.

    Attributes:
        design: what shapes its trials and the test.
        texts: for each number of class neurons what it takes, and what it never gives.
    """

    design: dict[str, str | int | float | list[str]]
    assumptions: Assumptions
    simulations: int
    seed: int
    rows: tuple[PowerResult, ...]
    texts: tuple[str, ...]


def power(
    design: Design,
    participants: int,
    class_neurons: int,
    assumptions: Assumptions | None = None,
    *,
    clusters: Clusters = "both",
    simulations: int = 1000,
    seed: int = 0,
    progress: Progress = silent,
) -> PowerResult:
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
    assumptions, test = assumptions or Assumptions(), _test(design.analysis, clusters)
    rng, shuffle = np.random.default_rng(seed), seeded(seed)
    primary, half = [], []
    done = 0
    for studies in _shares(simulations, HANDOUTS):
        handout = hand_out(design, class_neurons, participants, shuffle)
        for count in _shares(studies, -(-studies * len(handout.spade) // MOST_NUMBERS)):
            progress(done, simulations, f"{participants} people, {class_neurons} class neurons")
            done += count
            agree, undecided = draw(handout, assumptions, count, rng)
            primary.append(risk_differences(agree.astype(float), handout, **test))
            half.append(risk_differences(agree + 0.5 * undecided, handout, **test))
    return _result(design, participants, class_neurons, assumptions, joined(primary), joined(half))


def ceiling(
    design: Design,
    class_neurons: int,
    assumptions: Assumptions | None = None,
    *,
    simulations: int = 1000,
    seed: int = 0,
) -> PowerResult:
    """Return the power with endlessly many people: what this number of class neurons allows at most.

    The averages of each class neuron are then exact, and the estimates and their errors become those of a t-test over
    class neurons, within participants and between them.

    Raises:
        ConfigError: fewer than two class neurons or simulations.
    """
    if class_neurons < 2:
        raise ConfigError("A study needs at least 2 participants and 2 class neurons: give more.")
    _check(simulations)
    assumptions, test = assumptions or Assumptions(), _test(design.analysis)
    agree, undecided = class_neuron_means(assumptions, class_neurons, simulations, np.random.default_rng(seed))
    found = []
    for values in (agree, agree + 0.5 * undecided):
        gap = values[..., 1] - values[..., 0]
        se = gap.std(1, ddof=1) / np.sqrt(class_neurons)
        found.append(from_standard_errors(gap.mean(1), se, class_neurons - 1, **test))
    return _result(design, None, class_neurons, assumptions, *found)


def power_report(asked: PowerRequest, progress: Progress = silent) -> PowerReport:
    """Return the power over participants for every number of class neurons, with the ceiling of each."""
    design, assumptions = asked.design, asked.assumptions
    wanted = asked.participants or curve(design)
    simulations, seed = asked.simulations, asked.seed
    rows: list[PowerResult] = []
    texts: list[str] = []
    total = len(asked.class_neurons) * (len(wanted) + 1)
    for items in asked.class_neurons:
        cut = design.model_copy(update={"trials": min(design.trials, items)})
        for people in wanted:
            part = span(progress, len(rows) / total, (len(rows) + 1) / total)
            rows.append(power(cut, people, items, assumptions, simulations=simulations, seed=seed, progress=part))
        rows.append(ceiling(cut, items, assumptions, simulations=simulations, seed=seed))
        texts.append(_text(rows[-len(wanted) - 1 :]))
    progress(total, total, "done")
    known = {**design.model_dump(mode="json"), **design.analysis.model_dump(mode="json")}
    return PowerReport(
        design={name: known[name] for name in DESCRIBED},
        assumptions=assumptions,
        simulations=simulations,
        seed=seed,
        rows=tuple(rows),
        texts=(*texts, GUESSES),
    )


def curve(design: Design) -> list[int]:
    """Return numbers of participants around the design's target."""
    target = design.analysis.target_participants
    return sorted({max(2, len(design.conditions), round(share * target)) for share in CURVE})


def _text(rows: Sequence[PowerResult]) -> str:
    """Return what one number of class neurons takes, and what it never gives; its ceiling comes last."""
    *finite, limit = rows
    enough = next((row for row in finite if row.verdict >= ENOUGH), None)
    reached = (
        f"{enough.participants} participants give “people chose better” in {_percent(enough)} of studies"
        if enough
        else f"none of these numbers of participants gives “people chose better” in {100 * ENOUGH:.0f} % of studies"
    )
    return (
        f"{limit.class_neurons} class neurons: {reached}; endlessly many would in {_percent(limit)}, the ceiling that "
        "the class neurons set."
    )


def _percent(row: PowerResult) -> str:
    return f"{100 * row.verdict:.0f} ± {100 * row.verdict_error:.1f} %"


def _test(analysis: Analysis, clusters: Clusters = "both") -> Test:
    return {"alpha": analysis.alpha, "sidedness": analysis.sidedness, "clusters": clusters}


def _shares(total: int, parts: int) -> Iterator[int]:
    """Divide a number of studies among parts as evenly as can be, leaving out empty ones."""
    return (len(part) for part in np.array_split(np.arange(total), min(parts, total)))


def _check(simulations: int) -> None:
    if simulations < 2:
        raise ConfigError("At least 2 simulated studies are needed; 1000 or more give useful figures.")


def _result(
    design: Design,
    participants: int | None,
    class_neurons: int,
    assumptions: Assumptions,
    primary: Estimates,
    half: Estimates,
) -> PowerResult:
    return PowerResult(
        participants=participants,
        class_neurons=class_neurons,
        trials=design.trials,
        simulations=len(primary.low),
        primary=_rates(primary, assumptions.effect, design.analysis.alpha),
        half_credit=_rates(half, assumptions.half_effect, design.analysis.alpha),
        **_share("verdict", (primary.low > 0) & (half.low > 0)),
    )


def _rates(found: Estimates, effect: float, alpha: float) -> Rates:
    """Return the shares; a study whose error cannot be estimated finds nothing and covers nothing."""
    with np.errstate(invalid="ignore"):
        significant, covered = found.p <= alpha, (found.low <= effect) & (effect <= found.high)
    known = found.se[~np.isnan(found.se)]
    mean, error = (known.mean(), known.std() / np.sqrt(known.size)) if known.size else (0.0, 0.0)
    shares = _share("power", significant) | _share("coverage", covered)
    return Rates(effect=effect, **shares, mean_se=mean, mean_se_error=error)


def _share(name: str, hits: np.ndarray) -> dict[str, float]:
    """Return a share and its Monte Carlo standard error, taken with one hit and one miss more: never 0 by luck."""
    likely = (hits.sum() + 1) / (len(hits) + 2)
    return {name: hits.mean(), f"{name}_error": np.sqrt(likely * (1 - likely) / len(hits))}
