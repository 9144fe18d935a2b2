"""The frontend's files are sent compressed, each compressed once, and its document asks for no font before the text."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import brotli
import pytest
import streamlit
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_static_routes import create_streamlit_static_assets_routes

from spade_core.ui.common import assets

FRONTEND = Path(streamlit.__file__).parent / "static"
SCRIPT = next(path for path in (FRONTEND / "static" / "js").iterdir() if path.name.startswith("index."))
STYLES = next(path for path in (FRONTEND / "static" / "css").iterdir() if path.name.startswith("index."))
PLAIN = {"Accept-Encoding": "identity"}
LONG = 120.0  # seconds for what is made in the background, however busy the machine is


def client(*inner):
    routes = create_streamlit_static_assets_routes("")
    return TestClient(Starlette(routes=routes, middleware=[Middleware(assets.LightFrontend), *inner]))


@pytest.mark.parametrize(("taken", "sent"), [("gzip, deflate, br, zstd", "br"), ("gzip, deflate", "gzip")])
def test_scripts_are_sent_compressed_and_compressed_once(monkeypatch, taken, sent):
    compress, compressed = assets._packed, []
    monkeypatch.setattr(assets, "_packed", lambda *told: compressed.append(1) or compress(*told))
    browser, address = client(), f"/static/js/{SCRIPT.name}"
    for _ in range(2):
        answer = browser.get(address, headers={"Accept-Encoding": taken})
        assert answer.content == SCRIPT.read_bytes()
        assert int(answer.headers["content-length"]) < 0.4 * len(answer.content)
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == (sent, "Accept-Encoding")
        assert "javascript" in answer.headers["content-type"]
        assert "immutable" in answer.headers["cache-control"]
    assert len(compressed) == 1


def test_the_best_quality_is_made_meanwhile_and_sent_from_then_on(monkeypatch):
    browser, address = client(), f"/static/js/{SCRIPT.name}"
    monkeypatch.setenv("SPADE_MODE", "study")
    smallest = len(brotli.compress(SCRIPT.read_bytes(), quality=11))
    first = browser.get(address, headers={"Accept-Encoding": "br"})
    assert smallest < int(first.headers["content-length"]) < len(gzip.compress(first.content))
    end, size = time.monotonic() + LONG, 0
    while size != smallest and time.monotonic() < end:
        answer = browser.get(address, headers={"Accept-Encoding": "br"})
        size = int(answer.headers["content-length"])
        assert answer.content == first.content
        time.sleep(0.1)
    assert size == smallest


@pytest.mark.parametrize("mode", ["local", "lab", "demo", "nowhere"])
def test_where_people_compute_their_cores_are_left_to_them(monkeypatch, mode):
    monkeypatch.setenv("SPADE_MODE", mode)
    monkeypatch.setattr(assets.LightFrontend, "_make_smaller", lambda _: pytest.fail("a file was made smaller"))
    browser = client()
    browser.app.middleware_stack = stack = browser.app.build_middleware_stack()
    answer = browser.get(f"/static/js/{SCRIPT.name}", headers={"Accept-Encoding": "br"})
    assert answer.headers["content-encoding"] == "br"
    assert stack.app._quick.empty()
    assert stack.app._thread is None


def test_who_takes_nothing_compressed_gets_the_file_as_it_is_and_parts_of_it():
    browser, address = client(), f"/static/js/{SCRIPT.name}"
    whole = browser.get(address, headers=PLAIN)
    assert "content-encoding" not in whole.headers
    assert whole.content == SCRIPT.read_bytes()
    assert browser.get(address, headers={"Range": "bytes=0-9", **PLAIN}).content == whole.content[:10]
    assert browser.get(address, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("address", [f"/static/js/{SCRIPT.name}", f"/static/css/{STYLES.name}?late", "/", "/survey"])
def test_what_is_no_longer_the_file_has_none_of_its_marks_and_comes_whole(address):
    browser, html = client(), {"Accept": "text/html"}
    plain = browser.get(f"/static/js/{SCRIPT.name}", headers=PLAIN)
    whole = browser.get(address, headers=html)
    assert {"etag", "last-modified"} <= set(plain.headers)
    assert not {"etag", "last-modified"} & set(whole.headers)
    assert (plain.headers["accept-ranges"], whole.headers["accept-ranges"]) == ("bytes", "none")
    marks = {"Range": "bytes=5-", "If-Range": plain.headers["last-modified"]}
    rest = browser.get(address, headers={**html, **marks})
    assert (rest.status_code, rest.content) == (200, whole.content)


@pytest.mark.parametrize("address", [f"/static/js/{SCRIPT.name}", "/", "/survey"])
def test_the_head_alone_is_that_of_the_whole(address):
    browser, asked = client(), {"Accept": "text/html", "Accept-Encoding": "br"}
    head, whole = (browser.request(method, address, headers=asked) for method in ("HEAD", "GET"))
    assert dict(head.headers) == dict(whole.headers)
    assert (head.content, whole.headers["content-encoding"]) == (b"", "br")


@pytest.mark.parametrize(
    ("offered", "sent"),
    [("br;q=0, gzip", "gzip"), ("gzip;q=0.0,br;q=0,identity", None), ("BR;q=0.5", "br"), ("identity", None)],
)
def test_an_encoding_that_is_not_taken_is_not_sent(offered, sent):
    answer = client().get(f"/static/js/{SCRIPT.name}", headers={"Accept-Encoding": offered})
    assert answer.headers.get("content-encoding") == sent
    assert answer.content == SCRIPT.read_bytes()


def test_a_document_of_an_earlier_version_is_not_taken_for_todays():
    browser = client()
    known = browser.get("/index.html", headers=PLAIN).headers  # of Streamlit's own, which outlives our versions
    marks = {"If-None-Match": known["etag"], "If-Modified-Since": known["last-modified"]}
    assert browser.get("/index.html", headers={**PLAIN, **marks}).status_code == 304
    assert browser.get("/survey", headers={"Accept": "text/html", **marks}).status_code == 200


def test_a_file_is_kept_by_its_plain_path_alone():
    scope = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}
    names = {f"/static/js/{SCRIPT.name}": True, f"/studio/static/js/{SCRIPT.name}": True}
    names |= {f"{before}/static/js/{SCRIPT.name}": False for before in ("/.", "/./.", "/", "/.//.", "/x/..")}
    assert {name: assets._takes_compressed({**scope, "path": name}) for name in names} == names


def test_names_that_are_not_there_and_queries_that_mean_nothing_are_not_kept():
    browser = client()
    stack = browser.app.build_middleware_stack()
    browser.app.middleware_stack = stack
    for number in range(3):
        assert browser.get(f"/static/js/nothing{number}.js").headers["content-type"].startswith("text/html")
    assert stack.app._kept == {}
    for query in ("", "?1", "?2", "?late", "?fonts"):
        browser.get(f"/static/js/{SCRIPT.name}{query}")
    assert len(stack.app._kept) == 1


def test_the_document_asks_for_no_font_before_the_text():
    browser = client(Middleware(GZipMiddleware))  # as Streamlit's own, which compresses the document
    kept = browser.get("/", headers={"Accept": "text/html"})
    plain = (FRONTEND / "index.html").read_bytes()
    assert plain.count(b'rel="preload"') == 1, "the frontend changed: look at what it loads first"
    assert b'rel="preload"' not in kept.content
    assert kept.content.count(b"modulepreload") == plain.count(b"modulepreload")
    assert kept.headers["content-encoding"] == "br"
    assert int(kept.headers["content-length"]) < 0.5 * len(kept.content)
    whole = browser.get("/", headers={"Accept": "text/html", **PLAIN})
    assert whole.content == kept.content
    assert int(whole.headers["content-length"]) == len(whole.content) < len(plain)


@pytest.mark.parametrize("path", ["/survey", "/studio/survey"])
def test_a_participants_document_has_styles_without_fonts_and_names_what_its_pages_need(path):
    browser, html = client(), {"Accept": "text/html"}
    home, document = (browser.get(one, headers=html).text for one in ("/", path))
    assert f"{STYLES.name}?late" in document
    assert f"{STYLES.name}?" not in home
    parts = list(assets._parts())
    assert all(f'"{part}"' in document and part not in home for part in parts)
    assert len({part.split("/")[-1].split(".")[0] for part in parts} & set(assets.PARTS)) == len(assets.PARTS), (
        "the frontend changed: look at what a participant's first page loads"
    )
    assert document.count("<script>") == home.count("<script>") + 1


def test_styles_and_their_fonts_come_apart_and_lack_nothing():
    browser, address = client(), f"/static/css/{STYLES.name}"
    whole, late, fonts = (browser.get(address + query).content for query in ("", "?late", "?fonts"))
    assert whole == STYLES.read_bytes()
    assert whole.count(b"@font-face") == fonts.count(b"@font-face") > 0 == late.count(b"@font-face")
    assert len(whole) == len(late) + len(fonts)
    assert b"Material Symbols Rounded" in fonts
