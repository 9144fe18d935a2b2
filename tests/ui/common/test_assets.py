"""The frontend's files are sent compressed, each compressed once, and its document asks for no font before the text."""

from __future__ import annotations

import gzip
from pathlib import Path

import streamlit
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_static_routes import create_streamlit_static_assets_routes

from spade_core.ui.common import assets

FRONTEND = Path(streamlit.__file__).parent / "static"
SCRIPT = next(path for path in (FRONTEND / "static" / "js").iterdir() if path.name.startswith("index."))
PLAIN = {"Accept-Encoding": "identity"}


def client(*inner):
    routes = create_streamlit_static_assets_routes("")
    return TestClient(Starlette(routes=routes, middleware=[Middleware(assets.LightFrontend), *inner]))


def test_scripts_are_sent_compressed_and_compressed_once(monkeypatch):
    compress, compressed = gzip.compress, []
    monkeypatch.setattr(assets.gzip, "compress", lambda data: compressed.append(1) or compress(data, 1))
    browser, address = client(), f"/static/js/{SCRIPT.name}"
    for _ in range(2):
        answer = browser.get(address)
        assert answer.content == SCRIPT.read_bytes()
        assert int(answer.headers["content-length"]) < 0.4 * len(answer.content)
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert "javascript" in answer.headers["content-type"]
        assert "immutable" in answer.headers["cache-control"]
    assert len(compressed) == 1


def test_who_takes_no_gzip_or_asks_for_a_part_gets_the_file_as_it_is():
    browser, address = client(), f"/static/js/{SCRIPT.name}"
    whole = browser.get(address, headers=PLAIN)
    assert "content-encoding" not in whole.headers
    assert whole.content == SCRIPT.read_bytes()
    assert browser.get(address, headers={"Range": "bytes=0-9"}).content == whole.content[:10]
    assert browser.get(address, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_a_file_is_kept_by_its_plain_path_alone():
    scope = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}
    names = {f"/static/js/{SCRIPT.name}": True, f"/studio/static/js/{SCRIPT.name}": True}
    names |= {f"{before}/static/js/{SCRIPT.name}": False for before in ("/.", "/./.", "/", "/.//.", "/x/..")}
    assert {name: assets._takes_compressed({**scope, "path": name}) for name in names} == names


def test_names_that_are_not_there_are_not_kept():
    browser = client()
    stack = browser.app.build_middleware_stack()
    browser.app.middleware_stack = stack
    for number in range(3):
        assert browser.get(f"/static/js/nothing{number}.js").headers["content-type"].startswith("text/html")
    assert stack.app._kept == {}


def test_the_document_asks_for_no_font_before_the_text():
    browser = client(Middleware(GZipMiddleware))  # as Streamlit's own, which compresses the document
    kept = browser.get("/survey", headers={"Accept": "text/html"})
    plain = (FRONTEND / "index.html").read_bytes()
    assert plain.count(b'rel="preload"') == 1, "the frontend changed: look at what it loads first"
    assert b'rel="preload"' not in kept.content
    assert kept.content.count(b"modulepreload") == plain.count(b"modulepreload")
    assert kept.headers["content-encoding"] == "gzip"
    assert int(kept.headers["content-length"]) < 0.5 * len(kept.content)
    whole = browser.get("/survey", headers={"Accept": "text/html", **PLAIN})
    assert whole.content == kept.content
    assert int(whole.headers["content-length"]) == len(whole.content) < len(plain)
