"""A participant's whole way by clicks and keys in headless Chromium, and what travels on it."""

from __future__ import annotations

import re
import time

import pytest
from sqlalchemy import select

from benchmarks.serving import stop_server
from benchmarks.survey_browser import ready
from benchmarks.survey_record import PUBLIC
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Event, Participant, Trial
from spade_core.study.export.export import trial_table
from spade_core.study.monitoring.status import status_of
from tests.app.conftest import LONG
from tests.app.waiting import counting, onset, press, says
from tests.study.conftest import real_design, tiny_set

pytestmark = pytest.mark.browser
TELLING = re.compile(r"dense|spade|scorecam|['\"]catch['\"]|COMPLETE1|FAILED001", re.IGNORECASE)
SCROLLED = "() => Math.max(...[...document.querySelectorAll('main, section')].map((part) => part.scrollTop))"


@pytest.fixture(scope="module")
def key(store, home):
    rating = {"name": "help", "kind": "rating", "text": "Did it help?", "low": 1, "high": 3, "required": True}
    design = real_design(
        trials=4,
        catch=1,
        repeats=1,
        attention=1,
        practice=2,
        practice_pass=1,
        pause_every=3,
        questions={"extra": [rating]},
    )
    return publish(store, design, tiny_set(home / "set"))


def restart(study_server):
    stop_server(study_server.process)
    study_server.start()


def to_instructions(page, study_server, key, query=""):
    page.goto(f"{study_server.url}/survey?study={key}{query}")
    says(page, "Continue")
    press(page, "Continue")
    says(page, "I have read this and want to take part")
    page.get_by_text("I have read this and want to take part").click()
    press(page, "Take part", exact=True)
    says(page, "page 1 of 3")


def to_practice(page, study_server, key, query=""):
    to_instructions(page, study_server, key, query)
    for _ in range(3):
        before = page.get_by_role("heading", level=3).inner_text()
        press(page, "Next")
        page.wait_for_function("before => document.querySelector('h3')?.innerText !== before", arg=before)
    for number in (0, 1):
        page.get_by_role("radiogroup").nth(number).get_by_text(
            ("Say which region made", "What excites")[number]
        ).click()
    press(page, "Check")
    onset(page)


def answer(page, number, right=None):
    """Answer one trial by mouse or, every other time, by key, rightly where ``right`` says how; then how sure."""
    region = right.removeprefix("region_") if right else "21"[number % 2]
    if number % 2:
        page.keyboard.press(region)
    else:
        page.get_by_role("button", name=re.compile(f"Region {region}")).click()
    page.wait_for_timeout(300)  # a second press within 250 ms is a double click, not a confidence
    page.get_by_role("button", name=re.compile("Fairly sure")).click()


def by_route(page, frames):
    """Add what the route answers to the frames; return a list that fills with its states."""
    turns = []

    def note(answer):
        if answer.url.endswith("/survey/trial"):
            turns.append(answer.status)
            frames.append(answer.body())

    page.on("response", note)
    return turns


def test_fonts_come_after_what_a_first_page_needs_and_the_server_is_found_at_once(page, study_server, key):
    asked = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(study_server.url)))
    page.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID=fonts")
    says(page, "Continue")
    loaded = "[...document.fonts].filter((font) => font.status == 'loaded').map((font) => font.family).join()"
    for name in ("Source Sans", "Material Symbols Rounded"):
        page.wait_for_function(f"{loaded}.includes('{name}')")
    page.locator("[data-testid=stIconMaterial]").first.wait_for(state="visible")
    fonts = [place for place, path in enumerate(asked) if path.endswith(".woff2")]
    scripts = [place for place, path in enumerate(asked) if path.startswith("/static/js")]
    assert min(fonts) > max(scripts), asked
    assert not any(path.startswith("/survey/_stcore") for path in asked), asked
    assert page.evaluate("getComputedStyle(document.querySelector('[data-testid=stBaseButton-primary]')).color") in (
        "rgb(255, 255, 255)",
        "rgb(6, 32, 29)",
    )


def go_through(page, store, uid):
    """Answer until the debrief."""
    begun = None
    for number in range(60):
        seen = counting(page, begun, "Finish", "Go on")
        if seen == "Finish":
            return
        if seen == "Go on":
            press(page, "Go on")
            seen = counting(page, begun)
        begun = seen
        waiting = current(store, uid)
        # Practice is done rightly: sides are random, and whoever gets it wrong twice practises again.
        answer(page, number, waiting.reference_side if waiting.type == "practice" else None)
        if waiting.type != "practice":
            page.get_by_role("radio", name="2").check()
            press(page, "Send")
        until_stored(page, store, waiting.id)
        if waiting.type == "practice":
            says(page, "Continue")
            press(page, "Continue")
    raise AssertionError("the study never ends")


def until_stored(page, store, trial_id):
    for _ in range(LONG // 40):
        if store.run(lambda session: session.get(Trial, trial_id)).answered is not None:
            return
        page.wait_for_timeout(40)
    raise AssertionError("the answer never arrives")


def current(store, uid):
    query = select(Trial).where(Trial.participant_uid == uid, Trial.answered.is_(None)).order_by(Trial.index)
    return store.run(lambda session: session.scalar(query.limit(1)))


def person(store):
    return store.run(lambda session: session.scalar(select(Participant).order_by(Participant.started.desc()).limit(1)))


def test_a_whole_participation_by_clicks_and_keys_and_nothing_tells_the_condition(page, study_server, store, key):
    frames, started = [], time.monotonic()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(data)))
    turns = by_route(page, frames)
    to_practice(page, study_server, key, "&PROLIFIC_PID=PID9&STUDY_ID=S&SESSION_ID=T")
    assert "PID9" not in page.url
    uid = person(store).uid
    go_through(page, store, uid)
    assert len(turns) >= 2 + 2 + 4 + 1 + 1 + 1, "every answer, and every word that feedback was read"
    assert set(turns) == {200}
    text = "\n".join(data if isinstance(data, str) else data.decode("utf-8", "replace") for data in frames)
    for word in PUBLIC:
        text = text.replace(word, "")
    without_pictures = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    assert not TELLING.findall(without_pictures)
    sizes = {len(uri) for uri in re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", text)}
    assert len(sizes) == 1, "one size for all pictures, whatever they show"
    page.get_by_role("textbox").fill("well made")
    press(page, "Finish")
    says(page, "COMPLETE1")
    rows = trial_table(store, key, blind=False)
    mine = rows[rows["participant_uid"] == uid]
    assert len(mine) == 2 + 4 + 1 + 1 + 1
    assert set(mine["rt_source"]) == {"browser"}
    assert (mine["rating_help"] == 2).tolist() == (mine["trial_type"] != "practice").tolist()
    assert mine["rt_ms"].between(500, 1000 * (time.monotonic() - started)).all()
    assert status_of(store, key)["people"]["complete"] == 1
    events = select(Event.kind).where(Event.participant_uid == uid, Event.kind == "refused answer")
    assert store.run(lambda session: list(session.scalars(events))) == []
    withdraw(page, study_server)
    assert uid not in set(trial_table(store, key, blind=False)["participant_uid"])
    page.go_back()
    page.get_by_text("they were deleted").wait_for()


def withdraw(page, study_server):
    """Delete the participation by the code on the last page, at the address that stands there."""
    code = page.locator("code").last.inner_text()
    page.goto(re.search(rf"{study_server.url}/survey\?withdraw=1", page.locator("body").inner_text()).group())
    for typed, words in (("wrong", "No data belong to this code"), (code, "Your data are deleted")):
        page.get_by_role("textbox").fill(typed)
        press(page, "Delete all of it for good")
        page.get_by_text(words).wait_for()
    assert page.get_by_role("textbox").count() == 0


def test_the_browser_that_began_goes_on_by_its_id_and_another_does_not(browser, page, study_server, key):
    to_instructions(page, study_server, key, "&PROLIFIC_PID=PID20")
    at = page.url
    page.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID=PID20")
    says(page, "page 1 of 3")
    assert page.url == at, "the same token"
    other = browser.new_page()
    other.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID=PID20")
    says(other, "This id cannot begin here")
    other.wait_for_timeout(500)
    assert "page 1 of 3" not in other.locator("body").inner_text()
    other.close()


def test_a_reload_and_a_restarted_server_keep_the_page_of_the_instructions(page, study_server, key):
    to_instructions(page, study_server, key, "&PROLIFIC_PID=PID12")
    press(page, "Next")
    says(page, "page 2 of 3")
    page.reload()
    says(page, "page 2 of 3")
    press(page, "Next")
    says(page, "page 3 of 3")
    press(page, "Back")
    says(page, "page 2 of 3")
    restart(study_server)
    page.reload()
    says(page, "page 2 of 3")


def test_a_reload_and_a_restarted_server_go_on_at_the_same_trial(page, study_server, store, key):
    to_practice(page, study_server, key, "&PROLIFIC_PID=PID10")
    uid = person(store).uid
    before = current(store, uid).id
    page.reload()
    counting(page)
    assert current(store, uid).id == before
    restart(study_server)
    page.route("**/survey/trial", lambda asked: asked.fulfill(status=404))  # a proxy that knows the pages alone
    answer(page, 0)  # given while the page may still be reconnecting, and sent by it
    until_stored(page, store, before)
    assert store.run(lambda session: session.get(Trial, before)).choice == "region_2"


def test_an_open_page_says_by_itself_that_the_time_is_over(page, study_server, turn, store, home):
    codes = {**real_design().codes.model_dump(), "time_over": "OVER1"}
    limited = real_design(trials=6, minutes_limit=30, codes=codes, practice=0, practice_pass=0)
    key = publish(store, limited, tiny_set(home / "limited"))
    who, query = ready(store, key, "slow")
    uid = who.row.uid
    began = store.run(lambda session: session.get(Participant, uid)).consented
    turn(began)
    page.goto(study_server.url + query)
    says(page, "About 30 minutes left")
    turn(None)
    begun = counting(page)
    answer(page, 0)
    onset(page, begun)
    turn(began + 30 * 60 - 1)
    page.reload()
    says(page, "Less than a minute left")
    turn(began + 30 * 60)
    says(page, "OVER1")
    turn(None)
    rows = trial_table(store, key)
    assert rows["choice"].notna().sum() == 1
    assert set(rows[rows["choice"].isna()]["timed_out_by"]) == {"study"}
    assert store.run(lambda session: session.get(Participant, uid)).status == "time_over"


def test_a_phone_is_refused_politely_and_the_same_link_works_on_a_computer(browser, clocked, study_server, store, key):
    agent = "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 Chrome/131.0.0.0 Mobile Safari/537.36"
    size = {"width": 900, "height": 412}
    phone = browser.new_context(viewport=size, user_agent=agent, has_touch=True, is_mobile=True).new_page()
    phone.set_default_timeout(LONG)
    phone.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID=PID13")
    phone.get_by_text("This study needs a computer").wait_for()
    phone.get_by_role("button", name="Continue").wait_for(state="detached")  # the page before it may still be leaving
    phone.context.close()
    page = clocked
    page.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID=PID13")
    press(page, "Continue")
    page.get_by_text("I have read this and want to take part").wait_for()
    device = person(store).device
    assert 20 < device["refresh_hz"] < 500
    assert (device["width"], device["height"], device["dpr"], device["touch_points"]) == (1400, 1000, 1, 0)


def test_a_narrow_window_is_refused_politely_and_may_be_enlarged(page, study_server, key):
    page.set_viewport_size({"width": 500, "height": 800})
    page.goto(f"{study_server.url}/survey?study={key}&PROLIFIC_PID=PID11")
    page.get_by_text("this study needs 700").wait_for()
    page.set_viewport_size({"width": 1000, "height": 800})
    page.get_by_role("button", name="Continue").wait_for()


def test_the_question_of_confidence_comes_into_view_in_a_low_window(page, study_server, key):
    page.set_viewport_size({"width": 853, "height": 533})  # 1280 x 800 at 150 %
    to_practice(page, study_server, key, "&PROLIFIC_PID=PID14")
    page.locator(".trial[data-phase=open]").wait_for()
    page.wait_for_timeout(600)  # the least viewing time
    page.keyboard.press("1")
    page.locator(".trial[data-phase=confidence]").wait_for()
    box = page.locator(".confidence").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 534
