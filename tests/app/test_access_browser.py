"""Who sees little, or uses no mouse: axe-core finds nothing serious on any page, in light and in dark."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe

from spade_core.gallery.cases import cases
from tests.app.conftest import LONG
from tests.app.waiting import says

pytestmark = pytest.mark.browser

PAGES = {
    "/": "See why a vision model decided",
    "/tour": "This model says",
    "/folder": "Run the folder",
    "/saliency": "Run SPADE",
    "/neurons": "Draw the neuron",
    "/trace": "Make the trace",
    "/history": "The newest 50 runs are kept",
    "/evidence": "Evidence",
    "/study": "Make the demo study",
    "/survey": "This address is incomplete",
}
RESULTS = {
    "coffee_heart": ("saliency", "Take it with you"),
    "koala_drawn": ("neurons", "Take it with you"),
    "heart_inside": ("trace", "Surviving weights"),
}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module", params=["light", "dark"])
def seen(browser, request):
    """Yield a page whose system asks for light or for dark."""
    alone = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=request.param)
    alone.set_default_timeout(LONG)
    yield alone.new_page()
    alone.close()


@pytest.mark.parametrize("path", PAGES)
def test_nothing_serious_stands_in_the_way(seen, study_server, path):
    seen.goto(f"{study_server.url}{path}")
    says(seen, PAGES[path])
    seen.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')")  # the run is over
    assert found(seen) == []


@pytest.mark.parametrize("case", RESULTS)
def test_nothing_serious_stands_in_the_way_of_a_result(seen, study_server, case):
    page, words = RESULTS[case]
    seen.goto(f"{study_server.url}/{page}?{urlencode(cases()[case].links[page])}")
    says(seen, words)
    seen.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')")
    assert found(seen) == []


def test_what_stands_in_the_way_is_found(seen, study_server):
    """The check of every page does see."""
    seen.goto(f"{study_server.url}/survey")
    says(seen, "This address is incomplete")
    seen.evaluate("() => document.querySelector('[data-testid=stMain]').append(new Image(9, 9))")
    assert [rule for rule, _ in found(seen)] == ["image-alt"]


def found(page):
    """Return the serious findings: the rule and the places."""
    serious = [one for one in Axe().run(page).response["violations"] if one["impact"] in SERIOUS]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in serious]
