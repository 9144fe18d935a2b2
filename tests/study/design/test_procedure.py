"""The sentences on what a study does hold its numbers."""

from __future__ import annotations

from typing import get_args

import pytest

from spade_core.study.analysis.findings import NoResult, Note
from spade_core.study.analysis.report import methods_text, preregistration
from spade_core.study.design.design import QualityRule, Thresholds
from spade_core.study.design.procedure import fails_when, set_baselines
from spade_core.study.monitoring import checks
from spade_core.study.stimuli.patches import LOW
from tests.study.conftest import real_design, tiny_set

WHY = "There are no main trials."
NOTE = Note(note=WHY)
NOTHING = NoResult(simulated=False, demo=False, primary=NOTE, half_credit=NOTE, verdict=WHY, texts=[WHY])


@pytest.mark.parametrize("text_of", [preregistration, lambda design, given: methods_text(design, NOTHING, given)])
def test_preregistration_and_methods_hold_the_designs_numbers(tmp_path, text_of):
    stimuli = tiny_set(tmp_path / "set")
    design = real_design(
        trials=11,
        catch=3,
        repeats=4,
        attention=1,
        quota=47,
        time_limit_ms=12_500,
        min_view_ms=650,
        order="blocked",
        analysis={
            "exclusions": get_args(QualityRule),
            "thresholds": {"total_minutes": (3, 45), "instruction_seconds": (7, 300), "fast_ms": 850},
        },
    )
    text = text_of(design, stimuli)
    for part in (
        "11 main trials",
        "3 catch trials",
        "4 repeated trials",
        "1 attention checks",
        "6 trials with feedback",
        "at most 3 rounds",
        "counterbalanced",
        "650 ms",
        "12.5 s",
        "47 completed",
        "below 850 ms",
        "between 3 and 45 minutes",
        "between 7 and 300 seconds",
        "more than 2 rounds",
        "95%",
        "of 8 or more",
        "at least 700 px; phones and tablets are excluded",
        "fewer than 50%",
        "12 main stimuli of 12 class neurons",
        "model: net",
        "25.0 %",
        "lowest quarter",
        "The class is not named",
        design.sha256,
        stimuli.sha256,
        "the more central region 50 % of 12",
        "the model rater on SPADE 100 % of 12",
    ):
        assert part in text, part
    assert "Variant with class names" in text_of(design.model_copy(update={"show_class": True}), stimuli)
    assert LOW == 0.25  # the quarter of the text


def test_every_rule_of_the_checks_is_explained_and_no_limit_is_said():
    assert set(fails_when(Thresholds())) == set(checks.RULES) == set(get_args(QualityRule))
    assert "no time limit" in preregistration(real_design(time_limit_ms=None))


def test_the_reference_raters_baseline_is_told_where_a_set_has_it(tmp_path):
    stimuli = tiny_set(tmp_path / "set")
    assert "reference crops" not in set_baselines(stimuli)
    stimuli.items[0].answers["rater_reference"] = "reference"
    assert "the model rater on reference crops 100 % of 1." in set_baselines(stimuli)


def test_between_people_nothing_is_said_to_be_interleaved():
    text = preregistration(real_design(arrangement="between", order="blocked"))
    assert "one condition a person" in text
    assert "counterbalanced" not in text
    assert "rotate" not in text
