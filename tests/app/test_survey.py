"""The survey page without a browser, by its plain form; the component's own path is tested in Chromium."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError
from streamlit.testing.v1 import AppTest

from benchmarks.survey_browser import ready
from spade_core.config import Settings
from spade_core.errors import DatabaseError
from spade_core.study.admission.devices import Device
from spade_core.study.admission.links import SIGNED_ONLY, signer
from spade_core.study.data import studies
from spade_core.study.data.store import READS, Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import ExternalId, PageTime, Participant, Trial
from spade_core.study.data.versions import edit
from spade_core.study.running import flow, person
from spade_core.study.running.turns import take_turn
from spade_core.ui.common import login
from spade_core.ui.participant import trials
from spade_core.ui.participant.presence import OUT_OF_REACH
from tests.app.conftest import LONG
from tests.study.conftest import real_design, tiny_set

PAGE = str(Path(__file__).resolve().parent.parent.parent / "pages" / "survey.py")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path))
    found = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    yield found
    found.close()


@pytest.fixture
def key(store, tmp_path):
    return publish(
        store, real_design(trials=6, catch=1, repeats=1, attention=1, pause_every=4), tiny_set(tmp_path / "s")
    )


def opened(**query):
    app = AppTest.from_file(PAGE, default_timeout=LONG / 1000)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def token_of(app):
    token = app.query_params["r"]
    return token if isinstance(token, str) else token[0]


def press(app, key):
    return app.button(key=key).click().run()


def to_trials(app):
    app.checkbox(key="native").check().run()
    press(app, "device")
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    while onward := [button for button in app.button if (button.key or "").startswith("next_")]:
        onward[0].click().run()
    for number, radio in enumerate(app.radio):
        radio.set_value((1, 1)[number])
    return app.button[0].click().run()


def test_a_click_on_a_text_that_was_edited_meanwhile_is_no_consent(store, key):
    app = opened(study=key, PROLIFIC_PID="early")
    app.checkbox(key="native").check().run()
    press(app, "device")
    app.checkbox(key="agreed").check().run()
    design = studies.opened(store, key).design
    edit(store, key, design.model_copy(update={"controller": "Somebody else"}))
    press(app, "consent")
    assert "read it once more" in app.warning[0].value
    assert not app.checkbox(key="agreed").value
    assert store.run(lambda session: session.scalar(select(Participant))).consent_sha256 is None
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    assert store.run(lambda session: session.scalar(select(Participant))).consent_sha256


@pytest.fixture
def begun():
    """Collect the transactions of all databases from now on: ``read`` or ``write``."""
    found = []

    def note(connection):
        found.append("read" if connection.get_execution_options().get(READS) else "write")

    event.listen(Engine, "begin", note)
    yield found
    event.remove(Engine, "begin", note)


def rerun(app, begun):
    """Return the transactions of a rerun in which nothing has happened."""
    begun.clear()
    app.run()
    assert not app.exception
    return list(begun)


def test_a_rerun_with_nothing_to_store_is_one_read_on_every_page(store, key, begun):
    app = opened(study=key, PROLIFIC_PID="PID1")
    assert rerun(app, begun) == ["read"], "device"
    app.checkbox(key="native").check().run()
    press(app, "device")
    assert rerun(app, begun) == ["read"], "consent"
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    assert rerun(app, begun) == ["read"], "instructions"
    for page in range(3):
        press(app, f"next_{page}")
    assert rerun(app, begun) == ["read"], "comprehension"
    for radio in app.radio:
        radio.set_value(1)
    app.button[0].click().run()
    assert rerun(app, begun) == ["read"], "practice"
    begun.clear()
    trial = trial_of(store, app.radio[0].key.removeprefix("choice_"))
    app.radio[0].set_value(trial.reference_side)
    be_sure(app, trial.id)
    begun.clear()
    send(app)
    assert begun == ["read", "write", "read"], "stored once, and drawn anew"
    assert rerun(app, begun) == ["read"], "feedback"
    answer_all(app, store)
    assert rerun(app, begun) == ["read"], "debrief"
    press(app, "finish")
    assert rerun(app, begun) == ["read"], "end"


@pytest.mark.parametrize("practice", [0, 2])
def test_a_rerun_of_the_trial_component_is_one_read(store, tmp_path, begun, practice):
    key = publish(store, real_design(trials=6, practice=practice, practice_pass=0), tiny_set(tmp_path / "s"))
    _, query = ready(store, key, "PID1")
    app = opened(**dict(parse_qsl(urlsplit(query).query)))
    assert rerun(app, begun) == ["read"]


def told_to_component(app):
    found = [one.proto for one in app.get("bidi_component") if one.proto.component_name.endswith("trial")]
    return json.loads(found[0].json) if found else None


def test_trials_go_by_the_page_where_the_server_has_no_route_and_by_the_route_where_it_has(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(trials, "MOUNTED", threading.Event())
    key = publish(store, real_design(trials=6, practice=0, practice_pass=0), tiny_set(tmp_path / "s"))
    who, query = ready(store, key, "PID1")
    query = dict(parse_qsl(urlsplit(query).query))
    app = opened(**query)
    told = told_to_component(app)
    assert told["route"] is None
    said = {"choice": "region_1", "confidence": 2, "rt_ms": 900.0, "rt_source": "browser"}
    trials._receive_ahead(store, who, {**said, "trial_id": told["trial"]["trial_id"]})  # as its message is received
    after = told_to_component(app.run())
    assert after["acknowledged"] == [told["trial"]["trial_id"]]
    assert after["progress"] > told["progress"]
    trials.MOUNTED.set()
    told = told_to_component(app.run())
    assert {**told["route"], "r": told["route"]["token"]} == {**query, "token": query["r"], "tab": told["route"]["tab"]}
    step = take_turn(store, key, query["r"], told["route"]["tab"])
    assert step.trial.id == told["trial"]["trial_id"] == after["trial"]["trial_id"]
    assert not app.exception


def test_signs_of_life_are_written_down_now_and_then(store, key, begun):
    app = opened(study=key, PROLIFIC_PID="PID1")
    store.run(lambda session: setattr(session.scalar(select(Participant)), "last_seen", store.clock() - 31))
    assert rerun(app, begun) == ["read", "write"]
    assert rerun(app, begun) == ["read"]
    assert store.run(lambda session: session.scalar(select(Participant))).last_seen > store.clock() - 20


def trial_of(store, trial_id):
    return store.run(lambda session: session.get(Trial, trial_id))


def be_sure(app, trial_id):
    app.radio(key=f"sure_{trial_id}").set_value(2)


def send(app):
    next(button for button in app.button if button.label == "Answer").click().run()


def answer_all(app, store):
    for _ in range(60):
        keys = [button.key for button in app.button]
        waiting = next((key for key in keys if key and key.startswith(("go_", "pause_"))), None)
        if waiting is not None:
            press(app, waiting)
        elif app.radio:
            trial = trial_of(store, app.radio[0].key.removeprefix("choice_"))
            app.radio[0].set_value(trial.required or trial.reference_side)
            be_sure(app, trial.id)
            send(app)
        else:
            return
        assert not app.exception
    raise AssertionError("the trials never end")


def test_the_whole_way_by_the_plain_form_ends_with_the_code(store, key):
    app = opened(study=key, PROLIFIC_PID="PID1", STUDY_ID="S", SESSION_ID="T")
    assert "PROLIFIC_PID" not in app.query_params
    assert "r" in app.query_params
    to_trials(app)
    answer_all(app, store)
    app.text_area(key="comment").set_value("fine").run()
    press(app, "finish")
    assert app.code[0].value == "COMPLETE1"
    token = app.code[1].value
    row = store.run(lambda session: session.scalar(select(Participant)))
    assert (row.status, row.comment, row.native) == ("complete", "fine", True)
    trials = store.run(lambda session: list(session.scalars(select(Trial))))
    assert all(trial.answered is not None and trial.rt_source == "server" for trial in trials)
    assert store.run(lambda session: session.scalar(select(ExternalId))).external_id == "PID1"
    for code, words in (
        (" ", "Type the code"),
        ("wrong", "No data belong"),
        (token, "are deleted"),
        (token, "No data belong"),
    ):
        page = opened(withdraw="1")
        page.text_input[0].set_value(code)
        page.button[0].click().run()
        assert [words in found.value for found in (page.error or page.success)] == [True]
    assert store.run(lambda session: list(session.scalars(select(Trial)))) == []


def test_own_questions_are_part_of_the_plain_form(store, tmp_path):
    rating = {"name": "help", "kind": "rating", "text": "Did it help?", "low": 1, "high": 3, "required": True}
    text = {"name": "why", "kind": "text", "text": "Why?", "max_length": 9}
    design = real_design(trials=6, practice=0, practice_pass=0, questions={"extra": [rating, text]})
    app = opened(study=publish(store, design, tiny_set(tmp_path / "s")), PROLIFIC_PID="PID1")
    to_trials(app)
    trial_id = app.radio[0].key.removeprefix("choice_")
    app.radio[0].set_value("region_2")
    send(app)
    assert app.warning[0].value == "Please say as well how sure you are."
    be_sure(app, trial_id)
    send(app)
    assert app.warning[0].value == "Please answer this as well: Did it help?"
    app.radio(key=f"help_{trial_id}").set_value(3)
    assert app.text_area(key=f"why_{trial_id}").label == "Why? (optional)"
    app.text_area(key=f"why_{trial_id}").set_value("ears")
    send(app)
    assert not app.exception
    row = trial_of(store, trial_id)
    assert (row.choice, row.extra) == ("region_2", {"help": 3, "why": "ears"})
    assert app.radio[0].key != f"choice_{trial_id}"


def test_a_late_answer_of_the_plain_form_counts_as_timed_out(store, tmp_path):
    design = real_design(trials=6, practice=0, practice_pass=0, time_limit_ms=60_000)
    app = opened(study=publish(store, design, tiny_set(tmp_path / "s")), PROLIFIC_PID="PID1")
    to_trials(app)
    trial_id = app.radio[0].key.removeprefix("choice_")
    assert any("within 60 seconds" in caption.value for caption in app.caption)
    app.radio[0].set_value("region_2")
    be_sure(app, trial_id)
    given = trial_of(store, trial_id).details["given_utc"]

    def earlier(session):
        session.get(Trial, trial_id).details = {"given_utc": given - 61}

    store.run(earlier)
    send(app)
    assert not app.exception
    row = trial_of(store, trial_id)
    assert (row.choice, row.confidence, row.timed_out, row.rt_ms) == (None, None, True, None)


def test_the_time_that_is_left_is_shown_and_its_end_gives_its_own_code(store, tmp_path):
    codes = {**real_design().codes.model_dump(), "time_over": "OVER1"}
    key = publish(store, real_design(trials=6, minutes_limit=10, codes=codes), tiny_set(tmp_path / "s"))
    app = opened(study=key, PROLIFIC_PID="PID1")
    app.checkbox(key="native").check().run()
    press(app, "device")
    assert any("10 minutes from here on" in text.value for text in app.markdown)
    assert not any("left for this study" in caption.value for caption in app.caption)
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    assert any("About 10 minutes left" in caption.value for caption in app.caption)
    move_consent(store, 545)
    app.run()
    assert any("Less than a minute left" in caption.value for caption in app.caption)
    move_consent(store, 60)
    app = opened(study=key, r=token_of(app))
    assert "time for this study is over" in app.title[0].value
    assert app.code[0].value == "OVER1"
    assert not app.exception


def move_consent(store, seconds):
    def work(session):
        session.scalar(select(Participant)).consented -= seconds

    store.run(work)


def test_a_reload_goes_on_at_the_same_trial_and_the_old_tab_says_so(store, key):
    first = opened(study=key, PROLIFIC_PID="PID1")
    to_trials(first)
    token = token_of(first)
    at = first.radio[0].key
    second = opened(study=key, r=token)
    assert second.radio[0].key == at
    first.run()
    assert "newer tab" in first.info[0].value
    press(first, "claim")
    assert first.radio[0].key == at


def test_a_reload_goes_on_at_the_same_page_of_the_instructions(store, key):
    app = opened(study=key, PROLIFIC_PID="PID1")
    app.checkbox(key="native").check().run()
    press(app, "device")
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    assert "page 1 of 3" in app.caption[0].value
    press(app, "next_0")
    press(app, "next_1")
    press(app, "back_2")
    app = opened(study=key, r=token_of(app))
    assert "page 2 of 3" in app.caption[0].value
    assert "second image" in app.markdown[0].value
    press(app, "next_1")
    press(app, "next_2")
    assert app.radio
    query = select(PageTime.part).where(PageTime.page == "instructions").order_by(PageTime.id)
    assert store.run(lambda session: list(session.scalars(query))) == [1, 2, 3, 2, 3]


def test_an_id_in_another_browser_gives_neither_code_nor_page_but_its_return_code_does(store, key):
    app = opened(study=key, PROLIFIC_PID="PID1")
    app.checkbox(key="native").check().run()
    press(app, "device")
    token = token_of(app)
    shown = [item.value for item in app.markdown if "return code" in item.value]
    assert f"`{token}`" in shown[0]
    assert any("fingerprint of your participant id" in item.value for item in app.markdown)
    press(app, "decline")
    for name in ("PID1", " PID1 "):
        stranger = opened(study=key, PROLIFIC_PID=name)
        assert "This id cannot begin here" in stranger.info[0].value
        assert not stranger.code
        assert "r" not in stranger.query_params
    stranger.text_input(key="return_code").set_value("0" * 32)
    stranger.button[0].click().run()
    assert "does not belong" in stranger.error[0].value
    assert not stranger.code
    stranger.text_input(key="return_code").set_value(f"{token[:16]}-{token[16:]} ".upper())
    stranger.button[0].click().run()
    assert stranger.code[0].value == "DECLINED1"
    assert token_of(stranger) == token


def test_a_typed_id_that_is_taken_asks_for_its_return_code(store, study_with):
    key = study_with("typed")
    first = opened(study=key)
    first.text_input[0].set_value("me")
    first.button[0].click().run()
    first.checkbox(key="native").check().run()
    press(first, "device")
    press(first, "decline")
    second = opened(study=key)
    second.text_input[0].set_value("me")
    second.button[0].click().run()
    second.text_input(key="return_code").set_value(token_of(first))
    second.button[0].click().run()
    assert second.code[0].value == "DECLINED1"


def practise(app, store, *, right):
    """Answer one practice trial and return its id."""
    trial = trial_of(store, app.radio[0].key.removeprefix("choice_"))
    assert trial.type == "practice"
    app.radio[0].set_value(trial.reference_side if right else "cannot_tell")
    be_sure(app, trial.id)
    send(app)
    return trial.id


def markdown(app):
    return " ".join(text.value for text in app.markdown)


def test_practice_says_why_it_is_repeated_and_when_it_is_over_and_feedback_outlives_the_tab(store, tmp_path):
    few = {"practice": 2, "practice_pass": 2, "catch": 0, "attention": 0}
    key = publish(store, real_design(trials=6, **few), tiny_set(tmp_path / "s"))
    app = opened(study=key, PROLIFIC_PID="PID1")
    to_trials(app)
    for right in (True, False):
        trial = practise(app, store, right=right)
        app = opened(study=key, r=token_of(app))  # the line broke, and another tab goes on
        assert app.success[0].value.startswith("Right" if right else "Region")
        press(app, f"go_{trial}")
    assert "Let us practise again, because 1 of 2 answers were right. 2 are needed." in markdown(app)
    assert not app.radio
    press(app, next(button.key for button in app.button if button.label == "Go on"))
    assert "practise again" not in markdown(app)
    for _ in range(2):
        press(app, f"go_{practise(app, store, right=True)}")
    assert "Practice is over." in markdown(app)
    press(app, next(button.key for button in app.button if button.label == "Go on"))
    assert trial_of(store, app.radio[0].key.removeprefix("choice_")).type == "main"


def codes_of(app):
    """Return the return code and the withdrawal code that the consent page shows."""
    return re.findall("`([0-9a-f]{32})`", " ".join(text.value for text in app.markdown))


def at_consent(**query):
    app = opened(**query)
    app.checkbox(key="native").check().run()
    return press(app, "device")


def test_the_consent_gives_both_codes_and_a_copy_and_either_serves_at_once(store, key):
    app = at_consent(study=key, PROLIFIC_PID="PID1")
    before = codes_of(app)
    assert before[0] == token_of(app)
    assert codes_of(app.run()) == before, "a code that was noted stays the same"
    assert [button.label for button in app.get("download_button")] == ["Save a copy of this page, with your codes"]
    said = " ".join(text.value for text in app.markdown)
    for title in ("Risks", "Payment", "Legal basis", "Who gets the data", "Your rights"):
        assert f"**{title}:**" in said
    page = opened(withdraw="1")
    page.text_input[0].set_value(before[1])
    page.button[0].click().run()
    assert "No data belong" in page.error[0].value, "before the consent it opens nothing"
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    page.text_input[0].set_value(before[1])
    page.button[0].click().run()
    assert "are deleted" in page.success[0].value
    assert store.run(lambda session: session.scalar(select(Participant))) is None


def test_stop_is_on_every_page_and_keeps_or_deletes_the_answers(store, key):
    app = opened(study=key, PROLIFIC_PID="PID1")
    assert app.button(key="stop").label == "Stop"
    app.checkbox(key="native").check().run()
    for onward in ("device", "consent"):
        assert app.button(key="stop")
        if onward == "consent":
            app.checkbox(key="agreed").check().run()
        press(app, onward)
    assert app.button(key="stop"), "instructions"
    while onward := [button for button in app.button if (button.key or "").startswith("next_")]:
        onward[0].click().run()
    assert app.button(key="stop"), "questions"
    for number, radio in enumerate(app.radio):
        radio.set_value((1, 1)[number])
    app.button[0].click().run()
    trial = app.radio[0].key
    press(app, "stop")
    assert not app.radio
    press(app, "stop_back")
    assert app.radio[0].key == trial, "nothing was lost by asking"
    press(app, "stop")
    press(app, "stop_keep")
    assert app.title[0].value == "You have stopped, thank you"
    assert "no completion code for stopping early" in " ".join(text.value for text in app.markdown)
    row = store.run(lambda session: session.scalar(select(Participant)))
    assert (row.status, row.finished is not None) == ("stopped", True)


@pytest.mark.parametrize("code", ["", "STOPPED1"])
def test_stopping_has_a_code_where_the_design_gives_one(store, tmp_path, code):
    codes = {**real_design().codes.model_dump(), "stopped": code}
    key = publish(store, real_design(trials=6, codes=codes), tiny_set(tmp_path / "s"))
    app = at_consent(study=key, PROLIFIC_PID="PID1")
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    press(app, "stop")
    press(app, "stop_keep")
    assert [shown.value for shown in app.code][:-1] == ([code] if code else [])


def test_stopping_can_delete_everything_and_a_reload_says_so(store, key):
    app = at_consent(study=key, PROLIFIC_PID="PID1")
    token = token_of(app)
    app.checkbox(key="agreed").check().run()
    press(app, "consent")
    press(app, "stop")
    press(app, "stop_delete")
    assert "are deleted" in app.success[0].value
    assert store.run(lambda session: session.scalar(select(Participant))) is None
    assert "are deleted" in app.run().success[0].value
    assert "were deleted" in opened(study=key, r=token).info[0].value


def test_who_leaves_before_the_consent_has_declined(store, key):
    app = opened(study=key, PROLIFIC_PID="PID1")
    press(app, "stop")
    assert not [button for button in app.button if button.key == "stop_delete"]
    press(app, "stop_keep")
    assert app.code[0].value == "DECLINED1"


def test_each_case_of_a_token_that_finds_nobody_has_its_own_sentence(store, key):
    first = opened(study=key, PROLIFIC_PID="PID1")
    again = opened(study=key, PROLIFIC_PID="PID1")  # before the consent the id is enough
    assert token_of(first) != token_of(again)
    assert "again elsewhere" in first.run().info[0].value
    assert "incomplete" in opened(study=key, r=token_of(again)[:20]).info[0].value
    assert "were deleted" in opened(study=key, r="0" * 32).info[0].value


def test_declining_gives_the_declined_code(store, key):
    app = opened(study=key, PROLIFIC_PID="PID1")
    app.checkbox(key="native").check().run()
    press(app, "device")
    press(app, "decline")
    assert app.code[0].value == "DECLINED1"
    assert not app.get("link_button")


def test_the_way_back_is_the_studys_own_with_the_code_of_this_end(store, tmp_path):
    codes = {**real_design().codes.model_dump(), "return_url": "https://app.example.org/complete?cc={code}"}
    key = publish(store, real_design(trials=6, codes=codes), tiny_set(tmp_path / "s"))
    app = opened(study=key, PROLIFIC_PID="PID1", return_url="https://evil.example.org")
    app.checkbox(key="native").check().run()
    press(app, "device")
    press(app, "decline")
    assert app.get("link_button")[0].proto.url == "https://app.example.org/complete?cc=DECLINED1"


def test_an_id_can_be_typed_and_wrong_addresses_get_a_sentence(store, key):
    app = opened(study=key)
    app.text_input[0].set_value("me")
    app.button[0].click().run()
    assert store.run(lambda session: session.scalar(select(ExternalId))).external_id == "me"
    assert "whole link" in opened().info[0].value
    assert "There is no study" in opened(study="nope").error[0].value
    assert "were deleted" in opened(study=key, r="0" * 32).info[0].value


@pytest.fixture
def study_with(store, tmp_path):
    def make(entry):
        return publish(store, real_design(entry=entry), tiny_set(tmp_path / entry))

    return make


def test_the_design_says_whether_an_id_is_typed_left_out_or_must_come_with_the_link(store, study_with):
    app = opened(study=study_with("typed"))
    app.button[0].click().run()
    assert "type the participant id" in app.error[0].value
    app.text_input[0].set_value("me")
    app.button[0].click().run()
    assert "r" in app.query_params
    assert "carries no participant id" in opened(study=study_with("link")).error[0].value
    app = opened(study=study_with("open"))
    app.button[0].click().run()
    assert "r" in app.query_params
    assert [row.external_id for row in store.run(lambda s: list(s.scalars(select(ExternalId))))] == ["me"]


def test_a_study_by_personal_links_refuses_plain_ones(store, study_with, tmp_path):
    key = study_with("signed")
    for query in ({}, {"PROLIFIC_PID": "PID1"}):
        app = opened(study=key, **query)
        assert app.error[0].value == SIGNED_ONLY
        assert not app.text_input
    link = signer(Settings(data_dir=tmp_path)).personal("http://x", key, "P1", store.clock() + 600)
    assert "r" in opened(**dict(parse_qsl(urlsplit(link).query))).query_params
    other = {**dict(parse_qsl(urlsplit(link).query)), "study": study_with("typed")}
    assert "not valid for this study" in opened(**other).error[0].value
    late = signer(Settings(data_dir=tmp_path)).personal("http://x", key, "P1", store.clock() - 1)
    assert "expired" in opened(**dict(parse_qsl(urlsplit(late).query))).error[0].value
    assert len(store.run(lambda session: list(session.scalars(select(Participant))))) == 1


def preview_of(tmp_path, key, now):
    return dict(parse_qsl(urlsplit(signer(Settings(data_dir=tmp_path)).preview("http://x", key, now)).query))


def test_a_preview_is_marked_and_takes_no_persons_cell(store, key, tmp_path):
    app = opened(**preview_of(tmp_path, key, store.clock()))  # no login anywhere
    assert "Preview" in app.warning[0].value
    assert set(app.query_params) == {"study", "r"}
    to_trials(app)
    row = store.run(lambda session: session.scalar(select(Participant)))
    assert (row.is_preview, row.cell is not None, row.phase) == (True, True, "practice")
    assert person.person(store, key, token_of(app)).study.row.frozen is None
    cells = []
    for number in range(6):
        entry = person.enter(store, key, external_id=f"P{number}")
        who = flow.check_device(store, person.person(store, key, entry.token), width=1280, device=Device())
        cells.append(flow.consent(store, who, given=True).row.cell)
    assert sorted(cells) == list(range(6)), "the preview's cell is still to be filled"


@pytest.mark.parametrize("way", ["unsigned", "expired", "of another study"])
def test_a_preview_needs_a_link_of_this_hour_and_study(store, key, tmp_path, way):
    now = store.clock() - (3601 if way == "expired" else 0)
    query = preview_of(tmp_path, "another" if way == "of another study" else key, now)
    app = opened(**({"study": key, "preview": "1"} if way == "unsigned" else {**query, "study": key}))
    assert ("has expired" if way == "expired" else "for experimenters") in app.error[0].value
    assert store.run(lambda session: session.scalar(select(Participant))) is None


def test_a_personal_link_is_checked_and_its_id_cannot_be_typed(store, key, tmp_path):
    link = signer(Settings(data_dir=tmp_path)).personal("http://x", key, "anna", store.clock() + 600)
    query = dict(parse_qsl(urlsplit(link).query))
    opened(**query)
    external = store.run(lambda session: session.scalar(select(ExternalId))).external_id
    assert "anna" in external
    assert "personal link" in opened(study=key, PROLIFIC_PID=external).error[0].value
    forged = {**query, **{name: "0" * len(value) for name, value in query.items() if name not in ("study", "label")}}
    assert opened(**forged).error


@pytest.mark.parametrize(
    "trouble",
    [
        OperationalError("SELECT secret", {}, Exception("database or disk is full: /srv/secret/study.sqlite3")),
        OperationalError("SELECT secret", {}, Exception("connection to server at 10.0.0.7 failed")),
        DatabaseError("The study database /srv/secret/study.sqlite3 cannot be opened: correct SPADE_DATABASE_URL."),
        OSError(28, "No space left on device", "/srv/secret"),
    ],
)
def test_a_database_that_is_gone_is_one_sentence_and_the_page_goes_on_once_it_is_back(
    store, key, monkeypatch, caplog, trouble
):
    app = opened(study=key, PROLIFIC_PID="PID1")
    app.checkbox(key="native").check().run()

    def broken(*_, **__):
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_repeated", broken)
        press(app, "device")
        assert not app.exception
        assert [item.value for item in app.warning] == [OUT_OF_REACH]
        assert not app.error
        assert "secret" not in str(app.main)
        app.run()
        assert [item.value for item in app.warning] == [OUT_OF_REACH]
    assert str(trouble)[:20] in caplog.text, "the log has what happened"
    app.run()
    assert not app.warning
    app.checkbox(key="native").check().run()
    press(app, "device")
    assert app.checkbox(key="agreed")


def test_an_answer_that_meets_no_database_stays_with_the_browser(store, monkeypatch):
    def broken(*_, **__):
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(Store, "_repeated", broken)
    assert trials._receive_ahead(store, None, {"trial_id": "x"}) is None


def test_one_network_brings_so_many_new_people_a_minute_and_those_who_return_are_none(store, tmp_path, monkeypatch):
    key = publish(store, real_design(arrivals_per_minute=2), tiny_set(tmp_path / "s"))
    monkeypatch.setattr(login, "request_peer", lambda: "192.0.2.1")
    first = opened(study=key, PROLIFIC_PID="one")
    again = opened(study=key, PROLIFIC_PID="one")  # nobody has agreed yet: the same person
    assert not first.error
    assert not again.error
    assert not opened(study=key, PROLIFIC_PID="two").error
    third = opened(study=key, PROLIFIC_PID="three")
    assert "Many people have begun from your network just now" in third.error[0].value
    assert not opened(study=key, PROLIFIC_PID="two").error
    monkeypatch.setattr(login, "request_peer", lambda: "192.0.2.9")
    assert not opened(study=key, PROLIFIC_PID="three").error
    monkeypatch.setattr(login, "request_peer", lambda: "192.0.2.1")
    signed = dict(parse_qsl(urlsplit(signer(Settings.from_environment()).personal("http://x", key, "P4", 2e9)).query))
    assert not opened(**signed).error
    people = store.run(lambda session: len(session.scalars(select(Participant)).all()))
    assert people == 4
