"""Tables of words say what the result's numbers say."""

from __future__ import annotations

import pytest

from spade_core.study.analysis.evaluation import analyse
from spade_core.study.analysis.tables import SENSITIVITY, TABLES, differences, markdown_table, tables_text
from tests.study.analysis.test_analyse import HELP, plan, study


@pytest.fixture(scope="module")
def result():
    return analyse(study(1, agree=(0.5, 0.8)).assign(rating_help=4), plan(), asked=[HELP])


def test_every_table_has_rows_with_the_same_columns(result):
    for title, make in TABLES.items():
        rows = make(result)
        assert rows, title
        assert len({tuple(row) for row in rows}) == 1, title
        assert all(isinstance(value, str) for row in rows for value in row.values())
    text = tables_text(result)
    assert all(f"### {title}" in text for title in TABLES)
    assert "SIMULATED" not in text


def test_every_difference_of_the_result_is_listed(result):
    names = [name for name, _, _ in differences(result)]
    assert names[:2] == ["agreement (primary)", "half credit"]
    assert set(SENSITIVITY) == set(result.sensitivity.found)
    assert {"missing answers all against SPADE", "missing answers all for SPADE"} < set(names)
    rows = TABLES["Difference in agreement"](result)
    primary = result.primary.found
    assert rows[0]["difference"] == f"{100 * primary.estimate:+.1f} points"
    assert rows[0]["interval"] == f"{100 * primary.low:+.1f} to {100 * primary.high:+.1f}"
    assert rows[0]["n"] == "720 answers, 30 x 24"
    assert rows[0]["label"] == "confirmatory"


def test_holm_repeats_alpha_and_baselines_are_there(result):
    secondary = {row["outcome"]: row for row in TABLES["Secondary outcomes"](result)}
    outcomes = result.secondary.outcomes
    assert secondary[outcomes["confidence"].what]["p (Holm)"] == f"{outcomes['confidence'].p_holm:.3f}"
    assert secondary[outcomes["cannot_tell"].what]["p (Holm)"] == ""
    people = TABLES["Agreement between people, and with themselves"](result)
    alpha = result.krippendorff_alpha.by_condition["spade"].alpha
    assert people[1]["Krippendorff's alpha"] == f"{alpha:.3f}"
    assert people[1]["repeated trials answered alike"] == "no answers"
    assert [row["baseline"] for row in TABLES["Baselines"](result)] == [
        "most central patch",
        "most contrasted patch",
        "model rater on the dense visualization",
        "model rater on the SPADE visualization",
    ]


def test_what_cannot_be_estimated_says_why():
    few = analyse(study(2, people=4, items=6), plan())
    rows = TABLES["Difference in agreement"](few)
    assert rows[0]["note"] == "few clusters"
    lonely = analyse(study(2, people=4, items=6).assign(class_neuron="net:1"), plan())
    row = TABLES["Difference in agreement"](lonely)[0]
    assert row["difference"] == "not estimated"
    assert "class neurons" in row["note"]
    one_sided = TABLES["Difference in agreement"](analyse(study(3), plan(sidedness="greater")))
    assert one_sided[0]["interval"].startswith("from ")
    assert "SIMULATED: Baselines" in tables_text(analyse(study(4), plan(), include_bots=True))


def test_markdown():
    assert markdown_table([{"a": "1", "b": "2"}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
