"""What the server answers to whom before any page is drawn: its own figures, and how many pages may be open.

An open page holds a connection, and with it descriptors, of which a process has a limited number: beyond the limit
the server would fail for everybody, where now it asks the next one to come back later.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from streamlit import config

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.study.admission.access import Evidence, decide

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

STREAM, FIGURES = "/_stcore/stream", "/_stcore/metrics"
FULL = "This server has as many pages open as it can hold. Close those that you do not need, or try again in a minute."
SPARE = 200  # descriptors for files, the database, workers and answers
EACH = 4  # descriptors of an open page: its connection, and what it loads beside
MOST = 1_000  # pages by default: each takes memory, too
TRY_AGAIN = 1013  # of WebSocket's codes (IANA): try again later


def room() -> int:
    """Return how many pages may be open: ``SPADE_OPEN_PAGES``, or ``MOST`` as far as the process's descriptors allow.

    The soft limit of descriptors is raised for them as far as the hard one lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SPARE + EACH * MOST
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    try:
        asked = Settings.from_environment().open_pages
    except ConfigError:  # which the pages say
        asked = 0
    return asked or max(1, (allowed - SPARE) // EACH)


class Doors:
    """ASGI middleware: figures for the server's own computer alone, and no more open pages than there is room for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._room = room()
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        path = str(scope.get("path", ""))
        if scope["type"] == "websocket" and path.endswith(STREAM):
            await self._stream(scope, receive, send)
        elif scope["type"] == "http" and path.endswith(FIGURES) and not shows_figures(scope):
            await PlainTextResponse("Not here.", 404)(scope, receive, send)
        elif scope["type"] == "http" and self._open >= self._room and asks_for_page(scope):
            await PlainTextResponse(FULL, 503, {"Retry-After": "60"})(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open >= self._room:
            logger.warning("%d pages are open, as many as there is room for: another one is refused", self._open)
            await receive()
            await send({"type": "websocket.close", "code": TRY_AGAIN})
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


def shows_figures(scope: Scope) -> bool:
    """Return whether a request comes from the server's own computer, by the rule of the experimenter's page.

    Where a password is set nobody is believed to be there: a forwarder makes every stranger look so.
    """
    try:
        return decide(Settings.from_environment(), evidence_of(scope)) == "local"
    except ConfigError:
        return False


def evidence_of(scope: Scope) -> Evidence:
    """Return what is known of who sends a request."""
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    peer = scope.get("client")
    return Evidence(config.get_option("server.address"), peer[0] if peer else None, headers)


def asks_for_page(scope: Scope) -> bool:
    """Return whether a request is a browser's for a page, rather than for what an open page needs."""
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
