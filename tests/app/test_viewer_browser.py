"""The viewer's scripts in headless Chromium, without a server: by keyboard, by pointer, in both themes, on paper."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spade_core.pictures.figures import png_bytes
from spade_core.pictures.viewer import BeforeAfter, address, script, style

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


def test_on_paper_both_pictures_are_whole(page, shown):
    shown()
    page.emulate_media(media="print")
    first, second = (page.locator(name).bounding_box() for name in (".before", ".after"))
    assert first["x"] + first["width"] <= second["x"]
    assert first["y"] == second["y"]
    assert first["width"] == second["width"] > 150
