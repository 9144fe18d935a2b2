"""What the server answers to whom before any page is drawn: its own figures, how many pages may be open, and frames.

An open page holds a connection, and with it descriptors, of which a process has a limited number: beyond the limit
the server would fail for everybody, where now it asks the next one to come back later. What a page's browser sends by
its connection is read here first: Streamlit raises where it is no frame, or tells of a widget under no widget's name,
and does for anybody what only its developer may ask for (it empties the caches of all, and tells of the repository).
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Set
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from starlette.responses import PlainTextResponse
from streamlit import config
from streamlit.proto.BackMsg_pb2 import BackMsg

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.roles import allows
from spade_core.study.admission.access import Evidence, decide

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

STREAM, FIGURES = "/_stcore/stream", "/_stcore/metrics"
FULL = "This server has as many pages open as it can hold. Close those that you do not need, or try again in a minute."
SPARE = (
    600  # descriptors for files, the database, workers and answers, and for pages that were left: Streamlit keeps 128
)
EACH = 4  # descriptors of an open page: its connection, and what it loads beside
MOST = 1_000  # pages by default: each takes memory, too
NO_FRAME, TRY_AGAIN = 1002, 1013  # of WebSocket's codes (IANA): protocol error; try again later
WIDGET = "$$"  # what the ids begin with that Streamlit gives to widgets
# What our pages ask for, of Streamlit's messages and of its operations.
ASKED = {"rerun_script", "stop_script", "app_heartbeat", "file_urls_request", "deferred_file", "dataframe_chunk"}
LARGEST = 2**20  # bytes of a frame: the longest text that a page takes, a pasted design, has a tenth of that
WIDGETS, FILES = 1_000, 2_000  # of a page; of an upload, of which the folder page takes 200
WORD = 512  # letters of a name or an id; they are printed in the log


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
    """ASGI middleware: figures for the server's own computer, as many open pages as there is room for, frames alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._room = room()
        self._open = 0
        self._asked = ASKED if takes_files() else ASKED - {"file_urls_request"}

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
        frames = Frames(receive, self._asked)
        try:
            await self._app(scope, frames, send)
        finally:
            self._open -= 1
        if frames.broken:
            await send({"type": "websocket.close", "code": NO_FRAME})


class Frames:
    """What comes by a page's connection, as Streamlit takes it.

    Attributes:
        broken: something came that is no frame, after which nothing else is read.
    """

    def __init__(self, receive: Receive, asked: Set[str] = ASKED) -> None:
        self._receive, self._asked = receive, asked
        self.broken = False

    async def __call__(self) -> Message:
        """Return the next message that asks for something, or that the connection ends."""
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive":
                return message
            frame = None if message.get("bytes") is None else readable(message["bytes"], self._asked)
            if frame is None:
                self.broken = True
                return {"type": "websocket.disconnect", "code": NO_FRAME}
            if frame:
                return {**message, "bytes": frame}


def readable(data: bytes, asked: Set[str] = ASKED) -> bytes | None:
    """Return a frame without the values of what can be no widget; empty: no page asks for that; None: it is none."""
    frame = BackMsg()
    if len(data) > LARGEST:  # which is also what a page that was left may hold for a while
        return None
    try:
        frame.ParseFromString(data)
    except DecodeError:
        return None
    if is_too_much(frame):
        return None
    if (frame.backend_operation_request.WhichOneof("payload") or frame.WhichOneof("type")) not in asked:
        return b""
    widgets = frame.rerun_script.widget_states.widgets
    known = [one for one in widgets if one.id.startswith(WIDGET)]
    if len(known) == len(widgets):
        return data
    del widgets[:]
    widgets.extend(known)
    return frame.SerializeToString()


def takes_files() -> bool:
    """Return whether any page of this server takes files."""
    try:
        return allows(Settings.from_environment().mode, "bring")
    except ConfigError:  # which the pages say
        return False


def is_too_much(frame: BackMsg) -> bool:
    """Return whether a frame holds what no page of ours sends: endless lists, and names that are none."""
    rerun, files, operation = frame.rerun_script, frame.file_urls_request, frame.backend_operation_request
    if len(rerun.widget_states.widgets) > WIDGETS or len(files.file_names) > FILES:
        return True
    words = [rerun.fragment_id, rerun.page_script_hash, rerun.page_name, files.request_id, files.session_id]
    words += [operation.request_id, operation.session_id, operation.deferred_file.file_id]
    words += [operation.dataframe_chunk.source_id]
    return any(len(word) > WORD or not word.isprintable() for word in words)


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
