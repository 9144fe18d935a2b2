"""What the tests that drive the app share: headless Chromium, and what every simulated session would look up anew."""

from __future__ import annotations

import os
import shutil
import socket
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner

from benchmarks import serving
from benchmarks.serving import FLAGS, free_port, stop_server
from benchmarks.study_kills import Server
from spade_core.study.data.store import Store
from spade_core.tasks import common

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = {"preset": "uniform", "sparsity": "0.5", "views": "2", "solver": "magnitude", "methods": "saliency"}
LONG = 300_000  # ms; generous, for machines that do other things too
# One process for all pages of this computer, so that the next page finds the app's scripts compiled.
SHARED = "--process-per-site"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session", autouse=True)
def one_look_for_components():
    """Let Streamlit read the metadata of all installed packages once, not for each simulated session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def inline(monkeypatch, small):
    """Run jobs in the calling thread, whatever the model is called on the small one."""
    monkeypatch.setenv("SPADE_JOBS", "inline")
    monkeypatch.setenv("SPADE_DEVICE", "cpu")
    monkeypatch.setattr(common, "_model", lambda spec, device: small)
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def browser():
    """Yield Chromium; without it the test is skipped, but fails where CI must not leave it out."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed, and CI must not leave this test out")
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, SHARED], timeout=LONG)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", autouse=True)
def one_address():
    """Let servers that follow each other have one address, so that a browser's cache knows the app's scripts."""
    port = free_port()

    def usual():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # another server is there
                return free_port()
        return port

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "free_port", usual)
        yield


@pytest.fixture(scope="session")
def context(browser):
    """Yield what pages share: the cache, so that the scripts of the app are read once.

    An empty page that stays open keeps their process alive.
    """
    shared = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    shared.set_default_timeout(LONG)
    kept = shared.new_page()
    kept.route("http://127.0.0.1/", lambda route: route.fulfill(body=""))
    kept.goto("http://127.0.0.1/")
    yield shared
    shared.close()


def strays(page):
    """Return a list that fills with what a page asks of other origins, and with what its policy refuses.

    The first server that it opens is the app's; what the page of a login's provider asks for is the provider's.
    """
    found, opened = [], []

    def note(request):
        scheme, _, host, *_ = request.url.split("/")
        own = "/".join(page.url.split("/")[:3])
        if not opened and own.startswith("http"):
            opened.append(own)
        foreign = scheme.startswith("http") and f"{scheme}//{host}" != own and not request.is_navigation_request()
        if foreign and own in opened:
            found.append(request.url)

    page.on("request", note)
    page.on("console", lambda said: "Content Security Policy" in said.text and found.append(said.text))
    return found


@pytest.fixture
def page(context):
    """Yield a page that finds no storage of an earlier one, and asks nobody but its own server for anything."""
    found = context.new_page()
    astray = strays(found)
    yield found
    assert astray == []
    for opened in context.pages[1:]:
        if opened.url.startswith("http"):
            opened.evaluate("localStorage.clear()")
        opened.close()
    context.clear_cookies()


@pytest.fixture
def clocked(browser):
    """Yield a page with a clock of its own, which goes on by itself and can be turned, and frames in its time."""
    alone = browser.new_context(viewport={"width": 1400, "height": 1000})
    alone.set_default_timeout(LONG)
    alone.clock.install()
    yield alone.new_page()
    alone.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return the data folder of a server that is started for a study."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def store(home):
    """Yield the database that such a server opens by default."""
    found = Store(f"sqlite:///{home / 'study.sqlite3'}")
    yield found
    found.close()


CLOCK = """
import time
from pathlib import Path
from spade_core.study.data.store import Store
turned = Path({file!r})
Store.__init__.__kwdefaults__["clock"] = lambda: float(turned.read_text()) if turned.exists() else time.time()
"""


@pytest.fixture(scope="module")
def turn(home):
    """Return a function that stops the clock of the study's server at a time; None: it goes on again."""

    def set_to(now):
        if now is None:
            (home / "clock").unlink()
            return
        (home / "turned").write_text(str(now))
        (home / "turned").replace(home / "clock")

    return set_to


@pytest.fixture(scope="module")
def study_server(home, store):
    """Yield the server of such a study, which tests may stop or kill, and start again at its address."""
    found = Server(str(home), CLOCK.format(file=str(home / "clock")))
    yield found
    stop_server(found.process)
