"""Uploads: only what a page asks for, of its size, and no more than fit for a tab and for all."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.testclient import TestClient

from spade_core.ui.common import uploads
from spade_core.ui.common.uploads import MIB, Ledger, LimitedUploads


async def taken(request):
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(uploads, "LEDGER", Ledger())
    route = Route("/_stcore/upload_file/{session}/{file}", taken, methods=["PUT", "DELETE"])
    return TestClient(Starlette(routes=[route], middleware=[Middleware(LimitedUploads)]))


def put(client, data, session="a"):
    answer = client.put(f"/_stcore/upload_file/{session}/1", content=data)
    return answer.status_code, answer.text


def test_a_tab_whose_page_asks_for_no_file_may_send_none(client):
    assert put(client, b"x") == (413, "This page takes no files.")
    assert client.delete("/_stcore/upload_file/a/1").status_code == 200


def test_a_file_may_be_as_large_as_the_page_says(client):
    uploads.LEDGER.allow("a", MIB)
    assert put(client, bytes(MIB)) == (200, str(MIB))
    status, text = put(client, bytes(2 * MIB))
    assert (status, text) == (413, "The file has more than 1 MB: send a smaller one.")
    uploads.LEDGER.allow("a", 3 * MIB)
    uploads.LEDGER.allow("a", MIB)
    assert put(client, bytes(2 * MIB))[0] == 200, "what the page once asked for stays allowed"
    assert put(client, b"x", session="b")[0] == 413


@pytest.mark.parametrize("address", ["a/" + "x" * 60_000, "a/%20", "a/x/y", "a%0a/1", "a/"])
def test_a_files_address_is_an_id_of_a_page_and_one_of_its_own(client, address):
    uploads.LEDGER.allow("a", MIB)
    assert client.put(f"/_stcore/upload_file/{address}", content=b"").status_code == 404


def test_a_file_without_a_byte_counts_too(monkeypatch):
    files = {
        "a": {str(number): SimpleNamespace(data=b"") for number in range(3)},
        "b": {"1": SimpleNamespace(data=bytes(9000))},
    }
    kept = SimpleNamespace(uploaded_file_mgr=SimpleNamespace(file_storage=files))
    monkeypatch.setattr(uploads, "runtime", SimpleNamespace(exists=lambda: True, get_instance=lambda: kept))
    assert uploads._held() == {"a": 3 * uploads.LEAST, "b": 9000}


def test_who_leaves_before_the_end_leaves_no_traceback(client):
    async def left(_request):
        raise ClientDisconnect

    uploads.LEDGER.allow("a", MIB)
    route = Route("/_stcore/upload_file/{session}/{file}", left, methods=["PUT"])
    put_to = {
        "type": "http",
        "method": "PUT",
        "path": "/_stcore/upload_file/a/1",
        "headers": [(b"content-length", b"9")],
    }
    told = []

    async def send(message):
        told.append(message)

    with ThreadPoolExecutor(1) as elsewhere:  # a browser's driver may have a loop in this thread
        elsewhere.submit(
            asyncio.run, LimitedUploads(Router([route]))(put_to | {"query_string": b""}, None, send)
        ).result()
    assert told == []


def test_a_length_must_be_told(client):
    uploads.LEDGER.allow("a", MIB)
    assert put(client, iter([b"x", b"y"]))[0] == 411


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"a": 7 * MIB}, None),
        ({"a": 9 * MIB}, "This tab holds"),
        ({"b": 30 * MIB}, "The server holds"),
        ({"b": 18 * MIB}, None),
    ],
)
def test_a_tab_and_all_of_them_hold_so_much_together(held, reason):
    ledger = Ledger()
    ledger.allow("a", MIB)
    with ledger.coming("a", MIB, held, 20 * MIB) as found:
        assert found is None if reason is None else found.startswith(reason)
    assert not ledger._coming


def test_what_is_on_its_way_counts():
    ledger = Ledger()
    ledger.allow("a", MIB)
    ledger.allow("b", MIB)
    with ledger.coming("a", MIB, {}, 2 * MIB - 1) as first, ledger.coming("b", MIB, {}, 2 * MIB - 1) as second:
        assert first is None
        assert second == "The server holds as many files as it may: try again later."
    with ledger.coming("b", MIB, {}, 2 * MIB - 1) as third:
        assert third is None


def test_kept_uploads_are_found_by_their_token_until_room_or_time_runs_out(tmp_path):
    from spade_core.ui.common.uploads import Kept

    kept, file = Kept(most=2), tmp_path / "picture"
    file.write_bytes(b"bytes")
    tokens = [kept.keep(f"{name}.jpg", str(file)) for name in "abc"]
    assert [kept.find(token) for token in tokens] == [None, ("b.jpg", b"bytes"), ("c.jpg", b"bytes")]
    kept.drop(tokens[1])
    assert kept.find(tokens[1]) is None
    file.unlink()
    assert kept.find(tokens[2]) is None
    assert kept.find("") is None
