"""The experimenter's page, driven without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit as st
from argon2 import PasswordHasher
from sqlalchemy import select, update
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.jobs import job as job_module
from spade_core.jobs import manager as jobs
from spade_core.study.admission import access
from spade_core.study.admission.access import Evidence
from spade_core.study.data.store import open_store
from spade_core.study.data.studies import list_studies, publish
from spade_core.study.data.tables import Audit, Participant, Study, Trial
from spade_core.study.design.design import TEMPLATE
from spade_core.study.export.codebook import BLINDED
from spade_core.study.export.export import export
from spade_core.study.running.bots import simulate
from spade_core.study.running.person import enter
from spade_core.study.stimuli import stimulus_set
from spade_core.ui.common import login
from spade_core.ui.study.access import checked
from spade_core.ui.study.plots import FIGURES
from spade_core.ui.study.results import show_analysis, show_export
from tests.app.conftest import LONG
from tests.study.conftest import real_design, tiny_set

ROOT = Path(__file__).resolve().parent.parent.parent
EVERYTHING = "All tables, codebooks, read.R, read.py (ZIP)"
LOCAL = (("Host", "127.0.0.1:8501"), ("Origin", "http://127.0.0.1:8501"))
PROXIED = (*LOCAL, ("X-Forwarded-For", "192.0.2.1"))
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")


@pytest.fixture(autouse=True)
def installation(monkeypatch, tmp_path):
    """Local requests, a database of its own, and the tiny set in place of the shipped one."""
    monkeypatch.setenv("SPADE_JOBS", "inline")
    monkeypatch.setenv("SPADE_DEVICE", "cpu")
    for name in ("SPADE_DATABASE_URL", "SPADE_ADMIN_PASSWORD_HASH", "SPADE_ADMIN_EMAILS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stimulus_set, "DEMO_SET", tiny_set(tmp_path / "set").folder)
    monkeypatch.setattr(access._SERVER, "_times", type(access._SERVER._times)())
    come_from(monkeypatch, LOCAL)
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def come_from(monkeypatch, headers, address="127.0.0.1", peer="127.0.0.1"):
    """Let requests carry these headers, the server listen there and the connection come from ``peer``."""
    monkeypatch.setattr(login, "request_peer", lambda: peer)
    monkeypatch.setattr(login, "request_headers", lambda: headers)
    get_option = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: address if name == "server.address" else get_option(name))


def downloads(monkeypatch, show, key, headers):
    """Draw a section for requests with these headers; return what its download buttons make, by their titles."""
    made = {}
    with monkeypatch.context() as patch:
        come_from(patch, headers)
        patch.setattr(DeltaGenerator, "download_button", lambda _, title, make, *a, **more: made.update({title: make}))
        show(key)
    return made


@pytest.fixture
def store():
    found = open_store(Settings.from_environment())
    yield found
    found.close()


@pytest.fixture
def key(store, tmp_path):
    return publish(store, real_design(), stimulus_set.load_set(tmp_path / "set"))


def with_people(store, key, count=3):
    """Let bots take part and count as people."""
    simulate(store, key, count, "rater", 0)
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))


def page(section=None):
    app = AppTest.from_file(ROOT / "home.py", default_timeout=LONG / 1000).run()
    app.switch_page("pages/study.py").run()
    return go(app, section) if section else app


def go(app, section):
    picker = next(group for group in app.get("button_group") if section in group.options)
    return picker.set_value(section).run()


def texts(app):
    kinds = ("title", "markdown", "caption", "info", "warning", "error", "success", "code")
    return " ".join(str(item.value) for kind in kinds for item in app.get(kind))


def tables(app):
    """Return everything in tables as text, column names included."""
    return " ".join(item.value.to_csv() for item in app.dataframe)


def columns(app):
    return {name for item in app.dataframe for name in item.value.columns}


def metrics(app):
    return {item.label: item.value for item in app.metric}


@pytest.mark.parametrize(
    ("headers", "address"),
    [(PROXIED, "127.0.0.1"), ((("Host", "study.example.org"),), "127.0.0.1"), (LOCAL, "0.0.0.0"), ((), "127.0.0.1")],
)
def test_the_page_is_closed_without_rights(monkeypatch, key, headers, address):
    come_from(monkeypatch, headers, address)
    app = page()
    assert not app.exception
    assert "This page is closed here" in app.info[0].value
    assert not app.button
    assert key not in texts(app)


@pytest.mark.parametrize("setting", ["SPADE_ADMIN_PASSWORD_HASH", "SPADE_ADMIN_EMAILS"])
def test_a_page_that_asks_for_a_login_asks_the_servers_own_machine_too(monkeypatch, key, setting):
    monkeypatch.setenv(setting, HASH if setting.endswith("HASH") else "a@example.org")
    app = page()
    assert not app.exception
    assert key not in texts(app)


def test_a_connection_from_elsewhere_is_closed_whatever_its_headers_say(monkeypatch, key):
    come_from(monkeypatch, LOCAL, peer="203.0.113.9")
    app = page()
    assert "This page is closed here" in app.info[0].value
    assert key not in texts(app)


def test_headers_that_streamlit_does_not_give_close_the_page(monkeypatch, key):
    monkeypatch.undo()
    app = page()
    assert not app.exception
    assert "closed" in app.info[0].value


def test_the_page_is_open_on_its_own_machine():
    app = page()
    assert not app.exception
    assert not app.error
    assert "no studies yet" in app.info[0].value


def test_the_password_opens_the_page_and_another_one_closes_it(monkeypatch, key):
    come_from(monkeypatch, PROXIED)
    monkeypatch.setenv("SPADE_ADMIN_PASSWORD_HASH", HASH)
    app = page()
    assert key not in texts(app)
    app.text_input(key="admin_password").set_value("wrong")
    app.button[0].click().run()
    assert app.error[0].value == "This is not the password: try again."
    app.text_input(key="admin_password").set_value("right")
    app.button[0].click().run()
    assert not app.error
    assert key in tables(app)
    app.button(key="log_out").click().run()
    assert key not in tables(app)
    app.text_input(key="admin_password").set_value("right")
    app.button[0].click().run()
    assert key in tables(app)
    monkeypatch.setenv("SPADE_ADMIN_PASSWORD_HASH", PasswordHasher().hash("other"))
    app.run()
    assert key not in tables(app)
    assert app.text_input(key="admin_password") is not None


def test_attempts_are_limited_over_all_sessions(monkeypatch):
    come_from(monkeypatch, PROXIED)
    monkeypatch.setenv("SPADE_ADMIN_PASSWORD_HASH", HASH)
    for number in range(6):
        app = page()
        app.text_input(key="admin_password").set_value("right" if number == 5 else "wrong")
        app.button[0].click().run()
    assert app.error[0].value.startswith("Too many attempts")


def test_a_listed_and_verified_address_opens_the_page(monkeypatch, store, key):
    come_from(monkeypatch, PROXIED)
    monkeypatch.setenv("SPADE_ADMIN_EMAILS", "a@example.org")
    claims = {"is_logged_in": True, "email": "a@example.org", "email_verified": False}
    monkeypatch.setattr(login, "_claims", lambda: claims)
    monkeypatch.setattr(login, "_oidc_is_configured", lambda: True)
    app = page()
    assert "has not confirmed that a@example.org is yours" in app.warning[0].value
    claims["email_verified"] = True
    assert key in tables(app.run())
    assert "Logged in as a@example.org." in texts(app)
    claims["email"] = "A@example.org"
    app.button(key="set_closed").click().run()
    assert list_studies(store)[0].status == "open"
    assert "A@example.org is not one of the addresses" in app.warning[0].value
    assert not app.dataframe
    assert not app.error


def test_an_action_looks_at_the_door_again(monkeypatch, store, key):
    app = page()
    come_from(monkeypatch, PROXIED)
    app.button(key="set_closed").click().run()
    assert list_studies(store)[0].status == "open"
    assert not app.dataframe
    with pytest.raises(ConfigError, match="not logged in"):
        downloads(monkeypatch, show_export, key, PROXIED)["Download"]()
    assert downloads(monkeypatch, show_export, key, LOCAL)["Download"]().startswith(b"study_id")


def test_one_button_makes_the_demo(store):
    app = page()
    app.button(key="demo").click().run()
    assert not app.exception
    assert not app.error
    (row,) = list_studies(store)
    assert row.demo
    assert "measures nothing" in texts(app)
    assert metrics(app)["Completed"] == "0 of 60"


def moves(app):
    return {button.key for button in app.button if (button.key or "").startswith("set_")}


def test_pause_open_again_and_close_for_good(store, key):
    app = page()
    for status, others in (
        ("paused", {"set_open", "set_closed"}),
        ("open", {"set_paused", "set_closed"}),
        ("closed", set()),
    ):
        assert "Closing is for good" in texts(app)
        app.button(key=f"set_{status}").click().run()
        assert not app.error
        assert list_studies(store)[0].status == status
        assert moves(app) == others
    assert "never opened again" in texts(app)


def test_a_draft_is_saved_edited_opened_and_copied_once_frozen(store, tmp_path):
    app = page()
    app.text_input(key="set_folder").set_value(str(tmp_path / "set"))
    app.button(key="draft").click().run()
    assert not app.error
    (row,) = list_studies(store)
    assert row.status == "draft"
    app.button(key="set_open").click().run()
    assert "placeholder" in app.error[0].value
    app = go(app, "Design")
    editor = next(area for area in app.text_area if area.key.startswith("edit_"))
    editor.set_value(real_design(name="Mine").to_yaml())
    app.button(key="edit").click().run()
    assert "version 2" in app.success[0].value
    app.button(key="set_open").click().run()
    assert not app.error
    assert list_studies(store)[0].status == "open"
    store.run(lambda session: session.execute(update(Study).values(frozen=1.0)))
    app.run()
    assert app.button(key="edit").disabled
    assert "This study is frozen" in texts(app)
    app.button(key="copy").click().run()
    assert sorted(found.status for found in list_studies(store)) == ["draft", "open"]
    assert next(table.value for table in app.dataframe if "version" in table.value)["version"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("trials: [", "The design is no YAML"),
        ("hello", "must be a YAML mapping"),
        ("name: x", "The design's “controller” cannot be used"),
        (TEMPLATE.read_text().replace("trials: 12", "trials: many"), "The design's “trials” cannot be used"),
        (TEMPLATE.read_text(), "“controller” is still a placeholder"),
    ],
)
def test_a_wrong_design_is_one_sentence(store, tmp_path, text, sentence):
    app = page()
    app.text_area(key="design_text").set_value(text)
    app.text_input(key="set_folder").set_value(str(tmp_path / "set"))
    app.button(key="publish").click().run()
    assert not app.exception
    assert len(app.error) == 1
    assert sentence in app.error[0].value
    assert list_studies(store) == []


def test_pasted_work_stays_in_sight_when_the_first_study_is_there(store):
    app = page()
    app.text_area(key="design_text").set_value("name: half done").run()
    app.button(key="demo").click().run()
    assert len(list_studies(store)) == 1
    assert app.text_area(key="design_text").value == "name: half done"
    assert next(one for one in app.expander if one.label == "New study").proto.expanded
    app.text_area(key="design_text").set_value(TEMPLATE.read_text()).run()
    assert not next(one for one in app.expander if one.label == "New study").proto.expanded


def test_a_design_is_checked_and_published(store, tmp_path):
    app = page()
    app.button(key="check").click().run()
    assert "fill in: controller, contact, ethics, retention, age" in app.success[0].value
    app.text_area(key="design_text").set_value(real_design(name="Mine").to_yaml())
    app.button(key="publish").click().run()
    assert "Give the folder of a stimulus set" in app.error[0].value
    app.text_input(key="set_folder").set_value(str(tmp_path / "nowhere"))
    app.button(key="publish").click().run()
    assert len(app.error) == 1
    app.text_input(key="set_folder").set_value(str(tmp_path / "set"))
    app.button(key="publish").click().run()
    assert not app.error
    assert [row.name for row in list_studies(store)] == ["Mine"]


def test_links_are_offered_and_personal_ones_signed(key):
    app = page("Links")
    shown = texts(app)
    assert f"/survey?study={key}&preview=1&expires=" in shown
    assert "PROLIFIC_PID={{%PROLIFIC_PID%}}" in shown
    app.text_area(key="labels").set_value("P1 P2\nP1").run()
    app.button(key="make_links").click().run()
    assert not app.error
    made = app.code[-1].value.splitlines()
    assert ["label=P1" in made[0], "label=P2" in made[1], len(made)] == [True, True, 2]
    app.text_input(key="base").set_value("nowhere").run()
    assert "must look like" in app.error[0].value


def test_a_blind_study_hides_conditions_until_it_is_unblinded(store, key):
    with_people(store, key)
    hidden = {*BLINDED, "agree", "response"}
    app = page()
    assert metrics(app)["Completed"] == "3 of 60"
    for section in ("Monitor", "Participants", "Export", "Analysis", "Links", "Bots", "Power"):
        app = go(app, section)
        assert not app.exception
        assert not app.error
        assert not columns(app) & (hidden - {"cell"} if section == "Monitor" else hidden), section
        for word in ("dense", "spade", "net:", "_d.webp"):
            assert word not in tables(app).lower(), (section, word)
        assert not app.get("plotly_chart")
    app = go(app, "Analysis")
    assert "This study is blind" in app.info[0].value
    assert app.button(key="unblind").disabled
    assert "still takes participants" in app.warning[0].value
    app.checkbox(key="sure").check().run()
    app.button(key="unblind").click().run()
    assert "give your reason" in app.error[0].value, "an open study is not unblinded by a tick"
    app.text_input(key="interim").set_value("to see the page")
    app.button(key="unblind").click().run()
    assert not app.exception
    assert not app.error
    assert "Exploratory, since conditions were seen while data were collected" in texts(app)
    assert columns(app) >= {"response", "SPADE", "dense", "paper, SPADE"}
    assert "56.7 %" in tables(app)
    assert "SIMULATED" not in texts(app)
    assert len(app.get("plotly_chart")) == len(FIGURES)
    assert columns(go(app, "Export")) >= set(BLINDED)
    assert app.dataframe[-1].value.columns[0] == "participant_uid", "not what is the same in every row"
    actions = store.run(lambda session: list(session.scalars(select(Audit.action))))
    assert actions.count("unblind") == 1
    told = store.run(lambda session: session.scalar(select(Audit.details).where(Audit.action == "unblind")))
    assert told == {"by": "the server's own computer", "interim": "to see the page"}


def test_bots_alone_are_shown_as_simulated(store, key):
    simulate(store, key, 3, "rater", 0)
    app = page("Analysis")
    assert not app.error
    assert "SIMULATED: " in texts(app)
    assert "SIMULATED SPADE" in columns(app)
    figure = app.get("plotly_chart")[0].proto.spec
    assert "SIMULATED, bots: agreement" in figure
    app = go(app, "Monitor")
    assert "SIMULATED: these are bots." in texts(app)
    assert metrics(app)["Completed"] == "3 of 60"


def test_the_analysis_shows_every_table_and_figure(monkeypatch, store, key):
    simulate(store, key, 6, "undecided-shifter", 1)
    app = page("Analysis")
    assert not app.exception
    shown = tables(app)
    for part in (
        "half credit",
        "product bootstrap",
        "exclusions off",
        "missing answers all against SPADE",
        "timeouts",
        "most central patch",
        "most contrasted patch",
        "model rater on the SPADE visualization",
        "p (Holm)",
        "Krippendorff's alpha",
        "repeated trials answered alike",
        "median",
        "second half",
        "net:3",
    ):
        assert part in shown, part
    titles = [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in app.get("plotly_chart")]
    assert len(titles) == len(FIGURES)
    assert all(title.startswith("SIMULATED, bots: ") for title in titles)
    assert all(item.label.startswith("SIMULATED: ") for item in app.expander if item.label.endswith("Baselines"))
    saved = downloads(monkeypatch, show_analysis, key, LOCAL)["Figures (HTML)"]()
    assert saved.count("SIMULATED, bots: ") == len(FIGURES)
    with pytest.raises(ConfigError, match="not logged in"):
        downloads(monkeypatch, show_analysis, key, PROXIED)["Figures (HTML)"]()


def test_a_dry_run_works_on_a_copy_and_is_kept(monkeypatch, store, key):
    with_people(store, key, 1)
    app = page("Bots")
    app.number_input(key="bots").set_value(2).run()
    app.button(key="simulate").click().run()
    assert not app.exception
    assert not app.error
    assert "SIMULATED, on a copy: 2 complete; completed in each cell: " in app.success[0].value
    assert "SIMULATED dense" in columns(app)
    assert not app.main.get("progress")
    assert store.run(lambda session: len(list(session.scalars(select(Participant))))) == 1
    monkeypatch.setattr("spade_core.study.analysis.dry_run.dry_run", lambda *_, **__: pytest.fail("it was kept"))
    other = page("Bots")
    assert not other.success, "it would ask for something else"
    other.number_input(key="bots").set_value(2).run()
    assert "SIMULATED dense" in columns(other)
    other.button(key="simulate").click().run()
    assert not other.error


def test_bots_asked_for_twice_are_other_bots(store, key):
    app = page("Bots")
    app.toggle(key="keep_bots").set_value(True)
    app.number_input(key="bots").set_value(2).run()
    for count in (2, 4):
        app.button(key="simulate").click().run()
        assert not app.exception
        assert "SIMULATED: 2 complete. Monitor" in app.success[0].value
        found = store.run(lambda session: list(session.scalars(select(Participant.is_bot))))
        assert found == [True] * count


def test_power_is_simulated_for_the_studys_design_and_kept(monkeypatch, key):
    app = page("Power")
    assert app.text_input(key="power_people").value == "15 30 60 120 240"
    assert app.text_input(key="power_neurons").value == "12"
    assert not app.get("plotly_chart")
    app.text_input(key="power_people").set_value("24, 48")
    app.number_input(key="power_simulations").set_value(100)
    app.button(key="power").click().run()
    assert not app.exception
    assert not app.error
    assert "SIMULATED studies" in app.get("plotly_chart")[0].proto.spec
    table = app.dataframe[-1].value
    assert list(table["participants"]) == ["24", "48", "endless"]
    assert "12 class neurons: " in texts(app)
    assert not app.main.get("progress")
    other = page("Power")
    assert not other.get("plotly_chart"), "it would ask for something else"
    other.text_input(key="power_people").set_value("24, 48")
    other.number_input(key="power_simulations").set_value(100)
    monkeypatch.setattr("spade_core.study.power.power.power_report", lambda *_, **__: pytest.fail("it was kept"))
    other.button(key="power").click().run()
    assert not other.error
    assert other.dataframe[-1].value.equals(table)
    app.text_input(key="power_people").set_value("many")
    app.button(key="power").click().run()
    assert "whole numbers" in app.error[0].value


@pytest.mark.parametrize(
    ("section", "press", "slot", "module"),
    [("Power", "power", "power_", "study.power"), ("Bots", "simulate", "dry_run_", "study.bots")],
)
def test_a_long_job_can_be_cancelled_by_who_may_and_found_again(monkeypatch, key, section, press, slot, module):
    waiting = jobs.Job(0, "k", "any", {})
    waiting.begin()
    waiting.report(0.25, "something")
    tickets, cancelled = [], []

    class Manager(jobs.JobManager):
        def submit(self, kind, payload):
            tickets.append((kind, payload))
            return job_module.Ticket(waiting, self.position, self.give_up)

        def find(self, key):
            return (
                job_module.Ticket(waiting, self.position, self.give_up)
                if tickets and jobs.job_key(*tickets[0]) == key
                else None
            )

        def position(self, job):
            return 0

        def give_up(self, ticket, job):
            cancelled.append(job)
            job.end("cancelled", "cancelled")

    manager = Manager(Settings.from_environment())
    monkeypatch.setattr(f"spade_core.ui.{module}.jobs", lambda: manager)
    app = page(section)
    app.button(key=press).click().run()
    assert not app.exception
    assert app.get("progress")[0].proto.text.startswith("something")
    again = page(section)
    assert again.get("progress"), "a new tab that asks for the same finds it"
    come_from(monkeypatch, PROXIED)
    again.button(key=f"{slot}{key}_cancel").click().run()
    assert not cancelled
    come_from(monkeypatch, LOCAL)
    app.button(key=f"{slot}{key}_cancel").click().run()
    assert cancelled == [waiting]
    assert "Cancelled" in app.info[0].value


def people_of(app):
    """Return the participants of the table, in its order."""
    return app.dataframe[-2].value["participant"].tolist()


def choose(app, uid):
    """Choose a participant's row."""
    name = app.dataframe[-2].key
    app.session_state[name] = {"selection": {"rows": [people_of(app).index(uid)], "columns": [], "cells": []}}
    return app.run()


def test_a_participant_is_chosen_from_the_table_and_stays_chosen_when_others_come_and_go(store, key):
    with_people(store, key, 2)
    app = page("Participants")
    shown = app.dataframe[-2].value
    assert {"status", "progress", "last seen"} <= set(shown.columns)
    assert "cell" not in shown, "it can tell the condition"
    assert shown["progress"].tolist() == [100, 100]
    assert "Choose a row" in texts(app)
    assert not [button for button in app.button if button.key in ("exclude", "delete")]
    last = people_of(app)[-1]
    app = choose(app, last)
    assert f"Chosen: participant **{last}**" in texts(app)
    simulate(store, key, 1, "rater", 7)
    store.run(lambda session: session.execute(update(Participant).values(is_bot=False, policy=None)))
    app.run()
    assert people_of(app).index(last) == 2
    assert f"Chosen: participant **{last}**" in texts(app)
    store.run(lambda session: session.execute(update(Study).values(unblinded=1.0)))
    assert "cell" in app.run().dataframe[-2].value


def test_a_study_is_called_unblinded_only_when_somebody_unblinded_it(store, key):
    enter(store, key, external_id="p0")
    assert "This study is unblinded" not in texts(page("Participants")), "nobody has consented: nothing is to be hidden"
    with_people(store, key)
    store.run(lambda session: session.execute(update(Study).values(frozen=1.0)))  # as a person's consent does
    app = page("Participants")
    assert "This study is unblinded" not in texts(app)
    store.run(lambda session: session.execute(update(Study).values(unblinded=1.0)))
    assert "This study is unblinded" in texts(app.run())


def test_exclusion_asks_for_a_reason_and_leaves_payment_alone(store, key):
    with_people(store, key)
    app = page("Participants")
    app = choose(app, people_of(app)[1])
    app.button(key="exclude").click().run()
    assert "Give a reason" in app.error[0].value
    app.text_input(key="reason").set_value("asked for it").run()
    app.button(key="exclude").click().run()
    assert not app.error
    assert "payment is not touched" in app.success[0].value
    assert "asked for it" in tables(app)
    assert tables(app).count("COMPLETE1") == 3
    app.button(key="include").click().run()
    assert "asked for it" not in tables(app)


def test_a_participant_is_deleted_once_confirmed_and_the_audit_names_nobody(monkeypatch, store, key):
    with_people(store, key, 2)
    app = page("Participants")
    gone, stays = people_of(app)
    app = choose(app, gone)
    assert app.button(key="delete").disabled
    app.checkbox(key=f"delete_sure_{gone}").check().run()
    app = choose(app, stays)
    assert app.button(key="delete").disabled, "the tick was about the other one"
    app = choose(app, gone)
    app.checkbox(key=f"delete_sure_{gone}").check().run()
    come_from(monkeypatch, PROXIED)
    app.button(key="delete").click().run()
    come_from(monkeypatch, LOCAL)
    assert store.read(lambda session: session.get(Participant, gone)) is not None, "the door was closed"
    app = page("Participants")
    app = choose(app, gone)
    app.checkbox(key=f"delete_sure_{gone}").check().run()
    app.button(key="delete").click().run()
    assert not app.exception
    assert not app.error
    assert "Deleted for good" in app.success[0].value
    assert people_of(app) == [stays]
    left = store.read(lambda session: [*session.scalars(select(Participant.uid)), *session.scalars(select(Trial.id))])
    assert gone not in left
    assert store.read(lambda session: session.scalar(select(Trial).where(Trial.participant_uid == gone))) is None
    noted = store.read(lambda session: session.scalar(select(Audit).order_by(Audit.id.desc())))
    assert (noted.action, noted.details) == ("delete participant", {"by": "the server's own computer"})


def test_texts_are_read_before_they_may_be_shared(store, tmp_path):
    text = {"name": "why", "kind": "text", "text": "Why?"}
    design = real_design(questions={"extra": [text]}, trials=6)
    key = publish(store, design, stimulus_set.load_set(tmp_path / "set"))
    with_people(store, key, 1)
    store.run(lambda session: session.execute(update(Participant).values(comment="=nice")))
    app = page("Texts")
    assert "Blinded" in app.info[0].value
    assert "=nice" in tables(app)
    assert "SIMULATED" not in tables(app), "what was written about trials"
    app.button(key="share").click().run()
    assert "Choose the texts first" in app.error[0].value
    (comment,) = app.multiselect(key="texts_chosen").options
    app.multiselect(key="texts_chosen").select(comment)
    app.button(key="share").click().run()
    assert not app.exception
    assert not app.error
    assert "0 of 1 not read yet" in texts(app)
    assert "shared" in tables(app)
    assert "the server's own computer" in tables(app)
    assert b"'=nice" in export(store, key, "csv", shareable=True).data


def test_the_design_gives_its_preregistration(key):
    app = page("Design")
    assert not app.error
    assert "# Pre-registration" in texts(app)


def test_downloads_look_at_the_door_again(monkeypatch, key):
    assert checked(lambda: b"text", Evidence("127.0.0.1", "127.0.0.1", LOCAL)) == b"text"
    for make in (
        lambda: checked(lambda: b"text", Evidence("127.0.0.1", "127.0.0.1", PROXIED)),
        downloads(monkeypatch, show_export, key, PROXIED)[EVERYTHING],
    ):
        with pytest.raises(ConfigError, match="not logged in"):
            make()
    assert downloads(monkeypatch, show_export, key, LOCAL)[EVERYTHING]().startswith(b"PK")
