"""Files that people upload: who may send how much, and what all of them hold together.

Streamlit keeps an upload in memory for as long as its tab is open, and takes one from any session that is connected,
whether its page asks for a file or not. Here a page says what it asks for (:func:`ask_for_file`), and
:class:`LimitedUploads` refuses the rest before a byte of it is read.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import streamlit as st
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from spade_core.config import Settings
from spade_core.pictures.picture import MAX_BYTES
from spade_core.roles import allows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send
    from streamlit.runtime.uploaded_file_manager import UploadedFile

MIB = 2**20
SEVERAL = 8  # files of pictures' size that a session may hold; two of what it may send, as one takes another's place
MARGIN = 64 * 1024  # bytes of the form around a file
MOST_KEPT = 1024  # tokens
UPLOADED = "own:"  # of a link's picture: an upload, before the token that finds it again; alone it asks for one
_UPLOADS, _PATH = "/_stcore/upload_file/", re.compile(r"/_stcore/upload_file/([\w-]{1,64})/[\w-]{1,64}$")
LEAST = 4096  # bytes that any file counts


class Ledger:
    """What each session may send, and what is on its way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[str, int] = {}
        self._coming: dict[str, int] = {}

    def allow(self, session: str, most: int) -> None:
        """Let a session send files of at most ``most`` bytes; what it was allowed before stays."""
        with self._lock:
            for gone in [one for one in self._limits if runtime.exists() and not _is_open(one)]:
                del self._limits[gone]
            self._limits[session] = max(most, self._limits.get(session, 0))

    @contextmanager
    def coming(self, session: str, size: int, held: Mapping[str, int], total: int) -> Iterator[str | None]:
        """Count a file of ``size`` bytes as on its way inside the block; give the reason why it may not come, or None.

        Args:
            held: bytes that each session holds; total: that all may hold.
        """
        with self._lock:
            reason = self._refusal(session, size, held, total)
            if reason is None:
                self._coming[session] = self._coming.get(session, 0) + size
        try:
            yield reason
        finally:
            with self._lock:
                if reason is None:
                    self._coming[session] -= size
                    self._coming = {one: left for one, left in self._coming.items() if left}

    def _refusal(self, session: str, size: int, held: Mapping[str, int], total: int) -> str | None:
        most = self._limits.get(session, 0)
        if not most:
            return "This page takes no files."
        if size > most + MARGIN:
            return f"The file has more than {most // MIB} MB: send a smaller one."
        own = held.get(session, 0) + self._coming.get(session, 0)
        if own + size > max(2 * most, SEVERAL * min(most, MAX_BYTES)) + SEVERAL * MARGIN:
            return "This tab holds as many files as it may: remove some, or reload the page."
        if sum(held.values()) + sum(self._coming.values()) + size > total:
            return "The server holds as many files as it may: try again later."
        return None


LEDGER = Ledger()


def _is_open(session: str) -> bool:
    return runtime.get_instance().is_active_session(session)


def _held() -> dict[str, int]:
    """Return how many bytes of uploads each session holds in Streamlit's memory."""
    storage = getattr(runtime.get_instance().uploaded_file_mgr, "file_storage", {}) if runtime.exists() else {}
    held = list(storage.items())
    return {session: sum(max(LEAST, len(file.data)) for file in files.values()) for session, files in held}


class LimitedUploads:
    """ASGI middleware that takes only the files that the session's page asks for, and no more than fit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is no upload, or one that may come; answer others with a sentence."""
        if scope["type"] != "http" or scope["method"] != "PUT" or _UPLOADS not in scope["path"]:
            await self._app(scope, receive, send)
            return
        found = _PATH.search(scope["path"])
        if found is None:
            await PlainTextResponse("This is no file's address.", 404)(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if not re.fullmatch("[0-9]{1,18}", length):
            await PlainTextResponse("Send the file with its length.", 411)(scope, receive, send)
            return
        with LEDGER.coming(found[1], int(length), _held(), Settings.from_environment().upload_bytes) as reason:
            answer = self._app if reason is None else PlainTextResponse(reason, 413)
            with suppress(ClientDisconnect):  # whoever sent it is gone
                await answer(scope, receive, send)


class Kept:
    """Uploaded pictures by tokens, so that a page that is loaded anew, or another page, finds its own again.

    A token stands in the address bar, and in the browser's own list of runs: whoever has the address can open the
    picture, and nobody else. The bytes
    lie where jobs read them, for as long as there is room; a token lives as long as the server.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._most = most

    def keep(self, name: str, path: str) -> str:
        """Return a new token of the upload ``name`` that lies at ``path``; the oldest token gives way."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._files[token] = name, path
            while len(self._files) > self._most:
                self._files.popitem(last=False)
        return token

    def find(self, token: str) -> tuple[str, bytes] | None:
        """Return name and bytes of an upload, or None where it is no longer there."""
        name, path = self._files.get(token, ("", ""))
        try:
            return (name, Path(path).read_bytes()) if path else None
        except OSError:
            return None

    def drop(self, token: str) -> None:
        """Forget a token."""
        with self._lock:
            self._files.pop(token, None)


KEPT = Kept()


@overload
def ask_for_file(
    label: str, key: str, most: int = MAX_BYTES, *, several: Literal[False] = False, hint: str | None = None
) -> UploadedFile | None: ...
@overload
def ask_for_file(
    label: str, key: str, most: int = MAX_BYTES, *, several: Literal[True], hint: str | None = None
) -> list[UploadedFile]: ...
def ask_for_file(
    label: str, key: str, most: int = MAX_BYTES, *, several: bool = False, hint: str | None = None
) -> UploadedFile | list[UploadedFile] | None:
    """Draw the field of a file of at most ``most`` bytes; return it, None while there is none, or a list of several.

    A server that takes no files (its mode, see ``roles``) says so instead.
    """
    if not allows(Settings.from_environment().mode, "bring"):
        st.caption(":material/block: This server takes no files: choose one of its own.")
        return [] if several else None
    context = get_script_run_ctx()
    if context is not None:
        LEDGER.allow(context.session_id, most)
    size = max(1, most // MIB)
    return st.file_uploader(label, key=key, accept_multiple_files=several, max_upload_size=size, help=hint)
