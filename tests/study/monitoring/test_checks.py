"""The rules of data quality: each with its result and what it was judged by."""

from __future__ import annotations

import pytest

from spade_core.study.data.tables import PageTime, Participant, Trial
from spade_core.study.monitoring.checks import RULES, check_person
from tests.study.conftest import real_design
from tests.study.people import participant_values, trial_values

ALL = tuple(RULES)


def judged(trials=(), pages=(), *, exclusions=ALL, thresholds=None, **changes):
    design = real_design(analysis={"exclusions": exclusions, "thresholds": thresholds or {}})
    return check_person(Participant(**participant_values("u", **changes)), trials, design, pages)


def trial(index, **changes):
    values = {"answered": 1.0, "choice": "region_1", "rt_ms": 1500.0, "rt_source": "browser", "timed_out": False}
    return Trial(**trial_values("u", index, **{**values, **changes}))


def pages(*times):
    """Return page times: two of the instructions, then the next phase."""
    names = ("consent", "instructions", "instructions", "comprehension")
    return [PageTime(participant_uid="u", page=name, at=at) for name, at in zip(names, times, strict=True)]


def test_who_has_done_nothing_is_judged_by_nothing():
    found = judged()
    assert {result.passed for result in found.results.values()} == {None}
    assert found.included
    assert found.failed == {}


@pytest.mark.parametrize(
    ("rounds", "flagged", "passed"), [(1, False, True), (2, False, True), (3, False, False), (2, True, False)]
)
def test_rounds_of_practice(rounds, flagged, passed):
    found = judged(practice_round=rounds, practice_flagged=flagged)
    assert found.results["practice_rounds"].passed is passed
    assert found.told()["practice_rounds"] == {"passed": passed, "rounds": rounds, "never_passed": flagged}


@pytest.mark.parametrize(("seconds", "passed"), [(119, False), (120, True), (7200, True), (7201, False), (None, None)])
def test_total_time_has_a_least_and_a_most(seconds, passed):
    finished = None if seconds is None else 1.0 + seconds
    found = judged(status="active" if seconds is None else "complete", finished=finished)
    assert found.results["total_time"].passed is passed
    assert found.included is (passed is not False)
    assert judged(status="declined", finished=2.0).results["total_time"].passed is None


def test_instruction_time_covers_all_their_pages_and_takes_the_designs_ends():
    short = pages(0.0, 1.0, 3.0, 5.0)
    assert judged(pages=short).reason == "instruction_time"
    assert judged(pages=short).failed == {"instruction_time": {"seconds": 4.0}}
    assert judged(pages=short, thresholds={"instruction_seconds": (3, 60)}).included
    assert judged(pages=short[:3]).results["instruction_time"].passed is None, "still reading"


def test_a_rule_excludes_only_where_the_design_names_it():
    one_side = [trial(index) for index in range(8)]
    assert judged(one_side).reason == "same_side"
    found = judged(one_side, exclusions=("catch",))
    assert found.included
    assert found.failed == {"same_side": {"share": 1.0, "of": 8}}
    half = one_side[:4] + [trial(index, choice="region_2") for index in range(4, 8)]
    assert judged(half).told()["same_side"] == {"passed": True, "share": 0.5, "of": 8}


def test_a_bots_times_say_nothing():
    found = judged(pages=pages(0.0, 0.0, 0.0, 0.0), is_bot=True, status="complete", finished=1.0)
    assert found.results["total_time"].passed is None
    assert found.results["instruction_time"].passed is None
