"""Who gets the server's figures, what happens when too many pages are open, and which frames reach Streamlit."""

from __future__ import annotations

import asyncio
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from streamlit import config
from streamlit.proto.BackMsg_pb2 import BackMsg

from spade_core.ui.common import doors
from spade_core.ui.common.doors import FULL, Doors, room

PAGE = {"accept": "text/html,*/*"}
LOCAL = {"host": "127.0.0.1:8501"}


async def stream(websocket):
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)


@pytest.fixture
def client(monkeypatch):
    """Return a function that makes a client of a server with room for so many pages."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)

    async def answer(_request):
        return PlainTextResponse("here")

    def make(pages, peer="127.0.0.1"):
        monkeypatch.setenv("SPADE_OPEN_PAGES", str(pages))
        routes = [
            WebSocketRoute("/_stcore/stream", stream),
            *(Route(path, answer) for path in ("/", "/_stcore/metrics", "/study/_stcore/metrics", "/static/app.js")),
        ]
        return TestClient(Doors(Starlette(routes=routes)), client=(peer, 50_000))

    return make


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/study/_stcore/metrics"])
def test_figures_are_for_the_servers_own_computer(client, path, monkeypatch):
    assert config.get_option("server.address") == "127.0.0.1"
    assert client(1).get(path, headers=LOCAL).text == "here"
    strangers = [
        client(1, "192.0.2.1").get(path, headers=LOCAL),
        client(1).get(path, headers={"host": "study.example.org"}),
        client(1).get(path, headers={**LOCAL, "x-forwarded-for": "127.0.0.1"}),
        client(1).get(path, headers={**LOCAL, "forwarded": "for=127.0.0.1"}),
    ]
    assert [answer.status_code for answer in strangers] == [404] * 4
    monkeypatch.setenv("SPADE_ADMIN_PASSWORD_HASH", "set, so that a forwarder may stand before the server")
    assert client(1).get(path, headers=LOCAL).status_code == 404


def test_beyond_the_room_a_sentence_comes_instead_of_a_page(client):
    with client(2) as here, here.websocket_connect("/_stcore/stream") as one:
        with here.websocket_connect("/_stcore/stream") as two:
            refused = here.get("/", headers=PAGE)
            assert (refused.status_code, refused.text) == (503, FULL)
            assert refused.headers["retry-after"] == "60"
            assert here.get("/static/app.js", headers={"accept": "*/*"}).text == "here", "open pages go on"
            with pytest.raises(WebSocketDisconnect) as closed, here.websocket_connect("/_stcore/stream"):
                pass
            assert closed.value.code == doors.TRY_AGAIN
            two.close()
        assert here.get("/", headers=PAGE).text == "here"
        one.close()


@pytest.mark.parametrize("sent", ["a text", b"\xff\xff\xff"])
def test_what_is_no_frame_closes_the_connection_and_raises_nothing(client, sent):
    with client(1) as here, here.websocket_connect("/_stcore/stream") as one:
        (one.send_text if isinstance(sent, str) else one.send_bytes)(sent)
        with pytest.raises(WebSocketDisconnect) as closed:
            one.receive_bytes()
        assert closed.value.code == doors.NO_FRAME


def test_nobody_empties_the_caches_of_all_or_asks_for_the_repository(client):
    refused = [BackMsg(clear_cache=True), BackMsg(load_git_info=True), BackMsg(set_run_on_save=True), BackMsg()]
    refused += [BackMsg(debug_shutdown_runtime=True), BackMsg(debug_disconnect_websocket=True)]
    refused.append(BackMsg())
    refused[-1].backend_operation_request.install_skills.SetInParent()
    passed = BackMsg(stop_script=True).SerializeToString()
    with client(1) as here, here.websocket_connect("/_stcore/stream") as one:
        for frame in refused:
            one.send_bytes(frame.SerializeToString())
        one.send_bytes(passed)
        assert one.receive_bytes() == passed, "the others did not arrive"


def test_values_under_no_widgets_name_are_left_out():
    frame = BackMsg()
    frame.rerun_script.query_string = "study=key"
    for name in ("$$ID-1-None", "admin", "", "$$STREAMLIT_INTERNAL_KEY_1__events"):
        frame.rerun_script.widget_states.widgets.add(id=name, bool_value=True)
    found = BackMsg.FromString(doors.readable(frame.SerializeToString()))
    assert found.rerun_script.query_string == "study=key"
    assert [one.id for one in found.rerun_script.widget_states.widgets] == [
        "$$ID-1-None",
        "$$STREAMLIT_INTERNAL_KEY_1__events",
    ]


def asking(fill):
    frame = BackMsg()
    fill(frame)
    return frame.SerializeToString()


@pytest.mark.parametrize(
    "fill",
    [
        lambda one: setattr(one.rerun_script, "query_string", "x" * doors.LARGEST),
        lambda one: [one.rerun_script.widget_states.widgets.add(id="$$a") for _ in range(doors.WIDGETS + 1)],
        lambda one: one.file_urls_request.file_names.extend([""] * (doors.FILES + 1)),
        lambda one: setattr(one.rerun_script, "fragment_id", "x\n2026-11-27 00:00:00 a line of its own"),
        lambda one: setattr(one.rerun_script, "page_name", "x" * (doors.WORD + 1)),
        lambda one: setattr(one.backend_operation_request, "request_id", "x\r"),
    ],
    ids=["large", "widgets", "files", "a line in the log", "a long name", "a line's end"],
)
def test_what_no_page_of_ours_sends_is_no_frame(fill, monkeypatch):
    read = []
    monkeypatch.setattr(doors, "BackMsg", lambda: read.append(1) or BackMsg())
    assert doors.readable(asking(fill)) is None


def test_the_largest_that_pages_send_passes():
    text = asking(lambda one: one.rerun_script.widget_states.widgets.add(id="$$ID-1-None", string_value="ä" * 400_000))
    files = asking(lambda one: one.file_urls_request.file_names.extend(["koala.jpg"] * doors.FILES))
    chunk = BackMsg()
    chunk.backend_operation_request.dataframe_chunk.source_id = "$$ID-1-a table with a name"
    for frame in (text, files, chunk.SerializeToString()):
        assert doors.readable(frame) == frame


def test_a_page_that_fails_or_is_given_up_makes_room():
    async def fails(_scope, _receive, _send):
        raise RuntimeError("a page that fails")

    async def waits(_scope, _receive, _send):
        await asyncio.sleep(60)

    async def scene():
        scope = {"type": "websocket", "path": "/_stcore/stream", "headers": []}
        for app in (fails, waits):
            found = Doors(app)
            with pytest.raises((RuntimeError, TimeoutError)):
                await asyncio.wait_for(found(scope, None, None), 0.05)
            assert found._open == 0

    with ThreadPoolExecutor(1) as elsewhere:  # a browser's driver may have a loop in this thread
        elsewhere.submit(asyncio.run, scene()).result()


@pytest.mark.parametrize(
    ("limits", "pages", "set_to"),
    [
        ((256, 1024), 106, [(1024, 1024)]),
        ((256, 10**6), 1000, [(4600, 10**6)]),
        ((10**6, 10**6), 1000, []),
        ((1024, resource.RLIM_INFINITY), 1000, [(4600, resource.RLIM_INFINITY)]),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1000, []),
        ((64, 64), 1, []),
    ],
)
def test_the_room_follows_the_descriptors(monkeypatch, limits, pages, set_to):
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    monkeypatch.delenv("SPADE_OPEN_PAGES", raising=False)
    assert room() == pages
    assert raised == set_to
    monkeypatch.setenv("SPADE_OPEN_PAGES", "7")
    assert room() == 7
    monkeypatch.setenv("SPADE_OPEN_PAGES", "many")
    assert room() == pages
