"""What does a stranger get? Every page, route and trick at the door, against a served study, a lab and a demo.

    python -m benchmarks.stranger

The app runs behind a real nginx (``apt-get install nginx-light``) that passes on ``Host`` and adds no other header, in
the modes ``study``, ``lab`` and ``demo``, with a password. A study with one finished participant lies in its database.
The stranger comes by plain requests, in Chromium, and with sessions of its own, whose frames ask for what its pages do
not show. Prints a table of what was tried and what came back; whatever shows a planted secret or a widget of the
inspector or of the experimenter, takes a file, or changes the database counts as given away, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import logging
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from argon2 import PasswordHasher
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as Late
from websockets import Subprotocol
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from benchmarks.serving import FLAGS, free_port, nginx, serving
from benchmarks.stranger import sessions
from benchmarks.stranger.planted import SECRET, VICTIM, Planted, Tell
from spade_core.study.admission.devices import Device
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import demo_design
from spade_core.study.running.bots import simulate
from spade_core.study.running.flow import check_device, consent
from spade_core.study.running.person import enter, person
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set
from spade_core.ui.common.assets import FRONTEND

NGINX = """
  client_max_body_size 100m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {backend};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }}
  }}
"""  # of its http block
PAGES = ("", "saliency", "neurons", "trace", "evidence", "study", "survey", "home", "app", "nothing")
QUERIES = (
    "run=1&methods=saliency&picture=bundled:dog",
    "embed=true&embed_options=show_toolbar",
    "model=resnet50&load=1",
    "admin=1&password=right&study_login=1",
)
SHUT = ("Not here.", "This page is not here", "Password", "This address is incomplete", "begin here", "not found")
INSPECTORS = ("Run SPADE", "Draw the neuron", "Make the trace")  # widgets
EXPERIMENTERS = ("Make the demo study", "New study")
MODES = {  # widgets that a stranger must not get, and pages that are shut
    "study": (INSPECTORS + EXPERIMENTERS, frozenset(PAGES)),
    "lab": (INSPECTORS + EXPERIMENTERS, frozenset(PAGES)),
    "demo": (EXPERIMENTERS, frozenset({"study", "survey", "nothing"})),
}
FILES = (
    *("app.py", ".streamlit/secrets.toml", ".streamlit/config.toml", "pages/study.py", "study.sqlite3", ".git/config"),
    *("static/../app.py", "static/..%2f..%2f..%2fapp.py", "media/..%2f..%2fstudy.sqlite3", "media/0.png", "media/"),
    *("component/streamlit/..%2f..%2f..%2fetc/passwd", "_stcore/bidi-components/x/..%2f..%2fapp.py", "//etc/passwd"),
    *("%2e%2e/%2e%2e/etc/passwd", "app/static/study.sqlite3", "results/", "secrets/key", "docs", "openapi.json"),
)
CORE = ("metrics", "host-config", "script-health-check", "allowed-message-origins", "message", "upload_file/x/y")
TRICKS: tuple[Mapping[str, str], ...] = (
    {},
    {"Host": "localhost"},
    {"Host": "127.0.0.1:80"},
    {"Host": "[::1]"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1;host=localhost"},
    {"X-Forwarded-Host": "localhost"},
    {"X-Original-URL": "/_stcore/metrics"},
    {"Origin": "http://localhost"},
)
SHELL = '<div id="root">'  # of Streamlit's empty page, which every unknown address gets
OPEN = {"host-config"}  # of Streamlit's own routes: which origins may send messages, nothing of ours


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stranger", description=__doc__.split("\n")[0])
    parser.parse_args()
    logging.disable(logging.INFO)
    if shutil.which("nginx") is None:
        parser.error("nginx is not installed: apt-get install nginx-light")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    lines: list[tuple[str, str, str, str]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        homes = _homes()
        for mode in MODES:

            def tell(tried: str, came: str, given: str, mode: str = mode) -> None:
                lines.append((mode, tried, came, given))
                sys.stdout.write(f"| {mode} | {tried} | {came[:80]} | {given or '-'} |\n")
                sys.stdout.flush()

            with _served(mode) as (url, planted):
                routes(url, planted, tell)
                leaving(url, tell)
                streams(url, tell)
                trials(url, planted, tell)
                sessions.uploads(url, planted, tell)
                sessions.frames(url, planted, homes, tell)
                pages(browser, url, planted, tell)
                ids(browser, url, planted, tell)
        browser.close()
    given = [line for line in lines if line[3]]
    sys.stdout.write(f"{len(lines)} tried, {len(given)} given away\n")
    return bool(given)


def _homes() -> Mapping[str, sessions.Home]:
    """Return what the pages of an open copy of the app tell."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        return sessions.learn(
            stack.enter_context(serving("app.py", {"SPADE_DATA_DIR": folder, "SPADE_JOBS": "inline"}))
        )


@contextmanager
def _served(mode: str) -> Iterator[tuple[str, Planted]]:
    """Yield the address of nginx before a server of the mode, and what lies behind it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(secrets.token_hex(8))
        data = folder / "data"
        data.mkdir()
        planted = _plant(data, hashed, mode)
        environment = {"SPADE_DATA_DIR": str(data), "SPADE_MODE": mode, "SPADE_ADMIN_PASSWORD_HASH": hashed}
        backend = stack.enter_context(serving("app.py", {**environment, "SPADE_JOBS": "inline"}))
        port = free_port()
        stack.enter_context(nginx(NGINX.format(folder=folder, port=port, backend=backend), folder))
        yield f"http://localhost:{port}", planted


def _plant(data: Path, hashed: str, mode: str) -> Planted:
    database = f"sqlite:///{data / 'study.sqlite3'}"
    store = Store(database)
    design = demo_design().model_copy(update={"name": SECRET})
    key = publish(store, design, load_set(DEMO_SET))
    simulate(store, key, 1, "ideal", 0)
    who = person(store, key, enter(store, key, external_id=VICTIM).token)
    if who is not None:
        consent(store, check_device(store, who, width=1400, device=Device()), given=True)
    store.close()
    codes = [code for name, code in design.codes.model_dump().items() if name != "return_url" and code]
    words = (hashed, str(data), "root:x:", "SQLite format", "import streamlit", *codes)
    return Planted(mode, key, database, words, *MODES[mode])


def routes(url: str, planted: Planted, tell: Tell) -> None:
    """Ask for files, for Streamlit's own routes with headers that lie, and with methods that write."""
    for path in FILES:
        status, body = _ask(url, "GET", f"/{path}")
        tell(f"GET /{path}", f"{status}, {len(body)} bytes", planted.in_(body))
    for path in CORE:
        for trick in TRICKS:
            status, body = _ask(url, "GET", f"/_stcore/{path}", headers=trick)
            answered = status == 200 and path not in OPEN and SHELL not in body
            given = planted.in_(body) or ("answered" if answered else "")
            tell(f"GET /_stcore/{path} {dict(trick)}", f"{status}, {len(body)} bytes", given)
    for method in ("PUT", "POST", "DELETE", "PATCH", "TRACE", "CONNECT"):
        for path in ("/_stcore/upload_file/stolen/1", "/study", "/media/x", "/_stcore/metrics"):
            status, body = _ask(url, method, path, body=b"x" * 1000)
            tell(f"{method} {path}", str(status), "taken" if status in (201, 202, 204) else planted.in_(body))
    for name in ("auth/login", "auth/logout", "oauth2callback?code=x&state=y"):
        status, body = _ask(url, "GET", f"/{name}")
        tell(f"GET /{name}", f"{status}, {len(body)} bytes", planted.in_(body))


def _ask(
    url: str, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, type(error).__name__
    finally:
        connection.close()


def leaving(url: str, tell: Tell) -> None:
    """Leave in the middle of every script; whoever asks for it afterwards has to get it whole."""
    address, _, port = url.removeprefix("http://").partition(":")
    scripts = sorted((FRONTEND / "static" / "js").glob("*.js"))
    for script in scripts:
        with socket.create_connection((address, int(port))) as gone:
            asked = f"GET /static/js/{script.name} HTTP/1.1\r\nHost: {address}\r\nAccept-Encoding: gzip\r\n\r\n"
            gone.sendall(asked.encode())
    broken = [script.name for script in scripts if _unpacked(url, script.name) != script.read_bytes()]
    tell(f"leave in the middle of {len(scripts)} scripts", f"{len(broken)} broken", "an empty script" if broken else "")


def _unpacked(url: str, script: str) -> bytes:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", f"/static/js/{script}", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        return gzip.decompress(body) if answer.getheader("Content-Encoding") == "gzip" else body
    finally:
        connection.close()


def streams(url: str, tell: Tell) -> None:
    """Open the websocket from foreign pages."""
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        try:
            address = url.replace("http", "ws", 1) + "/_stcore/stream"
            with connect(address, subprotocols=[Subprotocol("streamlit")], additional_headers={"Origin": origin}):
                tell(f"websocket, Origin {origin}", "opened", "the websocket")
        except (OSError, WebSocketException) as error:
            tell(f"websocket, Origin {origin}", type(error).__name__, "")


def trials(url: str, planted: Planted, tell: Tell) -> None:
    """Send answers to the route of the trials: from foreign pages, by an id in place of the token, and no message."""
    own, json_type = {"Sec-Fetch-Site": "same-origin"}, {"Content-Type": "application/json"}
    note = {"study": planted.key, "token": "0" * 32, "tab": "0" * 16, "answer": {"trial_id": "0" * 32}}
    for name, told, headers in (
        ("a guessed token", note, own | json_type),
        ("an id for a token", {**note, "token": VICTIM}, own | json_type),
        ("an id beside it", {**note, "external_id": VICTIM}, own | json_type),
        ("another study", {**note, "study": "' OR 1=1 --"}, own | json_type),
        ("nothing", {}, own | json_type),
        ("much", {**note, "read": "0" * 100_000}, own | json_type),
        ("a form", note, own | {"Content-Type": "text/plain"}),
        ("no origin", note, json_type),
        ("a foreign origin", note, json_type | {"Origin": "https://evil.example"}),
        ("a foreign site", note, json_type | {"Sec-Fetch-Site": "cross-site", "Origin": url}),
        ("a host that lies", note, json_type | {"Host": "evil.example", "Origin": "http://evil.example"}),
        *((f"a header that lies {dict(trick)}", note, {**own, **json_type, **trick}) for trick in TRICKS[4:]),
    ):
        status, said = _ask(url, "POST", "/survey/trial", headers=headers, body=json.dumps(told).encode())
        tell(f"POST /survey/trial, {name}", f"{status}, {said}", "taken" if status < 400 else planted.in_(said))


def pages(browser: Browser, url: str, planted: Planted, tell: Tell) -> None:
    """Open every page by every link in Chromium, which nginx makes look local to whom believes the Host."""
    for path in PAGES:
        for query in ("", *QUERIES):
            page = _opened(browser, f"{url}/{path}?{query}")
            if path in planted.shut:
                with suppress(Late):  # what a page draws comes bit by bit
                    page.wait_for_function(f"() => {list(SHUT)}.some((word) => document.body.innerText.includes(word))")
            said = page.inner_text("body")
            shut = any(word in said for word in SHUT)
            links = [] if path == "survey" else page.get_by_role("button").all_inner_texts()
            open_page = "a page" if path in planted.shut and not shut else ""
            given = planted.in_(said) or (SECRET if SECRET in said else "") or open_page
            tell(f"page /{path}?{query}", " ".join(said.split())[:80] + f" {links}", given)
            page.context.close()


def ids(browser: Browser, url: str, planted: Planted, tell: Tell) -> None:
    """Come as somebody else: by their id, by guessed tokens, to delete, and with an unknown study."""
    for query in (
        f"study={planted.key}&PROLIFIC_PID={VICTIM}",
        f"study={planted.key}&r={'0' * 32}",
        f"study={planted.key}&withdraw=1&PROLIFIC_PID={VICTIM}",
        f"study={planted.key}&preview=1",
        "study=' OR 1=1 --",
        "study=[x](https://evil.example)",
    ):
        page = _opened(browser, f"{url}/survey?{query}")
        said = page.inner_text("body")
        tell(f"page /survey?{query}", " ".join(said.split())[:80], planted.in_(said))
        page.context.close()


def _opened(browser: Browser, address: str) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
        " && document.querySelector('[data-testid=stMain]')?.innerText.trim().length > 10"
    )
    return page


if __name__ == "__main__":
    sys.exit(main())
