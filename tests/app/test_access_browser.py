"""Who sees little, or uses no mouse: axe-core finds nothing serious, in light and in dark.

Looked at are all pages, results of the gallery, pages that refuse what they were given, and a report.
"""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe

import spade_core as sc
from spade_core.gallery.cases import cases
from spade_core.reports import FORMS
from spade_core.results.comparison import bundle
from spade_core.ui.common.pickers.model import OWN
from tests.app.conftest import LONG
from tests.app.waiting import says, settled

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


JUNK = {"name": "mine.png", "mimeType": "image/png", "buffer": b"no picture"}
ALERT = "[data-testid=stAlert]"


@pytest.fixture(scope="module", autouse=True)
def own_weights():
    """Let the server that is started next take weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPADE_ALLOW_WEIGHTS_UPLOAD", "1")
        yield


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
    assert found(seen) == []


@pytest.mark.parametrize("case", RESULTS)
def test_nothing_serious_stands_in_the_way_of_a_result(seen, study_server, case):
    page, words = RESULTS[case]
    seen.goto(f"{study_server.url}/{page}?{urlencode(cases()[case].links[page])}")
    says(seen, words)
    assert found(seen) == []


def bad_link(page, url):
    page.goto(f"{url}/saliency?picture=bundled:nowhere&methods=nothing&solver=none")


def bad_picture(page, url):
    page.goto(f"{url}/saliency")
    choose(page, "Picture", "Upload your own")
    page.locator("input[type=file]").set_input_files(JUNK)


def bad_weights(page, url):
    page.goto(f"{url}/saliency")
    choose(page, "Model", OWN)
    page.locator("input[type=file]").first.set_input_files({**JUNK, "name": "mine.pt"})
    page.get_by_role("textbox", name="Architecture").fill("resnet18")
    page.keyboard.press("Tab")


def bad_design(page, url):
    page.goto(f"{url}/study")
    page.get_by_label("Design: the template").fill("name: [")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Check").click()


def no_code(page, url):
    page.goto(f"{url}/survey?withdraw=1")
    page.get_by_role("button", name="Delete all of it for good").click()


def wrong_code(page, url):
    page.goto(f"{url}/survey?withdraw=1")
    page.get_by_label("Your withdrawal code").fill("nobody's")
    page.get_by_role("button", name="Delete all of it for good").click()


def choose(page, field, option):
    page.get_by_role("combobox", name=field, exact=True).click()
    page.get_by_role("option", name=option).click()


@pytest.mark.parametrize("refused", [bad_link, bad_picture, bad_weights, bad_design, no_code, wrong_code])
def test_nothing_serious_stands_in_the_way_of_who_is_refused(seen, study_server, refused):
    refused(seen, study_server.url)
    seen.locator(ALERT).first.wait_for()
    assert found(seen) == []


def test_nothing_serious_stands_in_the_way_of_a_report(seen, small, noise, tmp_path):
    made = sc.analyse(small, noise, sc.AnalysisConfig(("saliency", "input_x_gradient"), trace={"views": 2}))
    (form,) = (one for one in FORMS if one.media_type == "text/html")
    (tmp_path / "report.html").write_bytes(form.make(bundle(made), made.crop, "spade-studio explain"))
    seen.goto((tmp_path / "report.html").as_uri())
    says(seen, "spade-studio explain")
    assert found(seen) == []


def test_what_stands_in_the_way_is_found(seen, study_server):
    """The check of every page does see."""
    seen.goto(f"{study_server.url}/survey")
    says(seen, "This address is incomplete")
    seen.evaluate("() => document.querySelector('[data-testid=stMain]').append(new Image(9, 9))")
    assert [rule for rule, _ in found(seen)] == ["image-alt"]


def found(page):
    """Return the serious findings on a page that is drawn: the rule and the places."""
    settled(page)
    serious = [one for one in Axe().run(page).response["violations"] if one["impact"] in SERIOUS]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in serious]
