"""The route of the trials: who may send, what is refused with which sentence, and what the browser gets."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from benchmarks.survey_browser import ready
from spade_core.config import Settings
from spade_core.roles import NOT_HERE
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Trial
from spade_core.study.running import flow
from spade_core.ui.common.headers import SafeHeaders
from spade_core.ui.participant import route
from tests.study.conftest import real_design, tiny_set

TAB = "a" * 16
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path))
    found = Store(f"sqlite:///{tmp_path / 'study.sqlite3'}", lasting=False)
    yield found
    found.close()


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(route, "MOUNTED", type(route.MOUNTED)())  # the pages of other tests know of no route
    return TestClient(Starlette(routes=route.trial_routes()))


@pytest.fixture
def own(store, tmp_path):
    """Return what a page of the study tells with each message, of somebody at the first practice trial."""
    design = real_design(trials=6, practice=2, practice_pass=1, catch=0, repeats=0, attention=0)
    who, query = ready(store, publish(store, design, tiny_set(tmp_path / "set")), "me")
    flow.claim(store, who, TAB)
    _, key, token = query.replace("&r=", "=").split("=")
    return {"study": key, "token": token, "tab": TAB}


def send(client, body, headers=OWN, content_type="application/json"):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(route.PATH, content=text, headers={"Content-Type": content_type, **headers})


def answer_of(trial_id):
    times = {"rt_ms": 900.0, "rt_source": "browser", "timed_out": False}
    return {"trial_id": trial_id, "choice": "region_1", "confidence": 2, "extra": {}, **times}


def test_an_answer_goes_in_and_what_comes_next_goes_out(client, own, store):
    first = send(client, own).json()
    trial = first["trial"]["trial_id"]
    assert next(iter(first["pictures"])) == f"{trial}-0"
    assert len({name.partition("-")[0] for name in first["pictures"]}) == 2, "of this trial and of the next"
    assert first["trial"]["feedback"] is None
    feedback = send(client, {**own, "answer": answer_of(trial), "held": [trial]}).json()
    assert (feedback["stored"], feedback["refused"], feedback["trial"]["trial_id"]) == (True, False, trial)
    assert feedback["trial"]["feedback"]["text"]
    assert not any(name.startswith(trial) for name in feedback["pictures"]), "the browser has them"
    after = send(client, {**own, "read": trial, "held": [trial]}).json()
    assert after["trial"]["trial_id"] != trial
    assert store.read(lambda session: session.get(Trial, trial)).choice == "region_1"


def test_a_message_reads_the_settings_once(own, monkeypatch):
    monkeypatch.setattr(route, "MOUNTED", type(route.MOUNTED)())
    read, reads = Settings.from_environment, []
    monkeypatch.setattr(Settings, "from_environment", lambda: reads.append(1) or read())
    app = Starlette(routes=route.trial_routes(), middleware=[Middleware(SafeHeaders)])
    assert send(TestClient(app), own).status_code == 200
    reads.clear()  # the first one has opened the database
    assert send(TestClient(app), own).status_code == 200
    assert len(reads) == 1


def test_the_answer_is_kept_nowhere_and_names_nothing(client, own):
    answer = send(client, own)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Encoding"] == "identity", "pictures are not compressed anew"
    words = {name: value for name, value in answer.json().items() if name != "pictures"}
    assert not any(word in json.dumps(words) for word in ("dense", "spade", "catch", "webp", "net:", "practice"))
    assert len({len(uri) for uri in answer.json()["pictures"].values()}) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://[", "Host": "testserver"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    ],
)
def test_only_a_page_of_this_server_may_send(client, own, store, headers):
    answer = send(client, {**own, "answer": answer_of("0" * 32)}, headers)
    assert (answer.status_code, answer.text) == (403, "Only this server's own pages may send answers.")
    assert store.read(lambda session: list(session.scalars(select(Trial).where(Trial.answered.is_not(None))))) == []


def test_a_browser_that_tells_the_origin_alone_is_believed(client, own):
    assert send(client, own, {"Origin": "http://testserver"}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_of_another_page_could_send_is_refused(client, own, kind):
    assert send(client, own, content_type=kind).status_code == 415


def test_large_bodies_are_not_read_to_their_end(client, own):
    def parts():
        for _ in range(1000):
            yield b" " * 10_000
            taken.append(1)

    taken = []
    headers = {"Content-Type": "application/json", **OWN}
    assert client.post(route.PATH, content=parts(), headers=headers).status_code == 413
    assert "64 kB" in send(client, b" " * (route.MOST_BYTES + 1)).text


def test_a_line_that_breaks_in_the_middle_of_an_answer_is_no_error(client, monkeypatch):
    async def breaks(_request):
        raise ClientDisconnect

    monkeypatch.setattr(route, "_body", breaks)
    assert send(client, {}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"\xff",
        b'{"study": 1}',
        b"{" * 9000,
        b'{"study": "\\ud800"}',
    ],
)
def test_what_is_no_message_is_refused_with_a_sentence(client, store, body):
    answer = send(client, body)
    assert (answer.status_code, answer.text) == (400, "This is no message of a trial: reload the page.")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"token": "0" * 32}, 401),
        ({"study": "another"}, 404),
        ({"token": "short"}, 400),
        ({"tab": "b" * 15}, 400),
        ({"read": "x"}, 400),
        ({"held": ["0" * 32] * 9}, 400),
        ({"uid": "me"}, 400),
        ({"study": "\0"}, 404),
    ],
)
def test_an_id_or_a_wrong_token_gives_nothing(client, own, changes, status):
    answer = send(client, {**own, **changes})
    assert answer.status_code == status
    assert "{" not in answer.text


def test_a_server_that_is_for_something_else_has_no_trials(client, own, monkeypatch):
    monkeypatch.setenv("SPADE_MODE", "demo")
    assert (send(client, own).status_code, send(client, own).text) == (404, NOT_HERE)
    monkeypatch.setenv("SPADE_MODE", "study")
    assert send(client, own).status_code == 200


def test_a_database_that_is_gone_says_so_and_nothing_of_where_it_lies(client, own, monkeypatch, caplog):
    def broken(*_, **__):
        raise OperationalError("INSERT", {}, Exception("/srv/secret is full"))

    assert send(client, own).status_code == 200
    monkeypatch.setattr(Store, "_repeated", broken)
    answer = send(client, own)
    assert (answer.status_code, answer.text) == (503, route.AWAY)
    assert "secret" in caplog.text


def test_other_methods_are_refused(client):
    assert client.get(route.PATH).status_code == 405
    assert client.put(route.PATH, content=b"x").status_code == 405
