"""The frontend's scripts and styles, compressed, and its fonts after the text: what the first page waits for.

Streamlit sends its files as they are, 2.1 MB before a page draws anything, and leaves the rest to a proxy, which need
not do it. The names of scripts and styles hold a hash of their content, so each is compressed once and kept. Brotli's
best quality is a sixth smaller than gzip and takes seconds, so it is made in the background and sent from then on; not
where people compute, as the cores are theirs.

A participant may be on a slow line: the document of their page has no fonts in its styles, but a script that asks for
them once there is something to use, and for the parts of the frontend that each of their pages needs.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import queue
import re
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import brotli
import streamlit
from anyio import sleep_forever
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import Response

from spade_core.config import ASSETS, Settings
from spade_core.errors import SpadeError
from spade_core.roles import allows
from spade_core.ui.common.doors import asks_for_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

FRONTEND = Path(streamlit.__file__).parent / "static"
QUICK, BEST = 5, 11  # qualities of Brotli: as quick as gzip and smaller; the smallest
PARTICIPANTS = re.compile(r"/survey/?$")
# What draws the participants' pages beyond what every page of the frontend loads at once.
PARTS = ("BidiComponent", "Button", "Checkbox", "Progress")
LATE, FONTS = b"late", b"fonts"  # queries of a style sheet: all but its fonts, and these alone
_Key: TypeAlias = tuple[str, bytes, str]
_ASSET = re.compile(r"/static/(js|css)/[^/]+\.(js|css)$")
_FONT = re.compile(rb'<link\b(?=[^>]*\brel="preload")(?=[^>]*\bas="font")[^>]*>')
_FACE = re.compile(rb"@font-face\s*\{[^}]*\}")
_STYLES = re.compile(rb'(<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="[^"?]+\.css)"')
_OF_THE_FILE = {b"accept-encoding", b"range", b"if-range", b"if-none-match", b"if-modified-since"}
_NONE = re.compile(r"q=0(\.0*)?", re.IGNORECASE)  # the weight of an encoding that is not taken
_IMPORTED = re.compile(r"(?:from|import)\s*[\"`]\./([^\"`]+\.js)[\"`]")


class LightFrontend:
    """ASGI middleware: scripts and styles compressed for whom takes that, and documents that ask for no font first.

    Kept is at most the compressed frontend, some 7 MB for each encoding: each file by its plain path alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[_Key, Response] = {}
        self._quick: queue.SimpleQueue[tuple[_Key, bytes]] = queue.SimpleQueue()  # keys, and contents
        self._thread: threading.Thread | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, with a lighter document, or as the server does."""
        answer: Response | ASGIApp = self._app
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            if _takes_compressed(scope):
                key = _key(scope)
                answer = self._kept.get(key) or await self._compressed(scope, key)
            elif asks_for_page(scope):
                answer = await self._answered(_for_text(scope))
                if answer.headers.get("content-type", "").startswith("text/html"):
                    light = _light(bytes(answer.body), PARTICIPANTS.search(scope["path"]) is not None)
                    answer = _no_longer_the_file(_with(answer, light))
                    answer = _packed(answer, encoding) if (encoding := _encoding(scope)) else answer
        await answer(scope, receive, send)

    async def _compressed(self, scope: Scope, key: _Key) -> Response:
        answer = await self._answered(scope)
        if answer.status_code != 200 or "immutable" not in answer.headers.get("cache-control", ""):
            return answer  # an unknown name gets the document, and must not be kept
        if answer.headers.get("content-length") != str(len(answer.body)):
            logger.error("the server sent %d bytes of %s, and said others", len(answer.body), scope["path"])
            return Response(status_code=503)  # asked for again it may be whole
        answer, body = _no_longer_the_file(answer), bytes(answer.body)
        if key[1]:
            body = b"".join(_FACE.findall(body)) if key[1] == FONTS else _FACE.sub(b"", body)
        kept = self._kept.setdefault(key, await run_sync(_packed, _with(answer, body), key[2]))
        if kept is answer and key[2] == "br" and _are_cores_free():
            self._quick.put((key, body))
            if self._thread is None:
                self._thread = threading.Thread(target=self._make_smaller, name="smaller frontend", daemon=True)
                self._thread.start()
        return kept

    def _make_smaller(self) -> None:
        """Compress what is kept as far as it goes, one file after the other, and let all other threads go before."""
        if sys.platform == "linux":  # where a thread has a priority of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while True:
            key, body = self._quick.get()
            smaller = Response()  # another one: the one that is kept may be on its way
            smaller.raw_headers = list(self._kept[key].raw_headers)
            self._kept[key] = _with(smaller, brotli.compress(body, quality=BEST))

    async def _answered(self, scope: Scope) -> Response:
        """Return the whole answer of the server, whether or not who asks still waits: it is for others, too.

        Where the head alone is asked for, it is that of the whole, whose rest the server leaves out.
        """
        answer, body = Response(), bytearray()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status_code, answer.raw_headers = message["status"], list(message["headers"])
            body.extend(message.get("body", b""))

        await self._app({**scope, "method": "GET"}, _Stays(), take)
        answer.body = bytes(body)
        return answer


class _Stays:
    """What comes from somebody who asks and does not go away; whoever does go leaves the server with half an answer."""

    def __init__(self) -> None:
        self._asked = False

    async def __call__(self) -> Message:
        if self._asked:
            await sleep_forever()
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}


def _are_cores_free() -> bool:
    """Return whether nobody computes on this server."""
    try:
        return not allows(Settings.from_environment().mode, "compute")
    except SpadeError:  # every page says so
        return False


def _takes_compressed(scope: Scope) -> bool:
    plain = _encoding(scope) is not None and "if-none-match" not in Headers(scope=scope)
    path = scope["path"]
    whole = "//" not in path and "/." not in path  # else the same file by endlessly many names, each to be kept
    return plain and whole and _ASSET.search(path) is not None


def _key(scope: Scope) -> _Key:
    """Return by what an answer is kept: path, query where it means something, encoding."""
    query = scope.get("query_string", b"")
    known = query if query in (LATE, FONTS) and scope["path"].endswith(".css") else b""
    return scope["path"], known, _encoding(scope) or ""


def _encoding(scope: Scope) -> str | None:
    """Return the smallest encoding that a browser takes, or None: it takes none of ours."""
    offers = (one.partition(";") for one in ",".join(Headers(scope=scope).getlist("accept-encoding")).split(","))
    taken = {name.strip().lower() for name, _, weight in offers if not _NONE.fullmatch(weight.strip())}
    return next((name for name in ("br", "gzip") if name in taken), None)


def _for_text(scope: Scope) -> Scope:
    """Return the same request for a whole answer that can be read here: Streamlit compresses documents, too."""
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name not in _OF_THE_FILE]}


def _no_longer_the_file(answer: Response) -> Response:
    """Take from an answer what is true of the server's file alone: its marks, and that parts of it can be had.

    A browser whose page was left meanwhile would else ask for the rest of a script later, put bytes of the file behind
    compressed ones, and keep that as the script for a year; and it would take a document of an earlier version of
    these pages for today's, as long as Streamlit's own is the same.
    """
    del answer.headers["etag"], answer.headers["last-modified"]
    answer.headers["accept-ranges"] = "none"
    return answer


def _packed(answer: Response, encoding: str) -> Response:
    body = bytes(answer.body)
    answer = _with(answer, brotli.compress(body, quality=QUICK) if encoding == "br" else gzip.compress(body))
    answer.headers.update({"content-encoding": encoding, "vary": "Accept-Encoding"})
    return answer


def _with(answer: Response, body: bytes) -> Response:
    answer.body = body
    answer.headers["content-length"] = str(len(body))
    return answer


def _light(document: bytes, participants: bool) -> bytes:
    """Return a document that asks for no font before its text; ``participants``: nor before there is what to use."""
    document = _FONT.sub(b"", document)
    if not participants:
        return document
    return _STYLES.sub(rb'\1?late"', document).replace(b"</head>", _first() + b"</head>", 1)


@cache
def _first() -> bytes:
    """Return what the document of a participants' page has besides: styles, and the script that orders what comes."""
    script = (ASSETS / "study" / "first.js").read_text("utf-8").replace("CHUNKS", json.dumps(list(_parts())))
    styles = (ASSETS / "home" / "everywhere.css").read_text("utf-8")
    return f"<style>{styles}</style><script>{script}</script>".encode()


def _parts() -> Iterator[str]:
    """Yield the files of ``PARTS`` and what they import, from the document, but for what it asks for itself."""
    scripts = FRONTEND / "static" / "js"
    seen = set(re.findall(r"/js/([^/\"]+\.js)\"", (FRONTEND / "index.html").read_text("utf-8")))
    left = [path.name for part in PARTS for path in scripts.glob(f"{part}.*.js")]
    while left:
        if (name := left.pop()) in seen:
            continue
        seen.add(name)
        yield f"./static/js/{name}"
        left += _IMPORTED.findall((scripts / name).read_text("utf-8"))
