"""Figures of a study's result hold its numbers, and say where answers were made up."""

from __future__ import annotations

import numpy as np
import pytest

from spade_core.study.analysis.evaluation import analyse
from spade_core.study.analysis.findings import Estimate
from spade_core.study.analysis.tables import SENSITIVITY, differences
from spade_core.study.power.power import PowerRequest, power_report
from spade_core.ui.study.plots import FIGURES, chart_options, figures_html, power_figure
from tests.study.analysis.test_analyse import plan, study
from tests.study.conftest import real_design


@pytest.fixture(scope="module")
def trials():
    found = study(1, agree=(0.5, 0.8, 0.5), undecided=(0.2,) * 3, conditions=("dense", "spade", "none"))
    late = (found.condition == "spade") & (found.index % 9 == 0)
    found.loc[late, ["choice", "correct", "confidence", "rt_ms"]] = [None, None, None, np.nan]
    found.loc[late, "timed_out"] = True
    return found


@pytest.fixture(scope="module")
def result(trials):
    return analyse(trials, plan())


def test_the_answers_add_up_to_all_trials_and_show_their_counts(result, trials):
    figure = FIGURES["answers"](result)
    totals = np.sum([bar.y for bar in figure.data], axis=0)
    assert totals == pytest.approx([100, 100, 100])
    by_name = {bar.name: bar for bar in figure.data}
    late = int(trials.timed_out.sum())
    assert by_name["timeout"].text == ("", str(late), "")
    undecided = ((trials.choice == "cannot_tell") & (trials.condition == "dense")).sum()
    assert by_name["undecided"].text[0] == str(undecided)


def test_every_difference_has_its_interval(result):
    figure = FIGURES["differences"](result)
    found = {name: value for name, _, value in differences(result)}
    known = [value for value in found.values() if isinstance(value, Estimate)]
    assert [name for name, value in found.items() if value not in known] == [SENSITIVITY["complete_cases"]]
    assert len(figure.data) == len(known)
    for drawn, value in zip(figure.data, known, strict=True):
        assert drawn.x[0] == pytest.approx(100 * value.estimate)
        assert drawn.x[0] - drawn.error_x.arrayminus[0] == pytest.approx(100 * value.low)
        assert drawn.x[0] + drawn.error_x.array[0] == pytest.approx(100 * value.high)
    assert figure.data[0].marker.symbol == figure.data[1].marker.symbol == "square"
    assert figure.data[2].marker.symbol == "circle-open"


def test_a_one_sided_interval_runs_to_the_edge(trials):
    drawn = FIGURES["differences"](analyse(trials, plan(sidedness="greater"))).data[0]
    assert drawn.x[0] + drawn.error_x.array[0] >= 100


def test_class_neurons_and_times_are_drawn_as_found(result):
    figure = FIGURES["class_neurons"](result)
    assert list(figure.data[0].y) == [row.class_neuron for row in result.class_neurons]
    assert figure.data[1].x[0] == pytest.approx(100 * result.class_neurons[0].half)
    boxes = FIGURES["reaction_time"](result).data
    found = result.reaction_time.by_condition["spade"]
    assert boxes[1].median[0] == pytest.approx(found.ms["median_ms"] / 1000)
    assert boxes[1].lowerfence[0] <= boxes[1].q1[0] <= boxes[1].median[0] <= boxes[1].q3[0] <= boxes[1].upperfence[0]
    assert boxes[1].x[0] == f"SPADE (n = {found.n})"


def test_bots_are_named_in_every_figure_and_file(trials, result):
    bots = analyse(trials.assign(is_bot=True), plan(), include_bots=True)
    for name, make in FIGURES.items():
        assert make(bots).layout.title.text.startswith("SIMULATED, bots: ")
        assert "SIMULATED" not in make(result).layout.title.text
        assert chart_options(bots, name)["toImageButtonOptions"]["filename"].startswith("SIMULATED_")
    page = figures_html(bots)
    assert page.count("SIMULATED, bots: ") == len(FIGURES)
    assert "cdn.plot.ly" not in page.split("<h1>")[0]
    assert "SIMULATED" not in figures_html(result)


def test_figures_of_almost_nothing_can_be_drawn():
    for damage in (
        lambda t: t[t.condition == "dense"],
        lambda t: t.assign(choice="cannot_tell"),
        lambda t: t.assign(rt_ms=np.nan),
        lambda t: t.head(2),
    ):
        assert figures_html(analyse(damage(study(2, people=4, items=6)), plan()))


def test_power_is_drawn_with_its_ceiling():
    report = power_report(
        PowerRequest(design=real_design(), class_neurons=(6, 12), participants=(12, 24), simulations=20)
    )
    figure = power_figure(report)
    assert [line.name for line in figure.data] == [
        "6 class neurons",
        "6 class neurons, endlessly many people",
        "12 class neurons",
        "12 class neurons, endlessly many people",
    ]
    assert list(figure.data[2].x) == [12, 24]
    assert figure.data[3].y[0] == 100 * report.rows[-1].verdict
