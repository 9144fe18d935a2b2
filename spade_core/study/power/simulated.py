"""Which class neurons people meet under which condition, as arrays: the plan that a study hands out, without answers.

Everything comes from :mod:`spade_core.study.design.schedule`, so that power is computed for the trials that people will
get. Only trials with dense or SPADE visualizations are kept: the others take a person's time and enter no comparison
here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from spade_core.errors import ConfigError
from spade_core.study.design.design import Design
from spade_core.study.design.schedule import grid, ordered, slots

COMPARED = ("dense", "spade")


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
    spade, person_of, neuron, place = (np.asarray(column) for column in zip(*rows, strict=True)) if rows else [()] * 4
    found = Handout(np.asarray(spade, dtype=bool), np.asarray(person_of), np.asarray(neuron), np.asarray(place),
                    participants, class_neurons)  # fmt: skip
    if not rows or found.spade.all() or not found.spade.any():
        raise ConfigError(
            f"{participants} participants leave one of the two conditions empty: give at least {len(cells)}, one for "
            "each cell of the design."
        )
    return found


def _check(design: Design, class_neurons: int, participants: int) -> None:
    if set(COMPARED) - set(design.conditions):
        raise ConfigError("Power is that of SPADE against dense: the design's “conditions” must hold both.")
    if participants < 2 or class_neurons < 2:
        raise ConfigError("A study needs at least 2 participants and 2 class neurons.")
    if not 2 <= design.trials <= class_neurons:
        raise ConfigError(
            f"Nobody meets a class neuron twice: give between 2 and {class_neurons} trials a person, not "
            f"{design.trials}."
        )
    if design.arrangement == "within" and design.trials < len(design.conditions):
        raise ConfigError(f"Everybody meets all conditions: give at least {len(design.conditions)} trials a person.")
