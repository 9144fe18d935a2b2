"""The trial component in headless Chromium: what is measured, what arrives, and what travels."""

from __future__ import annotations

import json
import re
import time

import pytest

from benchmarks.breakable import Line
from benchmarks.serving import start_server, stop_server
from benchmarks.trial_timing import PAGE, TARGET, timed_answers, trial_server
from tests.app.conftest import LONG
from tests.app.waiting import counting, onset, says, settled

pytestmark = pytest.mark.browser
PRESS = 'document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "%s", bubbles: true, composed: true }));'
# Act in the very moment in which the next trial opens.
EARLY_KEY = f"addEventListener('trialonset', () => {{ {PRESS % 1} }}, {{ once: true }});"
EARLY_CLICK = """addEventListener("trialonset", (event) => {
    event.composedPath()[0].querySelector("[data-choice=region_1]").click();
}, { once: true });"""
# The page waits a hundred times as long before it sends anything again, so that a slow server is not asked twice.
PATIENT = """const real = setTimeout;
window.setTimeout = (work, wait, ...more) => real(work, wait >= 1500 ? 100 * wait : wait, ...more);"""
# Notes how much comes in, in the order in which the page gets it.
SIZES = """window.received = [];
window.WebSocket = new Proxy(WebSocket, { construct(made, told) {
    const socket = new made(...told);
    socket.addEventListener("message", ({ data }) => received.push(data.byteLength ?? data.size ?? data.length));
    return socket;
} });"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(scope="module")
def server(folder):
    with trial_server(folder) as url:
        yield url


@pytest.fixture
def opened(page, server, folder):
    """Return a function that opens a run of trials and returns how to read its answers and all its arrivals."""

    def open_run(run, query=""):
        page.goto(f"{server}/?run={run}{query}")
        onset(page)
        return lambda name=run: rows(folder / f"{name}.jsonl"), lambda: rows(folder / f"{run}.arrived.jsonl")

    return open_run


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(read, count, rest=time.sleep):
    """Wait until ``count`` rows are there; return them."""
    end = time.monotonic() + LONG / 1000
    while len(read()) < count and time.monotonic() < end:
        rest(0.05)
    return read()


def choose(page, what):
    page.locator(f"button[data-choice={what}]").click()


def key(page, name, **more):
    """Press a key inside the page at once."""
    page.evaluate(
        "(told) => document.body.dispatchEvent(new KeyboardEvent('keydown', told))",
        {"key": name, "bubbles": True, "composed": True, **more},
    )


def at_rest(page):
    """Wait until the server's script has run to its end."""
    settled(page)


def test_answers_by_mouse_and_keyboard_arrive_once(page, opened):
    page.add_init_script(PATIENT)
    answers, arrivals = opened("both")
    begun = None
    acts = [
        lambda: choose(page, "region_2"),
        *(lambda name=name: page.keyboard.press(name) for name in ("1", "3", "ArrowLeft", "ArrowRight", "0")),
    ]
    for act in acts:
        begun = counting(page, begun)
        act()
    says(page, "All answered.")
    found = answers()
    assert [row["choice"] for row in found] == [
        "region_2",
        "region_1",
        "cannot_tell",
        "region_1",
        "region_2",
        "cannot_tell",
    ]
    assert [row["input"] for row in found] == ["mouse"] + ["keyboard"] * 5
    assert len(arrivals()) == len({row["trial_id"] for row in arrivals()}) == 6
    assert all(row["rt_ms"] >= 500 and row["rt_source"] == "browser" and not row["timed_out"] for row in found)
    assert all((row["width"], row["height"], row["confidence"], row["shown"]) == (1400, 1000, None, 1) for row in found)


def test_a_double_click_answers_one_trial(page, server, folder):
    with Line(server) as line:
        page.goto(f"{line.url}/?run=double")
        begun = counting(page)
        line.hold(to_server=True)  # the next trial comes only after both clicks
        page.locator("button[data-choice=region_1]").dblclick()
        line.let_go()
        onset(page, begun)
        page.wait_for_timeout(1000)
        assert [row["trial_id"] for row in rows(folder / "double.jsonl")] == ["double00"]


def test_early_answers_held_keys_and_typing_do_not_answer(page, opened):
    answers, _ = opened("early")
    page.add_init_script(EARLY_KEY + EARLY_CLICK)
    page.reload()  # a trial that is shown anew counts its onsets
    counting(page)
    key(page, "1", repeat=True)
    key(page, "1", ctrlKey=True)
    page.get_by_label("Note").fill("")
    page.get_by_label("Note").press("1")
    assert answers() == []
    key(page, "2")
    (row,) = wait_for(answers, 1)
    assert (row["choice"], row["early_answers"], row["shown"]) == ("region_2", 2, 2)


def test_an_answer_is_sent_again_until_it_is_acknowledged(page, opened):
    answers, arrivals = opened("refused", "&refuse=2")
    begun = counting(page)
    page.locator("button[data-choice=region_1]").evaluate(f"button => {{ button.click(); {PRESS % 2} }}")  # 2 is locked
    onset(page, begun)
    at_rest(page)
    assert [row["choice"] for row in answers()] == ["region_1"]
    arrived = arrivals()
    assert len(arrived) >= 3, "two were refused; a slow server may be asked once more"
    assert all(row == arrived[0] for row in arrived)
    page.wait_for_timeout(1800)
    assert arrivals() == arrived, "what is acknowledged is not sent again"


def test_a_refused_answer_is_asked_once_more_and_nobody_is_stuck(page, opened):
    answers, arrivals = opened("asked", "&trials=2&refuse=1&again=1")
    begun, choices = None, ("region_1", "region_2", "region_1", "cannot_tell")
    for choice in choices:
        begun = counting(page, begun)
        choose(page, choice)
    says(page, "All answered.")
    asked = {(row["trial_id"], row["choice"]) for row in arrivals()}
    assert asked == {(f"asked0{number // 2}", choice) for number, choice in enumerate(choices)}
    assert [row["choice"] for row in answers()] == ["region_2", "cannot_tell"]
    assert [row["shown"] for row in answers()] == [2, 2], "no time of a first look"


def test_a_reload_keeps_the_answer_and_sends_it_first(page, opened):
    answers, arrivals = opened("kept", "&refuse=1")
    counting(page)
    choose(page, "region_2")
    wait_for(arrivals, 1)
    before = arrivals()[0]
    page.reload()
    onset(page)
    assert answers() == [before]
    assert page.evaluate("Object.keys(sessionStorage).filter((name) => name.includes('kept00')).length") == 0


def test_an_answer_outlasts_a_cut_connection(page, server, folder):
    cut, routes = [False], []

    def connect(route):
        routes.append(route)
        if cut[0]:
            route.close()
        else:
            route.connect_to_server()

    page.route_web_socket("**/_stcore/stream", connect)
    page.goto(f"{server}/?run=cut")
    begun = counting(page)
    cut[0] = True
    routes[-1].close()
    choose(page, "region_1")
    page.wait_for_timeout(1800)  # the answer is sent again meanwhile, in vain
    assert rows(folder / "cut.jsonl") == []
    cut[0] = False
    onset(page, begun)
    assert [row["choice"] for row in rows(folder / "cut.jsonl")] == ["region_1"]


def test_an_answer_outlasts_a_restart_of_the_server(page, tmp_path):
    folder = {"SPADE_TRIAL_LOG": str(tmp_path)}
    process, url = start_server(PAGE, folder)
    try:
        page.goto(f"{url}/?run=restart")
        begun = counting(page)
        process.kill()
        process.wait()
        choose(page, "region_1")
        page.wait_for_timeout(500)
        process, _ = start_server(PAGE, folder, port=int(url.rsplit(":", 1)[1]))
        onset(page, begun)
        assert [row["choice"] for row in rows(tmp_path / "restart.jsonl")] == ["region_1"]
    finally:
        stop_server(process)


def test_confidence_is_asked_and_outlasts_a_reload(page, opened):
    answers, _ = opened("sure", "&confidence=1")
    begun = counting(page)
    page.evaluate(f"() => {{ {2 * (PRESS % 1)} }}")  # a bouncing key is no confidence
    page.wait_for_timeout(400)
    page.get_by_role("button", name="Fairly sure").click()
    counting(page, begun)
    page.keyboard.press("2")
    page.reload()
    page.locator(".trial[data-phase=confidence]").wait_for()
    assert page.locator("[data-choice=region_2]").get_attribute("aria-pressed") == "true"
    page.keyboard.press("3")
    first, second = wait_for(answers, 2)
    assert (first["choice"], first["confidence"]) == ("region_1", 2)
    assert first["confidence_rt_ms"] >= 400
    assert (second["choice"], second["confidence"], second["confidence_rt_ms"]) == ("region_2", 3, None)
    assert second["rt_ms"] >= 500


def test_own_questions_come_last_and_travel_with_the_answer(page, opened):
    answers, arrived = opened("extra", "&confidence=1&extra=1")
    begun = counting(page)
    page.keyboard.press("1")
    by_then = page.locator(".trial").evaluate("trial => performance.now() - Number(trial.dataset.onset)")
    page.wait_for_timeout(400)
    page.keyboard.press("2")
    field = page.get_by_label("What did you look at?")
    field.wait_for()
    page.keyboard.press("2")  # answers nothing any more
    page.get_by_role("button", name="Send").click()
    assert page.get_by_text("Please answer this question").is_visible()
    field.fill("3 ears, 2 eyes, 1 nose")  # typing is no choice, and ends at the limit
    page.reload()
    page.locator(".trial[data-phase=extra]").wait_for()
    assert page.locator("[data-choice=region_1]").get_attribute("aria-pressed") == "true"
    assert field.input_value() == "3 ears, 2 ey"
    page.get_by_role("radio", name="3").check()
    before = listeners(page)
    page.get_by_role("button", name="Draw again").click()
    says(page, "drawn 2")
    assert listeners(page) == before
    assert page.get_by_role("radio", name="3").is_checked()
    page.get_by_role("button", name="Send").evaluate("button => { button.click(); button.click(); }")
    onset(page, begun)
    (row,) = wait_for(answers, 1)
    assert (row["choice"], row["confidence"], row["extra"]) == ("region_1", 2, {"help": 3, "why": "3 ears, 2 ey"})
    assert 500 <= row["rt_ms"] <= by_then, "the time of the choice, not of what came after"
    assert {one["choice"] for one in arrived()} == {"region_1"}
    counting(page, begun)
    page.keyboard.press("2")
    page.wait_for_timeout(400)
    page.keyboard.press("3")
    page.get_by_role("radio", name="0").check()
    page.get_by_role("button", name="Send").click()
    second = wait_for(answers, 2)[1]
    assert (second["choice"], second["confidence"], second["extra"]) == ("region_2", 3, {"help": 0})
    assert second["extra_rt_ms"] > 0


def test_time_limit_focus_and_window_travel_inside_the_answer(clocked, server, folder):
    page = clocked
    page.goto(f"{server}/?run=limit&limit=600000&crops=0")
    onset(page)
    assert page.locator(".second img").count() == 0
    page.evaluate("() => { dispatchEvent(new Event('blur')); dispatchEvent(new Event('focus')); }")
    # The window has its new size before it says so: the trial, which listened first, has heard of it after this one.
    page.evaluate("() => addEventListener('resize', () => { window.told = [innerWidth, innerHeight].join(); })")
    page.set_viewport_size({"width": 900, "height": 700})
    page.wait_for_function("window.told === '900,700'")
    page.clock.fast_forward(600_000)
    (row, *_) = wait_for(lambda: rows(folder / "limit.jsonl"), 1)
    assert row["timed_out"]
    assert (row["choice"], row["rt_ms"], row["input"]) == (None, None, None)
    assert len(row["focus_losses"]) == 1
    assert (row["resizes"][-1]["width"], row["resizes"][-1]["height"]) == (900, 700)


def test_practice_shows_feedback_after_the_answer(page, opened):
    opened("practice", "&practice=1")
    begun = counting(page)
    page.keyboard.press("2")
    says(page, "The network decided by region 1.")
    assert page.locator(".regions .first").get_attribute("class") == "first reference"
    page.get_by_role("button", name="Continue").click()
    onset(page, begun)
    assert "region 1." not in page.locator(".trial").inner_text()


def test_clicks_at_a_known_moment_are_recorded_there(page, server, folder):
    times, clicks = timed_answers(page, server, folder, "timed", 6)
    assert len(times) == len(clicks) == 6
    assert clicks.min() >= TARGET - 1
    before, after = clicks.T
    assert (before - 1 <= times).all(), (times, clicks)
    assert (times <= after + 1).all(), (times, clicks)


def test_many_drawings_leave_one_listener(page, opened):
    answers, _ = opened("listen")
    begun = onset(page)
    before = listeners(page)
    for count in range(26):
        page.get_by_role("button", name="Draw again").click()
        says(page, f"drawn {count + 2}")
    assert listeners(page) == before
    assert counting(page) == begun  # the trial was not begun again
    open_for = page.locator(".trial").evaluate("trial => performance.now() - Number(trial.dataset.onset)")
    page.evaluate(EARLY_KEY)
    key(page, "1")
    (row,) = wait_for(answers, 1)
    assert row["rt_ms"] >= open_for - 1
    counting(page, begun)
    key(page, "1")
    assert wait_for(answers, 2)[1]["early_answers"] == 1  # 26 listeners would have counted 26


def listeners(page):
    """Return how many key listeners the document has."""
    session = page.context.new_cdp_session(page)
    target = session.send("Runtime.evaluate", {"expression": "document"})["result"]["objectId"]
    found = session.send("DOMDebugger.getEventListeners", {"objectId": target})["listeners"]
    return sum(one["type"] == "keydown" for one in found)


def test_pictures_travel_once_and_nothing_names_a_condition(page, opened):
    frames = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(bytes(data))))
    page.add_init_script(SIZES)
    opened("frames", "&still=1&trials=4")
    begun, marks, still = None, [], []
    for _ in range(4):
        begun = counting(page, begun)
        addresses = page.locator(".trial .square img").evaluate_all("(all) => all.map((image) => image.src)")
        marks += [address.split(",")[1][-3000:-1000].encode() for address in addresses]
        at_rest(page)
        drawn = int(page.get_by_text(re.compile(r"drawn \d+")).inner_text().split()[1])
        before = page.evaluate("received.length")
        page.get_by_role("button", name="Draw again").click()
        says(page, f"drawn {drawn + 1}")
        at_rest(page)
        still.append(page.evaluate("(before) => received.slice(before).reduce((sum, size) => sum + size)", before))
        assert not any(word in page.locator(".trial").inner_html() for word in ("visualization", "dense", "spade"))
        page.keyboard.press("1")
    says(page, "All answered.")
    # What has arrived is heard of while the page is asked something.
    wait_for(lambda: frames, page.evaluate("received.length"), lambda rest: page.wait_for_timeout(1000 * rest))
    pictures = [frame for frame in frames if b"data:image" in frame]
    everything = b"".join(frames)
    assert len(set(marks)) == 8
    assert [everything.count(mark) for mark in marks] == [1] * 8
    assert not any(word in everything for word in (b"visualization", b"references", b"dense"))
    assert max(still) < 4000  # a run that changes nothing
    assert len(pictures) == 4
    assert max(len(frame) for frame in frames if frame not in pictures) < 40_000  # a trial's text and script


def test_labels_for_screen_readers_and_room_at_700_pixels(page, opened):
    page.set_viewport_size({"width": 700, "height": 700})
    opened("labels")
    for name in ("Region 1", "Region 2", "Cannot tell"):
        assert page.get_by_role("button", name=name, exact=True).bounding_box()["y"] < 640
    assert page.get_by_role("img", name="A picture with two marked regions, 1 and 2").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.locator(".question").evaluate("(one) => one === one.getRootNode().activeElement")
