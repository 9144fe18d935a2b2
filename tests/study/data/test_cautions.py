"""What an experimenter is told before a study begins."""

from __future__ import annotations

import pytest

from spade_core.study.data.studies import cautions
from spade_core.study.design.schedule import cells
from tests.study.conftest import real_design, tiny_set


@pytest.mark.parametrize(
    ("quota", "fitting"), [(6, None), (60, None), (61, "60 or 66 would"), (65, "60 or 66 would"), (4, ": 6 would")]
)
def test_a_quota_that_cells_cannot_share_evenly_names_the_next_that_can(tmp_path, quota, fitting):
    stimuli, design = tiny_set(tmp_path), real_design(trials=6, quota=quota)
    assert len(cells(design, stimuli)) == 6
    found = cautions(design, stimuli)
    assert len(found) == (fitting is not None)
    assert all(fitting in text and f"quota of {quota} " in text for text in found)
    assert cautions(design, None) == cautions(None, stimuli) == []


def test_returning_by_id_is_cautioned_against():
    (found,) = cautions(real_design(returning="id"), None)
    assert "no secret" in found
    assert "returning: token" in found
