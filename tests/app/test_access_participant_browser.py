"""Who sees little, or uses no mouse, can take part: axe-core finds nothing serious on any screen of a participant."""

from __future__ import annotations

import pytest

from spade_core.study.data.studies import publish
from tests.app.conftest import LONG
from tests.app.test_access_browser import found
from tests.app.test_survey_browser import answer, current, person, until_stored
from tests.app.waiting import counting, press, says
from tests.study.conftest import real_design, tiny_set

pytestmark = pytest.mark.browser


@pytest.fixture
def themed(browser):
    """Yield what opens a page of a browser of its own whose system asks for light or for dark."""
    opened = []

    def a_page(theme):
        opened.append(browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=theme))
        opened[-1].set_default_timeout(LONG)
        return opened[-1].new_page()

    yield a_page
    for context in opened:
        context.close()


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_nothing_serious_stands_in_the_way_of_who_takes_part(themed, study_server, store, home, theme):
    rating = {"name": "help", "kind": "rating", "text": "Did it help?", "low": 1, "high": 3, "required": True}
    few = {"trials": 4, "catch": 0, "repeats": 0, "attention": 0, "practice": 1, "practice_pass": 1, "pause_every": 2}
    design = real_design(**few, questions={"extra": [rating]})
    key = publish(store, design, tiny_set(home / theme))
    seen = themed(theme)
    seen.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID={theme}")
    says(seen, "Continue")
    assert found(seen) == []
    press(seen, "Continue")
    says(seen, "I have read this and want to take part")
    assert found(seen) == [], "the consent"
    seen.get_by_text("I have read this and want to take part").click()
    press(seen, "Take part", exact=True)
    for number in (1, 2, 3):
        says(seen, f"page {number} of 3")
        assert found(seen) == [], f"page {number} of the instructions"
        press(seen, "Next")
    says(seen, "What excites")
    assert found(seen) == [], "the comprehension check"
    answer_check(seen, "Name the object")
    says(seen, "was not right")
    assert found(seen) == [], "an answer to it that is wrong"
    answer_check(seen, "Say which region made")
    uid, begun = person(store).uid, None
    while (shown := counting(seen, begun, "Finish", "Go on")) != "Finish":
        assert found(seen) == [], "a trial, or the break"
        if shown == "Go on":
            press(seen, "Go on")
            shown = counting(seen, begun)
        begun, waiting = shown, current(store, uid)
        answer(seen, 0, waiting.reference_side if waiting.type == "practice" else None)
        if waiting.type != "practice":
            seen.get_by_role("radio", name="2").wait_for()
            assert found(seen) == [], "a rating"
            seen.get_by_role("radio", name="2").check()
            press(seen, "Send")
        until_stored(seen, store, waiting.id)
        if waiting.type == "practice":
            says(seen, "Continue")
            assert found(seen) == [], "feedback"
            press(seen, "Continue")
    assert found(seen) == [], "the last questions"
    press(seen, "Finish")
    says(seen, design.codes.complete)
    assert found(seen) == [], "the end"


def answer_check(page, first):
    """Answer the comprehension check, the first question by an option with these words."""
    groups = page.get_by_role("radiogroup")
    groups.nth(0).get_by_text(first).click()
    groups.nth(1).get_by_text("What excites").click()
    press(page, "Check")
