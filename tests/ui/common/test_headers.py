"""The headers of every answer, and whom a setting lets show the pages in a frame."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.ui.common.headers import SafeHeaders


def own(request):
    return PlainTextResponse("x", headers={"X-Frame-Options": "ALLOWALL"})


@pytest.fixture
def client():
    return TestClient(Starlette(routes=[Route("/own", own)], middleware=[Middleware(SafeHeaders)]))


@pytest.mark.parametrize("path", ["/own", "/absent"])
def test_every_answer_has_them_whatever_made_it(client, path):
    told = client.get(path).headers
    assert told["X-Frame-Options"] == "DENY"
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == "same-origin"
    assert told["Content-Security-Policy"].endswith("frame-ancestors 'none'")


def test_a_setting_names_who_may_frame(client, monkeypatch):
    monkeypatch.setenv("SPADE_FRAME_ANCESTORS", "https://lab.example.org, http://localhost:8080")
    told = client.get("/own").headers
    assert told["Content-Security-Policy"].endswith("frame-ancestors https://lab.example.org http://localhost:8080")
    assert told["X-Frame-Options"] == "ALLOWALL", "of whoever made the answer"


@pytest.mark.parametrize("text", ["*", "lab.example.org", "https://a; script-src *", "https://a/b", "'self'\nX: y"])
def test_what_is_no_origin_is_refused_and_lets_nobody_frame(client, monkeypatch, text):
    with pytest.raises(ConfigError, match="SPADE_FRAME_ANCESTORS"):
        Settings.from_environment({"SPADE_FRAME_ANCESTORS": text})
    monkeypatch.setenv("SPADE_FRAME_ANCESTORS", text)
    assert client.get("/own").headers["X-Frame-Options"] == "DENY"
