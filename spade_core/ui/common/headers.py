"""What every answer of the server tells the browser to refuse: frames of others, foreign code, guessed types."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from spade_core.config import parse_origins

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FRAME_ANCESTORS = "SPADE_FRAME_ANCESTORS"  # the variable of settings' ``frame_ancestors``
# Streamlit has inline scripts and styles, imports components from blobs, and Plotly compiles what it draws with.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}


def safe_headers(frame_ancestors: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the headers of every answer.

    Args:
        frame_ancestors: origins whose pages may show this server's in a frame; none: nobody's may, its own neither.
    """
    policy = {**_POLICY, "frame-ancestors": " ".join(frame_ancestors) or "'none'"}
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",  # addresses hold participants' ids and tokens
    }
    # The older header knows no list of origins; browsers that know the newer one's go by that.
    return headers if frame_ancestors else {**headers, "X-Frame-Options": "DENY"}


class SafeHeaders:
    """ASGI middleware that adds :func:`safe_headers` to every HTTP answer, whatever made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers."""

        async def send_safely(message: MutableMapping[str, object]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_told(os.environ.get(FRAME_ANCESTORS, "").strip()))
            await send(message)

        await self._app(scope, receive, send_safely)


@lru_cache(maxsize=8)
def _told(ancestors: str) -> dict[str, str]:
    """Return the headers by the setting's text; nobody may frame where that cannot be read, which the pages say.

    Reading all settings for each answer would cost more than the headers do.
    """
    try:
        return safe_headers(parse_origins(ancestors))
    except ValueError:
        return safe_headers()
