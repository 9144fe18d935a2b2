"""What is taken to be true when a study is simulated, and answers drawn from it.

An answer is "cannot tell" or decided, and a decided one agrees with the reference or does not. With d = -1/2 for dense
and 1/2 for SPADE, both on the logit scale,

    logit P(cannot tell)      = c(d) + x_p + y_k
    logit P(agree | decided)  = a(d) + u_p + v_k + (s_p + t_k) d + drift * place

with independent normal intercepts x, y, u, v and slopes s, t of people p and class neurons k; ``place`` goes from -1/2
at a person's first trial to 1/2 at the last. ``c`` and ``a`` are solved for such that the *average* shares over people,
class neurons and places are those that :class:`Assumptions` names; so the effect is the risk difference that the
primary analysis estimates. Without "cannot tell" this is a logistic model of agreement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from spade_core.errors import ConfigError
from spade_core.study.power.simulated import Handout

BASELINE, CANNOT_TELL = 0.567, 0.229  # dense visualizations in SPADE's Table 3
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_PLACES = np.linspace(-0.5, 0.5, 9)


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the random effects on the logit scale. Guesses until a pilot study gives better ones.

    Attributes:
        participant, class_neuron: of the intercepts: some people and some class neurons are easier.
        participant_slope, class_neuron_slope: of the difference SPADE - dense.
        cannot_tell_participant, cannot_tell_class_neuron: some people, some class neurons are undecided more often.
    """

    participant: float = 0.5
    class_neuron: float = 1.0
    participant_slope: float = 0.3
    class_neuron_slope: float = 0.5
    cannot_tell_participant: float = 1.0
    cannot_tell_class_neuron: float = 0.5

    def people(self) -> float:
        """Standard deviation of what a person adds to the logit of agreement under one condition."""
        return float(np.hypot(self.participant, self.participant_slope / 2))

    def total(self) -> float:
        """Standard deviation of that logit under one condition, over people and class neurons."""
        return float(np.hypot(self.people(), np.hypot(self.class_neuron, self.class_neuron_slope / 2)))

    def cannot_tell(self) -> float:
        """Standard deviation of the logit of "cannot tell", over people and class neurons."""
        return float(np.hypot(self.cannot_tell_participant, self.cannot_tell_class_neuron))


@dataclass(frozen=True)
class Assumptions:
    """Average shares of all answers, and how they vary.

    Attributes:
        baseline: agreement under dense; effect: what SPADE adds to it, a risk difference.
        cannot_tell: share under dense; cannot_tell_spade: under SPADE, None: the same. Half credit then differs by
            effect + (cannot_tell_spade - cannot_tell) / 2.
        spread: of the random effects.
        drift: change of the logit of agreement from a person's first trial to the last; it makes the order of
            conditions matter.

    Raises:
        ConfigError: shares that cannot be together, or a negative standard deviation.
    """

    baseline: float = BASELINE
    effect: float = 0.1
    cannot_tell: float = CANNOT_TELL
    cannot_tell_spade: float | None = None
    spread: Spread = field(default_factory=Spread)
    drift: float = 0.0

    def __post_init__(self) -> None:
        if min(vars(self.spread).values()) < 0:
            raise ConfigError("Standard deviations of random effects cannot be negative: give 0 or more.")
        for agree, undecided in zip(self.agree, self.undecided, strict=True):
            if not (0 <= undecided < 1 and 0 < agree < 1 - undecided):
                raise ConfigError(
                    f"{agree:.3g} agreement and {undecided:.3g} “cannot tell” cannot be together: under both "
                    "conditions agreement must lie above 0, and its sum with “cannot tell” below 1."
                )

    @property
    def agree(self) -> tuple[float, float]:
        """Average agreement under dense and under SPADE."""
        return self.baseline, self.baseline + self.effect

    @property
    def undecided(self) -> tuple[float, float]:
        """Average share of "cannot tell" under dense and under SPADE."""
        return self.cannot_tell, self.cannot_tell if self.cannot_tell_spade is None else self.cannot_tell_spade

    @property
    def half_effect(self) -> float:
        """What SPADE adds to the average with half credit for "cannot tell"."""
        return self.effect + (self.undecided[1] - self.undecided[0]) / 2

    def logits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean logits of "cannot tell" and of agreement when decided, ``(2,)`` each: dense, SPADE."""
        undecided = [_logit(share, self.spread.cannot_tell(), 0.0) for share in self.undecided]
        agree = [
            _logit(a / (1 - u), self.spread.total(), self.drift)
            for a, u in zip(self.agree, self.undecided, strict=True)
        ]
        return np.array(undecided), np.array(agree)


def draw(
    handout: Handout, assumptions: Assumptions, studies: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return answers of many studies with the same plan and new people and class neurons each.

    Returns:
        ``agree`` and ``undecided``, ``(studies, n)`` bool each.
    """
    spread = assumptions.spread
    people, items = handout.participant, handout.class_neuron
    side, d = handout.spade.astype(int), handout.spade - 0.5

    def effects(sd: float, of: np.ndarray, count: int) -> np.ndarray:
        return (sd * rng.standard_normal((studies, count)))[:, of]

    undecided_logit, agree_logit = assumptions.logits()
    agree = agree_logit[side] + assumptions.drift * handout.place
    agree = agree + effects(spread.participant, people, handout.participants)
    agree += effects(spread.class_neuron, items, handout.class_neurons)
    agree += d * effects(spread.participant_slope, people, handout.participants)
    agree += d * effects(spread.class_neuron_slope, items, handout.class_neurons)
    undecided = undecided_logit[side] + effects(spread.cannot_tell_participant, people, handout.participants)
    undecided += effects(spread.cannot_tell_class_neuron, items, handout.class_neurons)
    cannot_tell = rng.random(undecided.shape) < expit(undecided)
    return (rng.random(agree.shape) < expit(agree)) & ~cannot_tell, cannot_tell


def class_neuron_means(
    assumptions: Assumptions, class_neurons: int, studies: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return each class neuron's exact averages over endlessly many people.

    Returns:
        agreement and the share of "cannot tell", ``(studies, class neurons, 2)`` each: dense, SPADE.
    """
    spread = assumptions.spread
    d = np.array([-0.5, 0.5])

    def effects(sd: float) -> np.ndarray:
        return sd * rng.standard_normal((studies, class_neurons, 1))

    undecided_logit, agree_logit = assumptions.logits()
    agree = agree_logit + effects(spread.class_neuron) + effects(spread.class_neuron_slope) * d
    undecided = undecided_logit + effects(spread.cannot_tell_class_neuron)
    share = _average(undecided, spread.cannot_tell_participant, 0.0)
    return _average(agree, spread.people(), assumptions.drift) * (1 - share), share


def _average(logit: np.ndarray | float, sd: float, drift: float) -> np.ndarray:
    """Return the average probability where a normal deviation, and the drift, are added to a logit."""
    places = drift * _PLACES if drift else np.zeros(1)
    total = np.zeros(np.shape(logit))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        for place in places:
            total = total + weight / len(places) * expit(logit + sd * node + place)
    return total


@lru_cache(maxsize=256)
def _logit(probability: float, sd: float, drift: float) -> float:
    """Return the mean logit at which the average is ``probability``."""
    if probability == 0:
        return -np.inf
    return float(brentq(lambda mean: float(_average(mean, sd, drift)) - probability, -60, 60))
