"""What each mode of a server opens, asked of its pages, its job service and its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.jobs.manager import JobManager
from spade_core.roles import DEMO_SECONDS, NOT_HERE, allows, capped
from spade_core.ui.common import uploads
from spade_core.ui.common.pickers import UPLOAD

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["home.py", *(f"pages/{file.name}" for file in sorted((ROOT / "pages").glob("*.py")))]
INSPECTOR = [page for page in PAGES if page not in ("pages/study.py", "pages/survey.py")]
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
INCOMPLETE = "This address is incomplete"


@pytest.fixture(autouse=True)
def installation(monkeypatch):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    monkeypatch.setenv("SPADE_DEVICE", "cpu")
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def opened(page, query=()):
    app = AppTest.from_file(str(ROOT / "home.py"), default_timeout=300).switch_page(page)
    for name, value in query:
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def said(app):
    return " ".join(item.value for kind in (app.error, app.info, app.title, app.markdown) for item in kind)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "pages/survey.py"])
def test_a_server_for_a_study_shows_nothing_else_whatever_the_link(monkeypatch, page):
    monkeypatch.setenv("SPADE_MODE", "study")
    app = opened(page, [("picture", "bundled:dog"), ("run", "1"), ("study", "demo"), ("model", "resnet50")])
    assert [item.value for item in app.error] == [NOT_HERE]
    assert len(app.button) == len(app.sidebar.children) == len(app.title) == 0


def test_a_server_for_a_study_has_the_survey_and_no_job_service(monkeypatch, tmp_path):
    monkeypatch.setenv("SPADE_MODE", "study")
    assert INCOMPLETE in said(opened("pages/survey.py"))
    manager = JobManager(Settings.from_environment(), tasks="tests.jobs.tasks")
    for ask in (lambda: manager.submit("echo", {}), lambda: manager.known("echo", {}), lambda: manager.find("0" * 64)):
        with pytest.raises(ConfigError, match="not here"):
            ask()
    manager.close()


@pytest.mark.parametrize("page", ["pages/study.py", "pages/survey.py"])
def test_a_demo_runs_no_studies(monkeypatch, page):
    monkeypatch.setenv("SPADE_MODE", "demo")
    assert [item.value for item in opened(page).error] == [NOT_HERE]


def test_a_demo_shows_bundled_pictures_takes_no_files_and_its_jobs_are_short(monkeypatch):
    monkeypatch.setenv("SPADE_MODE", "demo")
    monkeypatch.setenv("SPADE_ALLOW_WEIGHTS_UPLOAD", "1")
    monkeypatch.setenv("SPADE_REFERENCES", "/tmp")
    app = opened("home.py")
    assert not app.error
    assert "pages/study.py" not in str(app.get("page_link"))
    here = capped(Settings.from_environment())
    assert (here.job_seconds, here.references, here.allow_weights_upload) == (DEMO_SECONDS, (), False)
    manager = JobManager(here, tasks="tests.jobs.tasks")
    assert manager.shelve("bundled:dog", "0" * 64, None)["path"] == "bundled:dog"
    with pytest.raises(ConfigError, match="not here"):
        manager.shelve("own.png", "0" * 64, b"bytes")
    manager.close()


def test_a_demo_offers_no_field_for_a_file_and_refuses_one_that_comes(monkeypatch):
    monkeypatch.setenv("SPADE_MODE", "demo")
    asked = []
    monkeypatch.setattr(uploads.LEDGER, "allow", lambda *what: asked.append(what))
    for page, key, own in (("saliency", "picture", UPLOAD), ("evidence", "evidence_run", "")):
        app = opened(f"pages/{page}.py")
        app.selectbox(key=key).set_value(own).run()
        assert len(app.get("file_uploader")) == 0
        assert any("takes no files" in item.value for item in app.caption)
    assert asked == []


@pytest.mark.parametrize("page", INSPECTOR)
def test_a_lab_opens_its_pages_to_who_is_logged_in(monkeypatch, page):
    monkeypatch.setenv("SPADE_MODE", "lab")
    monkeypatch.setenv("SPADE_ADMIN_PASSWORD_HASH", HASH)
    app = opened(page)
    assert [field.label for field in app.text_input] == ["Password"]
    assert len(app.selectbox) == len(app.metric) == len(app.get("imgs")) == 0
    if page == "home.py":
        app.text_input[0].set_value("right")
        app.button[0].click().run()
        assert "See why a vision model decided" in said(app)
        assert "Logged in by the password." in [item.value for item in app.caption]


def test_a_labs_survey_needs_no_login(monkeypatch):
    monkeypatch.setenv("SPADE_MODE", "lab")
    monkeypatch.setenv("SPADE_ADMIN_PASSWORD_HASH", HASH)
    assert INCOMPLETE in said(opened("pages/survey.py"))


def test_a_mode_that_there_is_not_is_named_with_those_that_there_are(monkeypatch):
    monkeypatch.setenv("SPADE_MODE", "public")
    with pytest.raises(ConfigError, match=r"SPADE_MODE='public' cannot be used.*local, lab, study, demo"):
        Settings.from_environment()
    assert "SPADE_MODE" in opened("home.py").error[0].value


def test_nothing_is_closed_on_ones_own_computer():
    assert all(allows("local", action) for action in ("look", "compute", "bring", "manage", "take part"))
    assert capped(Settings()) == Settings()
