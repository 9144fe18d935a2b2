"""Tables and figures of the evidence, of a run whose scores are drawn."""

import numpy as np
import pytest

from spade_core.evaluation.evidence import Evidence
from spade_core.ui.evidence import pictures
from spade_core.ui.evidence.tables import BETTER, OPEN, WORSE, View, gain_figure, rows
from tests.evaluation.conftest import written_run


@pytest.fixture
def evidence(tmp_path):
    return Evidence.of(written_run(tmp_path))


def test_a_row_a_method_with_the_papers_numbers_beside_ours(evidence):
    found = rows(View(evidence, "default", 0, 0))
    assert [row["Method"] for row in found] == ["Saliency (gradient)", "LRP", "Mean of 2"]
    scores = evidence.results.scores[..., 0, 0]
    gain = (scores[:, 1, 1] - scores[:, 0, 1]).mean()
    assert found[1]["Minus dense"].startswith(f"{gain:+.1f} [")
    assert found[1]["Paper: SPADE"] == "99.21"
    assert found[2]["Paper: SPADE"] == ""
    assert found[0]["Error removed"].endswith(" %")


def test_other_metrics_have_no_paper_and_no_error_removed(evidence):
    found = rows(View(evidence, "default", 1, 2))[0]
    assert not [name for name in found if name.startswith("Paper") or name == "Error removed"]
    alone = rows(View(evidence, "dense", 0, 0))[0]
    assert "Minus dense" not in alone


def test_colours_say_whether_the_interval_excludes_zero(evidence):
    scores = evidence.results.scores
    scores[:, 1, 0], scores[:, 1, 1] = scores[:, 0, 0] + 0.5, scores[:, 0, 1] - 0.5
    scores[:, 1, 0, 1] = scores[:, 0, 0, 1] + np.array([-9, 9, -9, 9, -9, 9])[:, None]
    raw, blurred = (gain_figure(View(evidence, "default", processing, 0)).data for processing in (0, 1))
    assert [trace.marker.color for trace in raw] == [BETTER, WORSE]
    assert blurred[0].marker.color == OPEN


def test_pictures_have_their_scores_and_a_command_that_parses(evidence):
    view = View(evidence, "default", 1, 0)
    found = pictures.picture_rows(view, "lrp")
    assert [row["Picture"] for row in found] == [f"{at}.png" for at in range(6)]
    assert found[2]["Gain"] == pytest.approx(found[2]["SPADE, default"] - found[2]["Dense"], abs=0.011)
    command = pictures.explain_command(view, "lrp", 2)
    assert "--image DIR/2.png" in command
    assert f"--trigger-seed {evidence.paste(2).seed}" in command


@pytest.mark.parametrize(
    ("processing", "view"),
    [("raw", "raw"), ("abs", "magnitude"), ("blur2", "blur2"), ("blur4", "blur4"), ("noise", "")],
)
def test_a_pictures_maps_are_shown_as_its_scores_were_made(processing, view):
    assert pictures.shown_as(processing) == view


def test_the_command_of_a_picture_has_the_options_of_its_run(evidence):
    run = evidence.results.configuration
    object.__setattr__(run, "options", {"lrp": {"rule": "epsilon"}})
    assert "--option lrp.rule=epsilon" in pictures.explain_command(View(evidence, "default", 0, 0), "lrp", 2)
    assert "--option" not in pictures.explain_command(View(evidence, "default", 0, 0), "saliency", 2)


def test_correlations_have_two_digits_and_percentages_one(evidence):
    assert {View(evidence, "default", 0, metric).digits for metric in range(3)} == {1}
    evidence.results.configuration.__dict__["benchmark"] = "stability"
    assert View(evidence, "default", 0, 0).digits == 2
