"""The plan that power is computed for is the one that people get."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from spade_core.errors import ConfigError
from spade_core.study.design.schedule import cells, main_schedule
from spade_core.study.power.simulated import hand_out
from tests.study.conftest import real_design, tiny_set
from tests.study.design.test_schedule import DESIGNS


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("set"))


def met_by(found):
    """Return what each person meets, as a sorted tuple of (class neuron, SPADE?), without who it is."""
    people = {}
    for person, neuron, spade in zip(found.participant.tolist(), found.class_neuron.tolist(), found.spade, strict=True):
        people.setdefault(person, []).append((neuron, bool(spade)))
    return Counter(tuple(sorted(trials)) for trials in people.values())


@pytest.mark.parametrize("name", DESIGNS)
def test_people_meet_what_the_schedule_gives_them(stimuli, name):
    design = real_design(**DESIGNS[name])
    all_cells = cells(design, stimuli)
    neurons = {}
    expected = Counter()
    order = [item.class_neuron for item in stimuli.of("main")]
    random.Random(f"neurons/{design.seed}").shuffle(shuffled := sorted(order))
    neurons = {neuron: number for number, neuron in enumerate(shuffled)}
    for seed, cell in enumerate(all_cells):
        trials = tuple(
            sorted(
                (neurons[stimuli.item(t.stimulus_id).class_neuron], t.condition == "spade")
                for t in main_schedule(design, stimuli, cell, seed)
                if t.type == "main" and t.condition != "none"
            )
        )
        if trials:
            expected[trials] += 2
    assert met_by(hand_out(design, 12, 2 * len(all_cells), random.Random(0))) == expected


def test_blocks_lie_together_and_places_span_a_persons_trials():
    blocked = hand_out(real_design(order="blocked", conditions=("dense", "spade")), 12, 8, random.Random(1))
    for person in range(8):
        mine = blocked.participant == person
        order = blocked.spade[mine][blocked.place[mine].argsort()]
        assert (order[:6] == order[0]).all()
        assert order[0] != order[-1]
        assert (blocked.place[mine].min(), blocked.place[mine].max()) == (-0.5, 0.5)
    mixed = hand_out(real_design(conditions=("dense", "spade")), 12, 8, random.Random(1))
    assert any(
        len(set(mixed.spade[mixed.participant == p][mixed.place[mixed.participant == p].argsort()][:6])) == 2
        for p in range(8)
    )


def test_impossible_plans_are_refused():
    for changes, sizes, message in (
        ({}, (12, 1), "at least 2 participants"),
        ({"trials": 12}, (6, 10), "between 2 and 6 trials a person, not 12"),
        ({"conditions": ("dense", "none")}, (12, 10), "must hold both"),
        ({"arrangement": "between"}, (12, 2), "leave one of the two conditions empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            hand_out(real_design(**changes), *sizes, random.Random(2))
