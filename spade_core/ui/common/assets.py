"""The frontend's scripts and styles, compressed, and its font after the text: what the first page waits for.

Streamlit sends its files as they are, 2.1 MB before a page draws anything, and leaves the rest to a proxy, which need
not do it. The names of scripts and styles hold a hash of their content, so each is compressed once and kept.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import Response

from spade_core.ui.common.doors import asks_for_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ASSET = re.compile(r"/static/(js|css)/[^/]+\.(js|css)$")
_FONT = re.compile(rb'<link\b(?=[^>]*\brel="preload")(?=[^>]*\bas="font")[^>]*>')


class LightFrontend:
    """ASGI middleware: scripts and styles compressed for whom takes gzip, and a document that asks for no font first.

    Kept is at most the compressed frontend, some 7 MB: each file by its plain path alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[str, Response] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, with a lighter document, or as the server does."""
        answer: Response | ASGIApp = self._app
        if scope["type"] == "http" and scope["method"] == "GET":
            if _takes_compressed(scope):
                answer = self._kept.get(scope["path"]) or await self._compressed(scope, receive)
            elif asks_for_page(scope):
                answer = await self._answered(_for_text(scope), receive)
                if answer.headers.get("content-type", "").startswith("text/html"):
                    answer = _with(answer, _FONT.sub(b"", bytes(answer.body)))
                    answer = _gzipped(answer) if _takes_gzip(scope) else answer
        await answer(scope, receive, send)

    async def _compressed(self, scope: Scope, receive: Receive) -> Response:
        answer = await self._answered(scope, receive)
        if answer.status_code != 200 or "immutable" not in answer.headers.get("cache-control", ""):
            return answer  # an unknown name gets the document, and must not be kept
        answer = await run_sync(_gzipped, answer)
        del answer.headers["etag"]  # of the file as it is
        return self._kept.setdefault(scope["path"], answer)

    async def _answered(self, scope: Scope, receive: Receive) -> Response:
        """Return the whole answer of the server."""
        answer, body = Response(), bytearray()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status_code, answer.raw_headers = message["status"], list(message["headers"])
            body.extend(message.get("body", b""))

        await self._app(scope, receive, take)
        answer.body = bytes(body)
        return answer


def _takes_compressed(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    plain = _takes_gzip(scope) and not {"range", "if-none-match"} & set(headers)
    path = scope["path"]
    whole = "//" not in path and "/." not in path  # else the same file by endlessly many names, each to be kept
    return plain and whole and _ASSET.search(path) is not None


def _takes_gzip(scope: Scope) -> bool:
    return "gzip" in Headers(scope=scope).get("accept-encoding", "")


def _for_text(scope: Scope) -> Scope:
    """Return the same request for an answer that can be read here: Streamlit compresses documents, too."""
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}


def _gzipped(answer: Response) -> Response:
    answer = _with(answer, gzip.compress(bytes(answer.body)))
    answer.headers.update({"content-encoding": "gzip", "vary": "Accept-Encoding"})
    return answer


def _with(answer: Response, body: bytes) -> Response:
    answer.body = body
    answer.headers["content-length"] = str(len(body))
    return answer
