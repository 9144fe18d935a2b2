"""The words of a study, and that each of them is known wherever it is asked for."""

from __future__ import annotations

from typing import get_args

from spade_core.study.data.tables import Study
from spade_core.study.design.design import Codes, Design
from spade_core.study.export.codebook import CODEBOOK, CODEBOOKS
from spade_core.study.running.answers import Answer
from spade_core.study.vocabulary import (
    BASELINES,
    CHOICES,
    COMPARED,
    CONDITIONS,
    CONFIDENCE,
    LIMITED,
    PHASES,
    REGIONS,
    STATES,
    TERMINAL,
    ConditionName,
    confidence_scale,
)
from spade_core.ui.participant import screens


def test_every_condition_a_design_may_name_is_described():
    assert tuple(CONDITIONS) == get_args(ConditionName)
    assert set(COMPARED) <= set(CONDITIONS)
    assert set(Design.model_fields["conditions"].default) <= set(CONDITIONS)
    assert {one.column for one in BASELINES.values()} <= set(CODEBOOK)


def test_every_phase_has_a_screen_or_trials_and_every_end_a_title_and_a_code():
    assert {name for name, phase in PHASES.items() if not phase.trials} == set(screens._SCREENS)
    assert set(TERMINAL) == set(screens._ENDS) == set(Codes.model_fields) - {"return_url"}
    assert list(PHASES)[-1] not in LIMITED, "whoever has answered everything may finish"


def test_states_lead_to_states_and_only_published_studies_take_people():
    assert {after for state in STATES.values() for after in state.next} <= set(STATES)
    assert [name for name, state in STATES.items() if state.people] == ["open"]
    assert all(len(name) <= Study.__table__.c.status.type.length for name in STATES)


def test_choices_and_steps_are_those_that_an_answer_may_have():
    assert CHOICES[:2] == REGIONS
    for choice in CHOICES:
        assert Answer.read({"choice": choice}).choice == choice
    for step in range(1, len(CONFIDENCE) + 1):
        assert Answer.read({"confidence": step}).confidence == step
    assert Answer.read({"confidence": len(CONFIDENCE) + 1}) is None
    assert confidence_scale() == f"1 to {len(CONFIDENCE)}"


def test_columns_have_a_kind_a_meaning_and_one_secret_for_all_tables():
    for columns in CODEBOOKS.values():
        for name, column in columns.items():
            assert column.kind, name
            assert column.meaning, name
    shared = set(CODEBOOKS["trials"]) & set(CODEBOOKS["participants"])
    for name in shared - {"dpr", "status", "comment", "n_focus_losses", "window_width", "window_height"}:
        one, other = CODEBOOKS["trials"][name], CODEBOOKS["participants"][name]
        assert (one.blind, one.private) == (other.blind, other.private), name
