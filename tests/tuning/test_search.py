"""The search alone: scores are made up, and what is best is known."""

from __future__ import annotations

import pytest

from spade_core.tuning.search import Score, descend, rounds, side_by_side

RATIOS = (0, 0.5, 0.8, 0.9)


def separable(best):
    """An objective whose best table is ``best``, stage by stage."""
    return lambda table: Score(-sum((one - other) ** 2 for one, other in zip(table, best, strict=True)))


def searched(score, stages=3, begin=(), ratios=RATIOS, sweeps=2):
    asked = []

    def judge(wanted):
        asked.append(wanted["one"])
        return {"one": {table: score(table) for table in wanted["one"]}}

    return side_by_side({"one": descend(stages, ratios, begin, sweeps)}, judge)["one"], asked


@pytest.mark.parametrize("best", [(0.5, 0.9, 0.8), (0, 0, 0.9), (0.9, 0.9, 0.9), (0, 0, 0)])
@pytest.mark.parametrize("begin", [(), [(0.8, 0.8, 0.8)]])
def test_a_table_whose_stages_do_not_speak_to_each_other_is_found(best, begin):
    found, _ = searched(separable(best), begin=begin)
    assert found.table == best


def test_stages_are_tried_from_the_last_to_the_first_and_back():
    found, asked = searched(separable((0.5, 0.9, 0.8)))
    assert [step.stage for step in found.steps] == [None, 2, 1, 0, 1, 2]
    assert len(asked) == rounds(3)
    assert asked[0] == [(0, 0, 0)]
    assert asked[1] == [(0, 0, 0), (0, 0, 0.5), (0, 0, 0.8), (0, 0, 0.9)]
    assert asked[-1] == [(0.5, 0.9, ratio) for ratio in RATIOS]
    assert found.looks == len({table for tables in asked for table in tables})


@pytest.mark.parametrize(
    ("sweeps", "stages"), [(0, []), (1, [2, 1, 0]), (2, [2, 1, 0, 1, 2]), (3, [2, 1, 0, 1, 2, 1, 0])]
)
def test_a_stage_is_not_tried_twice_running(sweeps, stages):
    found, asked = searched(separable((0.5, 0.9, 0.8)), begin=[(0.8, 0.8, 0.8)], sweeps=sweeps)
    assert [step.stage for step in found.steps[1:]] == stages
    assert len(asked) == rounds(3, sweeps)
    if not sweeps:
        assert (asked, found.table) == ([[(0, 0, 0), (0.8, 0.8, 0.8)]], (0.8, 0.8, 0.8))


def test_the_sweep_back_mends_what_a_later_choice_has_changed():
    together = {(0, 0): 0, (0, 0.5): 2, (0, 0.9): 1, (0.5, 0.5): 3, (0.5, 0.9): 4}
    found, _ = searched(lambda table: Score(together.get(table, -1)), stages=2, ratios=(0, 0.5, 0.9))
    assert [step.table for step in found.steps] == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 0.9)]


def test_a_table_that_loses_the_class_is_refused_however_it_scores():
    def score(table):
        return Score(separable((0.9, 0.9, 0.9))(table).value, kept=0.94 if max(table) == 0.9 else 0.95)

    found, _ = searched(score)
    assert found.table == (0.8, 0.8, 0.8)
    found, _ = searched(score, begin=[(0.9, 0.9, 0.9)])
    assert found.table == (0.8, 0.8, 0.8)


def test_dense_stays_where_no_trace_beats_it():
    found, _ = searched(lambda table: Score(-sum(table)), begin=[(0.8, 0.8, 0.8)])
    assert found.table == (0, 0, 0)
    found, _ = searched(lambda table: Score(0), begin=[(0.8, 0.8, 0.8)])  # a tie changes nothing
    assert found.table == (0, 0, 0)
    assert found.steps[-1].score == found.dense


def test_searches_side_by_side_find_what_each_finds_alone():
    goals = {"one": (0.5, 0.9, 0.8), "other": (0, 0, 0.9)}
    moments = []

    def judge(wanted):
        moments.append(wanted)
        return {name: {table: separable(goals[name])(table) for table in wanted[name]} for name in wanted}

    both = side_by_side({name: descend(3, RATIOS) for name in goals}, judge)
    assert {name: found.table for name, found in both.items()} == goals
    assert len(moments) == rounds(3)
    assert both["one"] == searched(separable(goals["one"]))[0]
