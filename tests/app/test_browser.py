"""The way of a stranger, in headless Chromium against a real server with its real worker."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as Late

from benchmarks.serving import start_server, stop_server
from spade_core.gallery.cases import cases
from spade_core.pictures.picture import bundled
from spade_core.ui.gallery.tour import STEPS
from tests.app.waiting import press, says, settled
from tests.hostile import hostile_files

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent.parent
# One worker for all: no other stands by, and none is killed for being slow to hear of a cancel.
ONE_WORKER = "from spade_core.jobs import lanes\nlanes.GRACE = lanes.RESERVE_AFTER = 3600.0"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    data = {"SPADE_DATA_DIR": str(tmp_path_factory.mktemp("data")), "SPADE_JOBS": "worker"}
    process, url = start_server("app.py", data, first=ONE_WORKER)
    yield process, url
    stop_server(process)


@pytest.fixture
def server(started):
    return started[1]


@pytest.fixture
def held(started):
    """Return a context in which the worker stands still, so that a job cannot end before the page has shown it."""
    threads = Path(f"/proc/{started[0].pid}/task")

    def workers():
        found = [int(pid) for file in threads.glob("*/children") for pid in file.read_text().split()]
        return [pid for pid in found if b"spade_core.jobs.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @contextmanager
    def hold():
        assert len(workers()) == 1
        for pid in workers():
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers():
                os.kill(pid, signal.SIGCONT)

    return hold


QUICK = "views=2&preset=uniform&sparsity=0.3&solver=magnitude"


def open_saliency(page, server, query=""):
    page.goto(f"{server}/saliency{query}")
    page.get_by_role("button", name="Run SPADE").wait_for()


def follow(page, link, button):
    """Open a link and press the page's button."""
    page.goto(link)
    press(page, button)


def test_from_home_to_the_maps_and_their_files(page, server, held, tmp_path):
    page.goto(server)
    page.get_by_role("heading", name="See why a vision model decided").wait_for()
    press(page, cases()["cat_fish"].title)
    page.get_by_role("heading", name=cases()["cat_fish"].title).wait_for()
    press(page, "Open the maps", "link")
    page.get_by_test_id("stMetricValue").get_by_text("bison").wait_for()
    page.get_by_role("link", name="Home").click()  # the page of another case's link shows that case
    press(page, cases()["dog"].title)
    page.get_by_role("heading", name=cases()["dog"].title).wait_for()
    press(page, "Open the maps", "link")
    page.get_by_test_id("stMetricValue").get_by_text("German shepherd").wait_for()
    says(page, "This is a case of the gallery")
    with held():
        press(page, "Run SPADE")
        page.get_by_role("button", name="Cancel").wait_for()
    page.locator(".maps canvas").first.wait_for()
    says(page, "Take it with you")
    assert page.get_by_text("Weights removed").is_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Manifest (JSON)").click()
    download.value.save_as(tmp_path / "manifest.json")
    described = json.loads((tmp_path / "manifest.json").read_text())
    assert described["picture"]["name"] == "bundled:dog"
    assert described["sparsity"] > 0.5
    with page.expect_download() as download:
        page.get_by_role("button", name="Figure (PNG").click()
    download.value.save_as(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "methods=" in page.url
    link = page.url

    other = page.context.new_page()  # a second person follows the link: the kept result comes at once
    other.goto(link)
    says(other, "Take it with you")
    other.get_by_test_id("stMetricValue").get_by_text("German shepherd").wait_for()
    other.close()


def test_the_tour_turns_by_the_arrow_keys_but_where_the_divider_has_them(page, server):
    page.goto(f"{server}/tour")

    def drawn(number):
        says(page, f"{number} of 6")
        settled(page)

    def turn(key, number):
        page.keyboard.press(key)
        try:
            page.get_by_text(f"{number} of 6").wait_for(timeout=20_000)
        except Late:  # the button that listens was being drawn anew
            page.keyboard.press(key)
        drawn(number)

    drawn(1)
    turn("ArrowRight", 2)
    turn("ArrowRight", 3)
    divider = page.get_by_role("slider")
    divider.focus()
    page.keyboard.press("ArrowRight")
    assert float(divider.get_attribute("aria-valuenow")) == cases()["coffee_heart"].divider + 2
    assert page.get_by_role("heading", name=STEPS[2].title).is_visible()
    divider.blur()
    page.keyboard.press("ArrowLeft")
    drawn(2)


def test_runs_are_listed_opened_and_deleted_and_back_restores_them(page, server, tmp_path):
    def shows(label, picture):
        page.get_by_test_id("stMetricValue").get_by_text(label).wait_for()
        settled(page)
        assert page.get_by_role("combobox", name="Picture").input_value() == picture
        assert page.get_by_text("of your previous choice").count() == 0

    def ran(count):
        press(page, "Run SPADE")
        page.wait_for_function(f"() => JSON.parse(localStorage['spade-studio-runs'] ?? '[]').length === {count}")

    (tmp_path / "<b>mine.png").write_bytes(bundled()["coffee"].path.read_bytes())
    page.goto(f"{server}/saliency?{QUICK}&methods=saliency&picture=own:")
    page.get_by_test_id("stSidebar").locator("input[type=file]").first.set_input_files(tmp_path / "<b>mine.png")
    says(page, "Why espresso?")
    ran(1)
    shows("espresso", "Upload your own …")
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Koala in a tree").click()
    says(page, "Why koala?")
    ran(2)
    shows("koala", "Koala in a tree")
    page.go_back()
    shows("espresso", "Upload your own …")
    page.go_forward()
    shows("koala", "Koala in a tree")

    page.goto(f"{server}/history")
    page.get_by_text("2 of at most 50 runs").wait_for()
    assert page.locator(".runs b").all_inner_texts() == ["koala", "espresso"]
    page.evaluate(FORGE)
    page.reload()
    page.get_by_text("2 of at most 50 runs").wait_for()
    assert page.locator(".runs li").count() == 2
    page.get_by_role("link", name="<b>mine.png").click()
    shows("espresso", "Upload your own …")
    page.go_back()
    page.get_by_text("2 of at most 50 runs").wait_for()
    page.get_by_role("button", name="Delete the run: koala").click()
    page.get_by_text("1 of at most 50 runs").wait_for()
    page.go_back()  # to what was run there, which is not listed again
    page.get_by_role("link", name="History").click()
    page.get_by_text("1 of at most 50 runs").wait_for()
    page.get_by_role("button", name="Delete all", exact=True).click()
    page.get_by_role("button", name="Delete all 1").press("Enter")
    page.get_by_text("No runs yet").wait_for()
    page.reload()
    page.get_by_text("No runs yet").wait_for()


FORGE = """() => {
    const runs = JSON.parse(localStorage["spade-studio-runs"]);
    const forged = [{page: "javascript:alert(1)"}, {thumb: "https://example.org/x.webp"}, {title: 7},
        {at: "now"}, {query: null}];
    const more = forged.map((one) => ({...runs[0], query: "run=1", ...one}));
    localStorage["spade-studio-runs"] = JSON.stringify([null, 3, ...more, ...runs]);
}"""


def widths(page):
    """Return the left edge and the width of each map that is shown."""
    boxes = page.locator(".panel canvas").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect())")
    return [(box["left"], box["width"]) for box in boxes if box["width"]]


def test_maps_share_room_zoom_and_layout(page, server):
    follow(page, f"{server}/saliency?picture=bundled:dog&methods=saliency,input_x_gradient&{QUICK}", "Run SPADE")
    says(page, "Take it with you")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.get_by_role("button", name="Run SPADE").bounding_box()["y"] < 400
    assert min(width for _, width in widths(page)) >= 260
    assert len({left for left, _ in widths(page)}) == 3
    page.locator(".maps .rows").press("+")
    assert page.locator(".maps").evaluate("(maps) => maps.classList.contains('zoomed')")
    page.get_by_role("button", name="Whole").click()
    page.locator(".maps label", has_text="Slider").click()
    divider = page.get_by_role("slider", name="Dense map to the left")
    divider.first.press("Home")
    assert divider.last.input_value() == "0", "one divider for all"
    assert len(widths(page)) == 4, "a pair and a difference a method"
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".maps label", has_text="Side by side").click()
    assert len({left for left, _ in widths(page)}) == 1, "one column"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.get_by_role("button", name="Run SPADE").is_visible(), "the sidebar is closed"


def test_cancel_leaves_a_page_that_works(page, server, held):
    open_saliency(page, server, "?picture=bundled:panda&seed=5")
    with held():
        open_saliency(page, server, "?picture=bundled:panda&methods=lime&seed=5")
        press(page, "Run SPADE")
        page.get_by_role("button", name="Cancel").click()
        says(page, "Cancelled.")
    follow(page, f"{server}/saliency?picture=bundled:panda&methods=saliency&{QUICK}", "Run SPADE")
    says(page, "Take it with you")


def test_hostile_uploads_get_a_sentence_and_the_app_lives(page, server, tmp_path):
    open_saliency(page, server)
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Upload your own").click()
    says(page, "Picture file")
    files = [item for item in hostile_files(tmp_path) if len(item[1]) < 10**6][:6]
    for name, data, _ in files:
        page.locator("input[type=file]").set_input_files(
            {"name": Path(name).stem + ".png", "mimeType": "image/png", "buffer": data}
        )
        alert = page.get_by_test_id("stAlert").filter(has_text=Path(name).stem)
        alert.first.wait_for()
        assert "Traceback" not in alert.first.inner_text()
    assert urllib.request.urlopen(f"{server}/_stcore/health").status == 200


def test_a_neuron_forms_and_can_be_cancelled(page, server):
    follow(page, f"{server}/neurons?picture=bundled:koala&steps=2048&run=1&{QUICK}", "Draw the neuron")
    says(page, "step ")  # an intermediate picture
    page.get_by_role("button", name="Cancel").click()
    says(page, "Cancelled.")
    follow(page, f"{server}/neurons?picture=bundled:koala&steps=8&run=1&{QUICK}", "Draw the neuron")
    says(page, "Take it with you")
    assert page.get_by_role("heading", name="koala").is_visible()
    says(page, "Reference pictures")  # the folder is scanned after the rest is shown


def test_the_field_shows_the_channel_of_a_link(page, server):
    link = f"{server}/neurons?picture=bundled:koala&steps=2&run=1&{QUICK}&layer=conv_head&channel=7"
    follow(page, link, "Draw the neuron")
    says(page, "Take it with you")
    assert page.get_by_role("heading", name="Head, channel 7").is_visible()
    assert page.get_by_label("Channel (0 to 1279)").input_value() == "7"


def test_the_trace_page_opens_from_a_link(page, server, tmp_path):
    follow(page, f"{server}/trace?picture=bundled:koala&run=1&views=8", "Make the trace")
    page.get_by_role("tab", name="Surviving weights").click()
    page.locator(".js-plotly-plot").nth(1).wait_for()
    page.get_by_role("tab", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Trace (sparse safetensors").click()
    download.value.save_as(tmp_path / "trace.safetensors")
    from spade_core import load_trace

    assert load_trace(tmp_path / "trace.safetensors").described["fidelity"]["label"] == "koala"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of a process's libraries")
def test_the_process_that_serves_all_these_pages_has_loaded_no_network(started):
    """Its workers have, so the list does tell."""
    server = Path("/proc") / str(started[0].pid)
    workers = [worker for task in server.glob("task/*/children") for worker in task.read_text().split()]
    assert any("libtorch" in Path(f"/proc/{worker}/maps").read_text() for worker in workers)
    assert "libtorch" not in (server / "maps").read_text()
