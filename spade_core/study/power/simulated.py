"""Simulated studies as arrays: who meets which class neuron under which condition, and estimates of many at once.

The trials come from :mod:`spade_core.study.design.schedule`, so that power is computed for those that people will get.
Only trials with dense or SPADE visualizations are kept: the others take a person's time and enter no comparison here.

Studies with the same trials are estimated together, by sums over clusters in closed form. That is the primary analysis
(:func:`spade_core.study.analysis.estimators.risk_difference`): a thousand studies of 480 answers take 0.02 s, one after
the other 1.5 s.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Unpack

import numpy as np
from scipy.sparse import csr_array
from scipy.special import stdtr, stdtrit

from spade_core.errors import ConfigError
from spade_core.study.analysis.estimators import ZERO, Test
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import grid, ordered, slots
from spade_core.study.vocabulary import COMPARED


@dataclass(frozen=True)
class Handout:
    """The compared trials of all participants.

    Attributes:
        spade: ``(n,)`` bool, false for dense.
        participant, class_neuron: ``(n,)`` int, from 0; who met neither condition has no rows.
        place: ``(n,)`` where the trial lies among the person's main trials, -0.5 first to 0.5 last.
        participants, class_neurons: how many there are, those without rows included.
    """

    spade: np.ndarray
    participant: np.ndarray
    class_neuron: np.ndarray
    place: np.ndarray
    participants: int
    class_neurons: int


def hand_out(design: Design, class_neurons: int, participants: int, rng: random.Random) -> Handout:
    """Return the trials of this many participants; the least filled cell comes first, ties broken at random.

    Raises:
        ConfigError: a design that compares nothing, or sizes that it cannot be run with.
    """
    _check(design, class_neurons, participants)
    cells = grid(design, class_neurons)
    rows: list[tuple[bool, int, int, float]] = []
    turns: list[int] = []
    for person in range(participants):
        turns = turns or rng.sample(range(len(cells)), len(cells))
        cell = cells[turns.pop()]
        trials = ordered(design, cell, slots(design, class_neurons, cell), rng)
        rows += [
            (slot.condition == "spade", person, slot.neuron, number / max(1, len(trials) - 1) - 0.5)
            for number, slot in enumerate(trials)
            if slot.condition in COMPARED
        ]
    if len({spade for spade, *_ in rows}) < 2:
        raise ConfigError(
            f"{participants} participants leave one of the two conditions empty: give at least {len(cells)}, one for "
            "each cell of the design."
        )
    spade, person_of, neuron, place = (np.asarray(column) for column in zip(*rows, strict=True))
    return Handout(spade, person_of, neuron, place, participants, class_neurons)


def _check(design: Design, class_neurons: int, participants: int) -> None:
    if set(COMPARED) - set(design.conditions):
        raise ConfigError("Power is that of SPADE against dense: the design's “conditions” must hold both.")
    if participants < 2 or class_neurons < 2:
        raise ConfigError("A study needs at least 2 participants and 2 class neurons: give more.")
    if not 2 <= design.trials <= class_neurons:
        raise ConfigError(
            f"Nobody meets a class neuron twice: give between 2 and {class_neurons} trials a person, not "
            f"{design.trials}."
        )
    if design.arrangement == "within" and design.trials < len(design.conditions):
        raise ConfigError(f"Everybody meets all conditions: give at least {len(design.conditions)} trials a person.")


@dataclass(frozen=True)
class Estimates:
    """Estimates of many studies, ``(studies,)`` each; NaN where there is no error, ``high`` inf if one-sided."""

    estimate: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def risk_differences(outcome: np.ndarray, handout: Handout, **test: Unpack[Test]) -> Estimates:
    """Return the difference SPADE - dense of every study.

    Args:
        outcome: ``(studies, n)``, none missing; handout: the plan of all of them.
        test: as in :func:`spade_core.study.analysis.estimators.risk_difference`.
    """
    d = handout.spade
    mean1, mean0 = (outcome[:, side].mean(1, keepdims=True) for side in (d, ~d))
    influence = np.where(d, (outcome - mean1) / d.sum(), (mean0 - outcome) / (~d).sum())
    people, people_count = _summed(influence, handout.participant)
    items, items_count = _summed(influence, handout.class_neuron)
    both, _ = _summed(influence, np.arange(d.size))  # nobody meets a class neuron twice: each answer is its own pair
    variance, df = {
        "participant": (people, people_count - 1),
        "class_neuron": (items, items_count - 1),
        "both": (np.maximum(np.maximum(people, items), people + items - both), min(people_count, items_count) - 1),
    }[test.get("clusters", "both")]
    return from_standard_errors((mean1 - mean0)[:, 0], np.sqrt(variance), df, **test)


def from_standard_errors(estimate: np.ndarray, se: np.ndarray, df: int, **test: Unpack[Test]) -> Estimates:
    """Return intervals and p values by t with ``df`` degrees of freedom."""
    alpha, one_sided = test.get("alpha", 0.05), test.get("sidedness") == "greater"
    se = np.where(se < ZERO, np.nan, se)
    margin = se * stdtrit(df, 1 - alpha if one_sided else 1 - alpha / 2)
    t = estimate / se
    p = stdtr(df, -t) if one_sided else 2 * stdtr(df, -abs(t))
    high = np.where(np.isnan(se), np.nan, np.inf) if one_sided else estimate + margin
    return Estimates(estimate, se, estimate - margin, high, p)


def joined(parts: Sequence[Estimates]) -> Estimates:
    """Return several batches of studies as one."""
    return Estimates(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Estimates)))


def _summed(influence: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the cluster-robust variance of each study by one kind of cluster, and how many clusters there are."""
    names, codes = np.unique(label, return_inverse=True)
    n, groups = len(codes), len(names)
    sums = influence
    if groups < n:
        member = csr_array((np.ones(n), (codes, np.arange(n))), shape=(groups, n))
        sums = (member @ influence.T).T
    factor = groups / (groups - 1) * (n - 1) / (n - 2)
    return factor * (sums * sums).sum(1), groups
