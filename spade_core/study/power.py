"""How many people and class neurons a study needs, by simulating it and analysing it as the real one will be.

The model is on the logit scale. With d = -1/2 for dense and 1/2 for SPADE,

    logit P(agree) = a + b d + u_p + v_k + (s_p + t_k) d

with normal intercepts u, v and slopes s, t of people p and class neurons k, all independent. ``a`` and ``b`` are
solved for such that the *average* probabilities over people and class neurons are the baseline (dense) and the
baseline + effect (SPADE); so the effect is the risk difference that the primary analysis estimates.

Nobody meets a class neuron twice. People come in pairs that meet the same class neurons under opposite conditions, so
each class neuron is seen equally often under both.

More people do not make up for few class neurons: with endlessly many people the effect of each class neuron is known,
but not what the next ones would show. :func:`ceiling` is the power of that study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, stdtr

from spade_core.errors import ConfigError
from spade_core.progress import Progress, silent
from spade_core.study.estimators import Clusters, Sidedness, risk_difference

__all__ = ["BASELINE", "PowerResult", "Spread", "Trials", "ceiling", "power", "power_table", "simulate_trials"]

BASELINE = 0.567  # agreement with dense visualizations in SPADE's Table 3, cannot tell counting as 0
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the random effects on the logit scale. Guesses until a pilot study gives better ones.

    Attributes:
        participant, class_neuron: of the intercepts: some people and some class neurons are easier.
        participant_slope, class_neuron_slope: of the difference SPADE - dense.
    """

    participant: float = 0.5
    class_neuron: float = 1.0
    participant_slope: float = 0.3
    class_neuron_slope: float = 0.5

    def people(self) -> float:
        """Standard deviation of what a person adds to the logit under one condition."""
        return float(np.hypot(self.participant, self.participant_slope / 2))

    def total(self) -> float:
        """Standard deviation of the logit under one condition, over people and class neurons."""
        return float(np.hypot(self.people(), np.hypot(self.class_neuron, self.class_neuron_slope / 2)))


@dataclass(frozen=True)
class Trials:
    """The main trials of one simulated study, ``(n,)`` each: ``agree`` 0 or 1, ``spade`` bool, labels from 0."""

    agree: np.ndarray
    spade: np.ndarray
    participant: np.ndarray
    class_neuron: np.ndarray


@dataclass(frozen=True)
class PowerResult:
    """What simulated studies of one size found.

    Attributes:
        participants: None stands for endlessly many; class_neurons, trials_per_person: the study's size.
        effect, baseline: the true risk difference, and the average agreement with dense visualizations.
        simulations: number of studies.
        power: share of studies with p at most alpha; with no effect this is the size of the test.
        error: Monte Carlo standard error of ``power``.
        mean_se: mean standard error of the estimate.
        coverage: share of intervals that hold the true effect.
    """

    participants: int | None
    class_neurons: int
    trials_per_person: int
    effect: float
    baseline: float
    simulations: int
    power: float
    error: float
    mean_se: float
    coverage: float


def simulate_trials(
    participants: int, class_neurons: int, trials_per_person: int | None = None, *, rng: np.random.Generator,
    effect: float = 0.0, baseline: float = BASELINE, spread: Spread = Spread(),
) -> Trials:  # fmt: skip
    """Return the main trials of one study after the model above.

    Args:
        participants, class_neurons: at least two each.
        trials_per_person: half of them in each condition; None: all class neurons.
        rng: source of everything random.
        effect: true risk difference; baseline: average agreement under dense.
        spread: of the random effects.

    Raises:
        ConfigError: impossible sizes or probabilities.
    """
    count = _check(participants, class_neurons, trials_per_person, effect, baseline)
    pairs = -(-participants // 2)
    met = np.argsort(rng.random((pairs, class_neurons)), 1)[:, :count]
    first = np.arange(count) < count // 2
    item = np.repeat(met, 2, 0)[:participants]  # (participants, count)
    spade = np.tile(np.stack([first, ~first]), (pairs, 1))[:participants]
    person_intercept, person_slope = rng.normal(size=(2, participants, 1)) * np.reshape(
        [spread.participant, spread.participant_slope], (2, 1, 1)
    )
    item_intercept, item_slope = rng.normal(size=(2, class_neurons)) * np.reshape(
        [spread.class_neuron, spread.class_neuron_slope], (2, 1)
    )
    dense_logit, spade_logit = (_logit(p, spread.total()) for p in (baseline, baseline + effect))
    half = spade - 0.5
    logit = np.where(spade, spade_logit, dense_logit) + person_intercept + item_intercept[item]
    logit = logit + (person_slope + item_slope[item]) * half
    agree = rng.random(logit.shape) < expit(logit)
    person = np.repeat(np.arange(participants), count)
    return Trials(agree.ravel().astype(float), spade.ravel(), person, item.ravel())


def power(
    participants: int, class_neurons: int, trials_per_person: int | None = None, effect: float = 0.1, *,
    baseline: float = BASELINE, spread: Spread = Spread(), alpha: float = 0.05, sidedness: Sidedness = "two-sided",
    clusters: Clusters = "both", simulations: int = 1000, seed: int = 0, progress: Progress = silent,
) -> PowerResult:  # fmt: skip
    """Return how often the primary analysis finds the effect.

    Args:
        participants to spread: as in :func:`simulate_trials`.
        alpha, sidedness: of the primary analysis; clusters: other than ``both`` only to show what goes wrong.
        simulations: number of studies; seed: the same one gives the same result.

    Raises:
        ConfigError: impossible sizes or probabilities.
    """
    count = _check(participants, class_neurons, trials_per_person, effect, baseline)
    if simulations < 2:
        raise ConfigError("At least 2 simulated studies are needed; 1000 or more give useful figures.")
    rng = np.random.default_rng(seed)
    found, covered, errors = np.zeros(simulations), np.zeros(simulations), np.zeros(simulations)
    for study in range(simulations):
        progress(study, simulations, "simulating studies")
        t = simulate_trials(
            participants, class_neurons, count, rng=rng, effect=effect, baseline=baseline, spread=spread
        )
        result = risk_difference(
            t.agree, t.spade, t.participant, t.class_neuron, clusters=clusters, alpha=alpha, sidedness=sidedness
        )
        found[study] = result.p is not None and result.p <= alpha
        above = result.low is not None and result.low <= effect
        covered[study] = above and (result.high is None or effect <= result.high)
        errors[study] = result.se
    share = float(found.mean())
    return PowerResult(
        participants, class_neurons, count, effect, baseline, simulations, share, _error(share, simulations),
        float(errors.mean()), float(covered.mean()),
    )  # fmt: skip


def ceiling(
    class_neurons: int, effect: float = 0.1, *, baseline: float = BASELINE, spread: Spread = Spread(),
    alpha: float = 0.05, sidedness: Sidedness = "two-sided", simulations: int = 1000, seed: int = 0,
) -> PowerResult:  # fmt: skip
    """Return the power with endlessly many people: what this number of class neurons allows at most.

    The agreement of each class neuron is then its exact average over people, and the primary estimate and its error
    become those of a t-test over class neurons.
    """
    _check(2, class_neurons, None, effect, baseline)
    rng = np.random.default_rng(seed)
    intercept = rng.normal(scale=spread.class_neuron, size=(simulations, class_neurons, 1))
    slope = rng.normal(scale=spread.class_neuron_slope, size=(simulations, class_neurons, 1))
    people = spread.people() * _NODES
    means = [
        expit(_logit(probability, spread.total()) + intercept + slope * d + people) @ _WEIGHTS
        for probability, d in ((baseline, -0.5), (baseline + effect, 0.5))
    ]
    differences = means[1] - means[0]
    value = differences.mean(1)
    se = np.maximum(differences.std(1, ddof=1) / np.sqrt(class_neurons), np.finfo(float).tiny)
    t, df = value / se, class_neurons - 1
    p = stdtr(df, -t) if sidedness == "greater" else 2 * stdtr(df, -abs(t))
    off = stdtr(df, -(value - effect) / se) if sidedness == "greater" else 2 * stdtr(df, -abs(value - effect) / se)
    share = float((p <= alpha).mean())
    return PowerResult(
        None, class_neurons, class_neurons, effect, baseline, simulations, share, _error(share, simulations),
        float(se.mean()), float((off > alpha).mean()),
    )  # fmt: skip


def power_table(
    participants: Sequence[int], class_neurons: Sequence[int], trials_per_person: int | None = None,
    effect: float = 0.1, *, baseline: float = BASELINE, spread: Spread = Spread(), alpha: float = 0.05,
    sidedness: Sidedness = "two-sided", simulations: int = 1000, seed: int = 0, progress: Progress = silent,
) -> pd.DataFrame:  # fmt: skip
    """Return one row of :class:`PowerResult` for every combination, and per number of class neurons the ceiling.

    The ceiling is the row whose ``participants`` is missing. ``trials_per_person`` is cut to the class neurons there
    are.
    """
    rows: list[PowerResult] = []
    total = len(class_neurons) * len(participants)
    for items in class_neurons:
        count = items if trials_per_person is None else min(trials_per_person, items)
        for people in participants:
            progress(len(rows), total, f"{people} people, {items} class neurons")
            rows.append(
                power(people, items, count, effect, baseline=baseline, spread=spread, alpha=alpha,
                      sidedness=sidedness, simulations=simulations, seed=seed)
            )  # fmt: skip
        rows.append(
            ceiling(items, effect, baseline=baseline, spread=spread, alpha=alpha, sidedness=sidedness,
                    simulations=simulations, seed=seed)
        )  # fmt: skip
    return pd.DataFrame([asdict(row) for row in rows]).astype({"participants": "Int64"})


def _check(participants: int, class_neurons: int, trials_per_person: int | None, effect: float, baseline: float) -> int:
    """Return the trials per person, or say what cannot be."""
    if participants < 2 or class_neurons < 2:
        raise ConfigError("A study needs at least 2 participants and 2 class neurons.")
    count = class_neurons if trials_per_person is None else trials_per_person
    if not 2 <= count <= class_neurons:
        raise ConfigError(
            f"Nobody meets a class neuron twice: give between 2 and {class_neurons} trials per person, not {count}."
        )
    if not (0 < baseline < 1 and 0 < baseline + effect < 1):
        raise ConfigError("The baseline and the baseline + effect must lie between 0 and 1.")
    return count


def _error(share: float, simulations: int) -> float:
    return float(np.sqrt(share * (1 - share) / simulations))


@lru_cache(maxsize=64)
def _logit(probability: float, sd: float) -> float:
    """Return the mean logit at which a normal logit of this standard deviation averages to ``probability``."""
    return float(brentq(lambda mean: float(expit(mean + sd * _NODES) @ _WEIGHTS) - probability, -60, 60))
