"""What a browser is told and asked: no frames of others, nothing of other origins, on any page."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import brotli
import pytest

from benchmarks.serving import start_server, stop_server
from spade_core.ui.common.assets import FRONTEND
from spade_core.ui.common.frame import ICON
from tests.app.conftest import strays
from tests.app.waiting import says

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", ["/", "/survey", "/media/none.png", "/_stcore/host-config", "/a/%2e%2e/b", "//x"])
def test_every_answer_tells_the_browser_what_to_refuse(study_server, path):
    try:
        answer = urllib.request.urlopen(f"{study_server.url}{path}")
    except urllib.error.HTTPError as refused:
        answer = refused
    told = answer.headers
    assert "frame-ancestors 'none'" in told["Content-Security-Policy"]
    assert "default-src 'self'" in told["Content-Security-Policy"]
    assert (told["X-Frame-Options"], told["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert told["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("path", "says_so"),
    [
        ("/", "See why a vision model decided"),
        ("/saliency", "What EfficientNet-Lite0"),
        ("/neurons", "Draw the neuron"),
        ("/trace", "Make the trace"),
        ("/evidence", "Evidence"),
        ("/study", "There"),
        ("/survey", "This address is incomplete"),
    ],
)
def test_a_page_asks_nothing_of_other_origins(page, study_server, path, says_so):
    page.goto(f"{study_server.url}{path}")
    says(page, says_so)
    page.wait_for_function("icon => document.querySelector(\"link[rel='shortcut icon']\").href === icon", arg=ICON)
    assert ICON.startswith("data:image/png;base64,")


def test_who_leaves_in_the_middle_of_a_script_breaks_it_for_nobody(study_server):
    port = int(study_server.url.rpartition(":")[2])
    scripts = sorted((FRONTEND / "static" / "js").glob("*.js"))
    for script in scripts:
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.sendall(f"GET {named(script)} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n".encode())
    for script in scripts:
        request = urllib.request.Request(f"{study_server.url}{named(script)}", headers={"Accept-Encoding": "br"})
        with urllib.request.urlopen(request) as answer:
            assert brotli.decompress(answer.read()) == script.read_bytes(), script.name


def named(script):
    return f"/static/js/{script.name}"


def test_what_is_asked_astray_is_seen(context, study_server):
    """The listener of every test in a browser does hear."""
    page = context.new_page()
    found = strays(page)
    page.goto(f"{study_server.url}/survey")
    says(page, "This address is incomplete")
    page.evaluate("() => fetch('http://127.0.0.1:9/x').catch(() => 0)")
    page.wait_for_timeout(100)
    assert any("Content Security Policy" in text for text in found)
    page.close()


@pytest.fixture
def framed(context):
    """Return a function that tells what stands in a frame of another site's page; its ``origin`` is that site."""
    asked = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<iframe src='{asked[-1]}'></iframe>".encode())

        def log_message(self, *_):
            pass

    site = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=site.serve_forever, daemon=True).start()

    def look(address):
        asked.append(address)
        page = context.new_page()
        page.goto(look.origin)
        page.wait_for_function("() => frames.length && performance.getEntriesByType('resource').length")
        found = page.frames[1].url
        page.close()
        return found

    look.origin = f"http://localhost:{site.server_port}"
    yield look
    site.shutdown()
    site.server_close()


@pytest.mark.parametrize("path", ["/study", "/survey", "/_stcore/health"])
def test_no_foreign_page_can_frame_any_page(framed, study_server, path):
    assert framed(study_server.url + path) == "chrome-error://chromewebdata/"


def test_a_page_that_the_settings_name_can_frame_it(framed, home):
    friend = {"SPADE_DATA_DIR": str(home / "other"), "SPADE_FRAME_ANCESTORS": framed.origin}
    process, url = start_server("app.py", friend)
    try:
        assert framed(f"{url}/_stcore/health") == f"{url}/_stcore/health"
    finally:
        stop_server(process)
