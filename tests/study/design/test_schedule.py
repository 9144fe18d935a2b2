"""Who sees what: balance over cells, class neurons, order, repeats."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from spade_core.errors import ConfigError
from spade_core.study.design.schedule import MAIN_START, cells, main_schedule, practice_schedule
from tests.study.conftest import real_design, tiny_set

DESIGNS = {
    "within": {},
    "some": {"trials": 9},
    "blocked": {"order": "blocked"},
    "between": {"arrangement": "between"},
    "two": {"conditions": ("dense", "spade"), "trials": 8},
}


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("set"))


@pytest.mark.parametrize("name", DESIGNS)
def test_over_all_cells_each_class_neuron_meets_each_condition_equally_often(stimuli, name):
    design = real_design(**DESIGNS[name])
    met = defaultdict(Counter)
    for number, cell in enumerate(cells(design, stimuli)):
        for trial in main_schedule(design, stimuli, cell, number):
            if trial.type == "main":
                met[stimuli.item(trial.stimulus_id).class_neuron][trial.condition] += 1
    assert len(met) == 12
    counts = {count for of_neuron in met.values() for count in of_neuron.values()}
    assert len(counts) == 1
    assert all(set(of_neuron) == set(design.conditions) for of_neuron in met.values())


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("seed", range(5))
def test_nobody_meets_a_class_neuron_twice_but_in_repeats(stimuli, name, seed):
    design = real_design(**DESIGNS[name])
    for cell in cells(design, stimuli):
        plan = main_schedule(design, stimuli, cell, seed)
        assert [trial.index for trial in plan] == list(range(MAIN_START, MAIN_START + len(plan)))
        main = [trial for trial in plan if trial.type == "main"]
        assert len({stimuli.item(trial.stimulus_id).class_neuron for trial in main}) == len(main) == design.trials
        by_index = {trial.index: trial for trial in plan}
        for trial in plan:
            if trial.type == "repeat":
                first = by_index[trial.repeat_of]
                assert (first.type, first.stimulus_id, first.condition) == ("main", trial.stimulus_id, trial.condition)
                assert trial.index - first.index > design.trials // 2
        kinds = Counter(trial.type for trial in plan)
        assert kinds == Counter(
            main=design.trials, repeat=design.repeats, catch=design.catch, attention=design.attention
        )
        assert {trial.type for trial in plan[:2]} == {"main"}


def test_conditions_within_a_person_are_even_and_blocks_hold_together(stimuli):
    design = real_design(order="blocked")
    for number, cell in enumerate(cells(design, stimuli)):
        main = [t.condition for t in main_schedule(design, stimuli, cell, number) if t.type == "main"]
        assert set(Counter(main).values()) == {4}
        assert len([1 for a, b in pairwise(main) if a != b]) == 2
    firsts = Counter(
        next(t.condition for t in main_schedule(design, stimuli, cell, 0) if t.type == "main")
        for cell in cells(design, stimuli)
    )
    assert set(firsts.values()) == {len(cells(design, stimuli)) // 3}


def test_sides_are_random_and_a_seed_replays(stimuli):
    design = real_design()
    sides = Counter()
    for seed in range(200):
        plan = main_schedule(design, stimuli, cells(design, stimuli)[0], seed)
        assert plan == main_schedule(design, stimuli, cells(design, stimuli)[0], seed)
        sides.update(trial.reference_side for trial in plan)
    share = sides["region_1"] / sides.total()
    assert abs(share - 0.5) < 4 * 0.5 / sides.total() ** 0.5


def test_practice_rounds_differ_in_order_and_treat_conditions_alike(stimuli):
    design = real_design()
    first, second = (practice_schedule(design, stimuli, number, 5) for number in (0, 1))
    assert [trial.stimulus_id for trial in first] != [trial.stimulus_id for trial in second]
    assert {trial.stimulus_id for trial in first} == {item.id for item in stimuli.of("practice")}
    assert second[0].index == 100


@pytest.mark.parametrize(("attention", "overlap"), [(2, 0), (4, 2)])
def test_attention_checks_lie_over_catch_items_of_their_own_where_there_are_enough(stimuli, attention, overlap):
    design = real_design(catch=2, attention=attention)
    for seed in range(20):
        plan = main_schedule(design, stimuli, cells(design, stimuli)[0], seed)
        caught, checked = ([t.stimulus_id for t in plan if t.type == kind] for kind in ("catch", "attention"))
        assert len(set(checked)) == len(checked) == attention
        assert len(set(caught)) == 2
        assert len(set(caught) & set(checked)) == overlap


def test_a_set_must_have_as_many_catch_items_as_attention_checks(stimuli):
    with pytest.raises(ConfigError, match="build 7 catch items"):
        real_design(attention=5).check_set(stimuli)


@pytest.mark.parametrize("practice", [1, 6])
def test_practice_holds_a_real_visualization_where_the_set_has_one(stimuli, practice):
    first, *others = stimuli.of("practice")
    first = replace(first, files={**first.files, "dense": "d.webp", "spade": "s.webp"})
    rest = [item for item in stimuli.items if item.role != "practice"]
    drawn = replace(stimuli, items=(first, *others, *rest))
    design = real_design(practice=practice, practice_pass=1)
    shown = set()
    for seed in range(20):
        trials = practice_schedule(design, drawn, 0, seed)
        assert len({trial.stimulus_id for trial in trials}) == practice
        shown |= {trial.condition for trial in trials if trial.stimulus_id == first.id}
        assert any(trial.stimulus_id == first.id for trial in trials)
    assert shown == {"dense", "spade"}, "of either kind, drawn at random"
