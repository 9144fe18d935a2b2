"""How the main pages look: nothing overprints, no panel is gone, in light and dark, on a laptop and on a phone.

    SPADE_RENEW_LOOKS=1 pytest -m long tests/app/test_looks.py

makes the pictures of ``looks/`` anew, to be looked at before they are kept. They show two screens' height at half the
size. Compared are means of blocks of 16 x 16 px: what another font rasteriser does to edges hardly moves them.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from spade_core.gallery.cases import cases
from spade_core.study.data.studies import publish
from spade_core.study.design.design import demo_design
from spade_core.study.stimuli import stimulus_set
from tests.app.conftest import LONG
from tests.app.waiting import says, settled

pytestmark = pytest.mark.browser
LOOKS = Path(__file__).parent / "looks"
RENEW = os.environ.get("SPADE_RENEW_LOOKS") == "1"
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}
CASE = cases()["coffee_heart"].links["saliency"]
PAGES = {
    "home": ("/", "See why a vision model decided"),
    "maps": (f"/saliency?{urlencode(CASE)}", "Take it with you"),
    "evidence": ("/evidence", "Mean of the methods"),
    "survey": ("/survey?study={key}", "Your participant id"),
}
BLOCK = 8  # px of the pictures at half the size
CHANGED, MOST = 16, 16  # of 255, the difference of a block that has changed; blocks that may
SETTLED = 40  # looks, half a second apart, of which two must be the same


@pytest.fixture(scope="module")
def key(store):
    return publish(store, demo_design(), stimulus_set.load_set(stimulus_set.DEMO_SET))


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=SIZES)
def seen(browser, request, scheme):
    """Yield a page two screens high."""
    width, height = SIZES[request.param]
    alone = browser.new_context(viewport={"width": width, "height": 2 * height}, color_scheme=scheme)
    alone.set_default_timeout(LONG)
    yield alone.new_page()
    alone.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_as_it_did(seen, scheme, study_server, key, name, tmp_path):
    open_page(seen, study_server.url, key, name)
    found = shot(seen)
    kept = LOOKS / f"{name}-{'phone' if found.width < 300 else 'laptop'}-{scheme}.webp"
    if RENEW:
        found.save(kept, quality=50, method=6)
    found.save(tmp_path / "found.png")
    differs = changed(found, Image.open(kept).convert("RGB"))
    assert differs <= MOST, f"{differs} blocks differ: hold {tmp_path}/found.png against {kept}"
    assert kept.stat().st_size <= 60_000


FAULTS = {
    "a panel is gone": "h3 ~ *, [data-testid=stBidiComponentIsolated] { visibility: hidden }",
    "a line overprints": "[data-testid=stMain] [data-testid=stHeading] { transform: translateY(48px) }",
    "all is a little too wide": "[data-testid=stMain] { margin-left: -24px }",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(browser, study_server, key, fault):
    """The check of every page does see."""
    alone = browser.new_context(viewport={"width": 1280, "height": 1600}, color_scheme="light")
    alone.set_default_timeout(LONG)
    page = alone.new_page()
    open_page(page, study_server.url, key, "maps")
    page.add_style_tag(content=FAULTS[fault])
    assert changed(shot(page), Image.open(LOOKS / "maps-laptop-light.webp").convert("RGB")) > 2 * MOST
    alone.close()


def open_page(page, url, key, name):
    path, words = PAGES[name]
    page.goto(url + path.format(key=key))
    says(page, words)
    settled(page)
    page.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')")


def shot(page):
    """Return the picture of a page at half the size, once it stands still."""
    before = None
    for _ in range(SETTLED):
        taken = page.screenshot(animations="disabled")
        if taken == before:
            break
        before = taken
        page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(taken)).convert("RGB")
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)


def changed(one, other):
    """Return how many blocks of two pictures differ; all, where their sizes do."""
    if one.size != other.size:
        return one.width * one.height // BLOCK**2
    means = [np.asarray(each.reduce(BLOCK), dtype=np.int16) for each in (one, other)]
    return int((abs(means[0] - means[1]).max(2) > CHANGED).sum())
