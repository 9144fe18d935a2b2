"""Who sees what: cells, and the trials of one participant, from seeds alone.

The dense visualization of a class does not depend on the picture, so nobody meets one class neuron in two conditions,
nor twice outside repeats. Over all cells every class neuron is met equally often in every condition.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import gcd
from typing import TypeVar

from spade_core.study.design.design import Design
from spade_core.study.stimuli.stimulus_set import Item, StimulusSet
from spade_core.study.vocabulary import CONDITIONS, PRACTICE, REGIONS

MAIN_START = 1000  # trial indices below are practice
ROUND = 100  # indices between two practice rounds
NEVER_FIRST = 2  # main trials before the first catch or attention trial


@dataclass(frozen=True)
class Cell:
    """One way to hand out stimuli.

    Attributes:
        rotation: shifts the conditions over the class neurons (``between``: it is the one condition).
        window: which stretch of the class neurons is shown, where a person sees only some.
        first: which condition's block comes first, where conditions come in blocks.
    """

    rotation: int
    window: int
    first: int


@dataclass(frozen=True)
class Planned:
    """One trial as planned.

    Attributes:
        index: orders a participant's trials; block: counts breaks.
        type: ``practice``, ``main``, ``catch``, ``repeat`` or ``attention``.
        stimulus_id, condition: what is shown; reference_side: where the reference region's number 1 or 2 lies.
        required: the answer that an attention check asks for; repeat_of: index of the trial that is repeated.
    """

    index: int
    type: str
    stimulus_id: str
    condition: str
    reference_side: str
    block: int = 0
    required: str | None = None
    repeat_of: int | None = None


@dataclass(frozen=True)
class Slot:
    """One main trial before a picture is chosen: which class neuron, counted from 0, in which condition."""

    neuron: int
    condition: str


_Trial = TypeVar("_Trial", Slot, Planned)


def other_region(region: str) -> str:
    """Return ``region_2`` for ``region_1`` and the reverse."""
    return REGIONS[1 - REGIONS.index(region)]


def cells(design: Design, stimuli: StimulusSet) -> list[Cell]:
    """Return all cells; filling them equally balances class neurons, conditions and orders."""
    return grid(design, len(_neurons(design, stimuli)))


def grid(design: Design, count: int) -> list[Cell]:
    """Return the cells of :func:`cells` for a set with this many class neurons."""
    windows = count // gcd(count, design.trials) if design.trials < count else 1
    firsts = len(design.conditions) if design.order == "blocked" and design.arrangement == "within" else 1
    order = product(range(windows), range(firsts), range(len(design.conditions)))
    return [Cell(rotation, window, first) for window, first, rotation in order]


def seeded(seed: int | str) -> random.Random:
    """Return a generator that repeats what it drew from the same seed: for schedules and ties, never for secrets."""
    return random.Random(seed)  # noqa: S311


def main_schedule(design: Design, stimuli: StimulusSet, cell: Cell, seed: int) -> list[Planned]:
    """Return one participant's trials after practice, indices from ``MAIN_START``."""
    rng = seeded(seed)
    neurons = _neurons(design, stimuli)
    met = slots(design, len(neurons), cell)
    planned = [_plan("main", rng.choice(neurons[slot.neuron]), slot.condition, rng) for slot in met]
    trials = ordered(design, cell, planned, rng)
    length, trials = len(trials), _with_repeats(trials, design.repeats, rng)
    easy = rng.sample(stimuli.of("catch"), len(stimuli.of("catch")))
    easy, rest = easy[: design.catch], [*easy[design.catch :], *easy[: design.catch]]
    checks = [rest[place % len(rest)] for place in range(design.attention)]  # shown once, where the set has enough
    extra = [_plan("catch", item, rng.choice(design.conditions), rng) for item in easy]
    extra += [
        replace(_plan("attention", item, design.conditions[0], rng), required=rng.choice(REGIONS)) for item in checks
    ]
    rng.shuffle(extra)
    return _numbered(_spread_in(trials, extra, rng), design.pause_every or length)


def practice_schedule(design: Design, stimuli: StimulusSet, number: int, seed: int) -> list[Planned]:
    """Return the trials of one practice round, ``number`` from 0: the same items for all conditions.

    Where the set has visualizations for practice, at least one is shown, each of a condition drawn at random.
    """
    rng = seeded(f"{seed}/{number}")
    items = rng.sample(stimuli.of("practice"), design.practice)
    drawn = [item for item in stimuli.of("practice") if drawn_for(design, item)]
    if items and drawn and not any(item in drawn for item in items):
        items[-1] = drawn[0]
    return [
        replace(_plan(PRACTICE, item, _practised(design, item, rng), rng), index=number * ROUND + place)
        for place, item in enumerate(items)
    ]


def _practised(design: Design, item: Item, rng: random.Random) -> str:
    drawn = drawn_for(design, item)
    return rng.choice(drawn) if drawn else design.conditions[0]


def drawn_for(design: Design, item: Item) -> list[str]:
    """Return the conditions of a design for which an item has a visualization."""
    return [name for name in design.conditions if CONDITIONS[name].file in item.files]


def _neurons(design: Design, stimuli: StimulusSet) -> list[list[Item]]:
    """Return the main items grouped by class neuron, in the study's own random order."""
    groups: dict[str, list[Item]] = {}
    for item in stimuli.of("main"):
        groups.setdefault(item.class_neuron, []).append(item)
    order = sorted(groups)
    seeded(f"neurons/{design.seed}").shuffle(order)
    return [groups[name] for name in order]


def slots(design: Design, count: int, cell: Cell) -> list[Slot]:
    """Return which class neurons somebody in this cell meets, of ``count``, and each one's condition; not in order."""
    conditions = design.conditions
    found = []
    for step in range(design.trials):
        place = (cell.window * design.trials + step) % count
        turn = cell.rotation if design.arrangement == "between" else cell.rotation + place
        found.append(Slot(place, conditions[turn % len(conditions)]))
    return found


def _plan(kind: str, item: Item, condition: str, rng: random.Random) -> Planned:
    return Planned(0, kind, item.id, condition, rng.choice(REGIONS))


def ordered(design: Design, cell: Cell, trials: list[_Trial], rng: random.Random) -> list[_Trial]:
    """Shuffle the trials, in place, and put conditions into blocks where the design wants it."""
    rng.shuffle(trials)
    if design.order == "blocked" and design.arrangement == "within":
        turns: list[str] = [*design.conditions[cell.first :], *design.conditions[: cell.first]]
        trials.sort(key=lambda trial: turns.index(trial.condition))
    return trials


def _with_repeats(trials: list[Planned], count: int, rng: random.Random) -> list[Planned]:
    """Append repeats of trials of the first half, sides drawn anew; they come last, as far away as can be."""
    half = max(count, len(trials) // 2)
    places = sorted(rng.sample(range(half), count))
    again = [
        replace(trials[place], type="repeat", reference_side=rng.choice(REGIONS), repeat_of=place) for place in places
    ]
    return [*trials, *again]


def _spread_in(trials: Sequence[Planned], extra: Sequence[Planned], rng: random.Random) -> list[Planned]:
    """Put the extra trials at random places, one in each stretch, none among the first trials."""
    slots = len(trials) - NEVER_FIRST
    bounds = [NEVER_FIRST + slots * part // (len(extra) or 1) for part in range(len(extra) + 1)]
    places = [rng.randrange(low, max(high, low + 1)) for low, high in pairwise(bounds)]
    found = list(trials)
    for place, chosen in zip(reversed(places), reversed(extra), strict=True):
        found.insert(min(place, len(trials)), chosen)  # from the last, which moves none before it
    return found


def _numbered(trials: list[Planned], pause_every: int) -> list[Planned]:
    """Give indices and blocks, and let repeats name the index of the trial that they repeat."""
    originals = [number for number, trial in enumerate(trials) if trial.type == "main"]
    found = []
    for number, trial in enumerate(trials):
        repeat_of = None if trial.repeat_of is None else MAIN_START + originals[trial.repeat_of]
        found.append(replace(trial, index=MAIN_START + number, block=number // pause_every, repeat_of=repeat_of))
    return found
