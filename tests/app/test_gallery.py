"""Home, its gallery and the tour, driven without a browser: everything is there without a job."""

from __future__ import annotations

import pytest

from spade_core.gallery.cases import cases, plainest
from spade_core.gallery.packing import NOTE
from spade_core.jobs.manager import JobManager
from spade_core.ui.gallery.tour import STEPS
from tests.app.test_pages import page, texts


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch):
    def refuse(self, kind, payload):
        raise AssertionError(f"{kind} was asked for")

    monkeypatch.setenv("SPADE_JOBS", "inline")
    monkeypatch.setattr(JobManager, "submit", refuse)


def headings(app):
    return [item.value for item in app.subheader]


def test_home_opens_on_the_case_that_gains_most_and_says_so():
    app = page("home.py")
    assert not app.exception
    assert not app.error
    assert plainest().title in headings(app)
    assert "measured to gain most" in texts(app)


def test_a_click_on_a_tile_shows_its_case_and_a_link_keeps_it():
    app = page("home.py")
    app.button(key="tile_koala").click().run()
    assert cases()["koala"].title in headings(app)
    assert "measured to gain most" not in texts(app)
    assert app.query_params["case"] == "koala"
    again = page("home.py")
    again.query_params["case"] = "nothing of this name"
    assert plainest().title in headings(again.run())


def test_the_button_leads_to_a_field_for_ones_own_picture():
    app = page("pages/saliency.py", picture="own:")
    assert not app.exception
    assert not app.error
    assert app.selectbox(key="picture").value == "upload"


@pytest.mark.parametrize("name", ["coffee_heart", "koala", "heart_drawn", "heart_inside"])
def test_a_cases_link_opens_its_page_filled_in_without_a_job(name):
    case = cases()[name]
    ((target, query),) = case.links.items()
    app = page(f"pages/{target}.py", **query)
    assert not app.exception
    assert not app.error, app.error[0].value
    assert case.facts["Class"] in [item.value for item in app.metric]
    assert app.metric
    assert "of your previous choice" not in texts(app)


def test_a_newcomer_finds_a_drawing_finished_and_is_told_what_to_see():
    app = page("pages/neurons.py")
    assert not app.exception
    notes = [one.value for one in app.caption if NOTE in one.value]
    assert len(notes) == 1, "what holds for both drawings is said once"
    assert not app.error, app.error[0].value
    assert "more of the red spots" in texts(app)
    assert app.subheader[0].value == "koala"
    assert app.button(key="draw") is not None
    app = page("pages/neurons.py", picture="bundled:dog")
    assert not app.subheader, "who comes by a link finds what it names"


def test_the_tour_has_six_steps_and_its_buttons_turn_them():
    app = page("pages/tour.py")
    assert app.title[0].value == STEPS[0].title
    assert app.button(key="back").disabled
    for step in STEPS[1:]:
        app.button(key="next").click().run()
        assert not app.exception
        assert not app.error
        assert app.title[0].value == step.title
    assert app.button(key="next").disabled
    assert app.query_params["step"] == "6"
    assert len(STEPS) == 6


@pytest.mark.parametrize(("asked", "at"), [("3", 2), ("0", 0), ("99", 5), ("-1", 0), ("x", 0), ("999999", 0)])
def test_a_link_to_a_step_opens_it_or_the_nearest(asked, at):
    assert page("pages/tour.py", step=asked).title[0].value == STEPS[at].title
