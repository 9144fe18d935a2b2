"""The viewer's scripts in headless Chromium, without a server: by keyboard, by pointer, in a notebook, on paper."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import spade_core as sc
from spade_core.pictures.figures import png_bytes
from spade_core.pictures.viewer import BeforeAfter, address, script, style
from spade_core.reports import FORMS
from spade_core.results.comparison import bundle

pytestmark = pytest.mark.browser


def plain(value):
    return address(png_bytes(np.full((20, 20, 3), value, np.uint8)))


@pytest.fixture
def shown(page):
    """Return a function that shows a slider, 400 px wide, beside a listener to arrows, and returns its divider."""

    def show(**more):
        told = BeforeAfter(plain(20), plain(220), ("Dense", "<i>SPADE</i>"), "A 'map'", **more).to_dict()
        begin = (
            f"slider(document.querySelector('.before-after'), {json.dumps(told)}); Object.assign(window, {{slider}});"
        )
        count = "window.pages = 0; addEventListener('keydown', () => pages++);"
        page.set_content(
            f"<style>body {{ margin: 0 }} {style()}</style><div class=before-after style='width: 400px'></div>"
            f"<script type=module>{script()}\n{count}{begin}</script>"
        )
        return page.get_by_role("slider")

    return show


def now(divider):
    return divider.get_attribute("aria-valuenow")


def test_the_divider_goes_by_keyboard_and_says_where_it_is(page, shown):
    divider = shown(start=30)
    assert divider.get_attribute("aria-label") == "Divider between Dense and <i>SPADE</i>"
    assert divider.get_attribute("aria-valuetext") == "30 % Dense, 70 % <i>SPADE</i>"
    divider.focus()
    for key, place in (
        ("ArrowRight", "32"),
        ("Shift+ArrowLeft", "22"),
        ("PageUp", "42"),
        ("End", "100"),
        ("Home", "0"),
    ):
        page.keyboard.press(key)
        assert now(divider) == place
    assert page.locator(".first.away").count() == 1
    assert page.evaluate("pages") == 1, "of a page's own keys it takes none: Shift alone came through"
    assert page.get_by_alt_text("<i>SPADE</i>: A 'map'").count() == 1


def test_the_divider_follows_the_pointer_and_stays_when_the_pictures_change(page, shown):
    divider = shown(under=plain(128), opacity=0.5)
    page.mouse.move(200, 100)
    page.mouse.down()
    page.mouse.move(100, 300)
    page.mouse.up()
    page.mouse.move(350, 100)
    assert now(divider) == "25"
    told = BeforeAfter(plain(0), plain(1), ("a", "b"), "c").to_dict()
    page.evaluate("told => slider(document.querySelector('.before-after'), told)", told)
    assert now(divider) == "25"
    assert page.locator(".before").get_attribute("src") == plain(0)
    assert not page.locator(".under").is_visible()
    page.evaluate("told => slider(document.querySelector('.before-after'), told)", {**told, "start": 70})
    assert now(divider) == "70", "a pair that begins elsewhere"


def test_on_paper_both_pictures_are_whole(page, shown):
    shown()
    page.emulate_media(media="print")
    first, second = (page.locator(name).bounding_box() for name in (".before", ".after"))
    assert first["x"] + first["width"] <= second["x"]
    assert first["y"] == second["y"]
    assert first["width"] == second["width"] > 150


# What anywidget hands to a script: a model that keeps, tells and notes.
HOST = """
const kept = %s, heard = {};
window.model = {
  get: (name) => kept[name], save_changes: () => {}, off: (name) => delete heard[name],
  on: (name, act) => { heard[name] = act; },
  set: (name, value) => { kept[name] = value; heard[`change:${name}`]?.(); },
};
"""


def test_the_notebooks_viewer_reads_values_and_tells_what_is_chosen(page):
    first = np.arange(8, dtype="<f4").reshape(2, 4)
    values = {"saliency": (first, -first), "<b>lrp</b>": (2 * first, first)}

    def side(array):
        return {"picture": plain(9), "values": base64.b64encode(array.tobytes()).decode(), "top": 1.0}

    pairs = [
        {"slug": slug, "title": slug, "help": "", "alt": "a map", "notes": [], "dense": side(one), "spade": side(other)}
        for slug, (one, other) in values.items()
    ]
    told = {"title": "<b>cat</b>", "facts": ["50 %"], "picture": plain(1), "grey": plain(2), "shape": [2, 4]}
    told |= {"pairs": pairs, "method": "saliency", "overlay": False, "opacity": 0.5, "divider": 40}
    begin = (
        f"{HOST % json.dumps(told)} const el = document.querySelector('main'); window.end = render({{ model, el }});"
    )
    page.set_content(
        f"<style>body {{ margin: 0 }} {style('notebook')}</style><main></main>"
        f"<script type=module>{script('notebook')}\n{begin}</script>"
    )
    stage, said = page.locator(".stage"), page.locator(".under-pointer")
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.9 * box["height"])
    assert said.inner_text() == "x 2, y 1: dense 6.000, SPADE -6.000 of its map's top"
    page.get_by_label("Method").select_option("<b>lrp</b>")
    page.get_by_label("Over the picture").check()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.1 * box["height"])
    assert said.inner_text() == "x 2, y 0: dense 4.000, SPADE 2.000 of its map's top"
    assert page.locator(".under").is_visible()
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    chosen = page.evaluate("['method', 'overlay', 'divider'].map((name) => model.get(name))")
    assert chosen == ["<b>lrp</b>", True, 42]
    page.evaluate("model.set('divider', 7)")
    assert now(page.get_by_role("slider")) == "7"
    assert page.locator("main b").count() == 0


def test_a_report_opens_from_a_file_and_on_paper_shows_its_figure(page, small, noise, tmp_path):
    found = sc.analyse(small, noise, sc.AnalysisConfig(("saliency",), trace={"views": 2}))
    file = tmp_path / "report.html"
    file.write_bytes(FORMS[0].make(bundle(found), found.crop))
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    divider = page.get_by_role("slider")
    divider.focus()
    page.keyboard.press("End")
    assert now(divider) == "100"
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the manifest").click()
    assert json.loads(download.value.path().read_text())["picture"]["name"] == noise.name
    page.emulate_media(media="print")
    assert page.locator("img.figure").is_visible()
    assert not divider.is_visible()
    assert said == []
