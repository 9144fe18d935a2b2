"""The route of the trials: the browser's component sends an answer and gets the next trial, without a run of the page.

Whoever sends must hold the participant's token, and must be a page of this server. All else is refused with a sentence,
and the component then goes by the page, as it does where the route is not mounted.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from streamlit import config

from spade_core.errors import ConfigError
from spade_core.roles import NOT_HERE, require
from spade_core.study.data.store import UNREACHABLE
from spade_core.study.running.trial_view import view_of
from spade_core.study.running.turns import Turn, take_turn
from spade_core.ui.common.frame import settings, study_store
from spade_core.ui.participant.component import picture_uris, trial_data

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request

logger = logging.getLogger(__name__)

PATH = "/survey/trial"
MOST_BYTES = 64 * 1024  # of a message: an answer with long free texts has a tenth of it
HELD = 8  # trials whose pictures a browser may say that it holds
NOBODY = "Nobody takes part in this study by this token: open the link that you were given once more."
AWAY = "The study cannot be reached at the moment: send this once more in a moment."
_Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
MOUNTED = threading.Event()
"""Set once this server has the route: pages then tell their components to use it."""


class Note(BaseModel):
    """What the component sends.

    Attributes:
        study: the study's key; token, tab: of the participant, and of the tab that the page was drawn in.
        answer, read: see :func:`turns.take_turn`.
        held: ids of trials whose pictures the browser has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Annotated[str, Field(max_length=32)]
    token: _Id
    tab: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    answer: dict[str, object] | None = None
    read: _Id | None = None
    held: Annotated[list[_Id], Field(max_length=HELD)] = []

    @classmethod
    def of(cls, body: bytes) -> Note | None:
        """Return what came as a message, or None: it is none."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return None


def trial_routes() -> list[Route]:
    """Return the routes for the server to mount."""
    MOUNTED.set()
    base = config.get_option("server.baseUrlPath").strip("/")
    return [Route(f"/{base}{PATH}" if base else PATH, take_note, methods=["POST"])]


async def take_note(request: Request) -> Response:
    """Answer a message of the component."""
    if not is_same_origin(request.headers):
        return PlainTextResponse("Only this server's own pages may send answers.", 403)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return PlainTextResponse("Send the answer as application/json.", 415)
    try:
        body = await _body(request)
    except ClientDisconnect:  # a line that broke: the browser has the answer still, and sends it again
        return Response(status_code=400)
    if body is None:
        return PlainTextResponse(f"An answer has {MOST_BYTES // 1024} kB at most.", 413)
    return await run_in_threadpool(answered, body)


def is_same_origin(headers: Headers) -> bool:
    """Return whether a page of this server has sent a request, as its browser says; without a word it has not.

    Browsers tell ``Sec-Fetch-Site`` to servers on the same computer or with TLS; else ``Origin`` has to name the host
    that the request was sent to.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    try:
        origin = urlsplit(headers.get("origin", "")).netloc
    except ValueError:
        return False
    return bool(origin) and origin == headers.get("host")


async def _body(request: Request) -> bytes | None:
    """Return what was sent; None: it is too much, and the rest of it was not read."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > MOST_BYTES:
            return None
    return found


def answered(body: bytes) -> Response:
    """Return the answer to a message as it came."""
    note = Note.of(body)
    try:
        found = settings()
        require(found, "take part")
        if note is None:
            return PlainTextResponse("This is no message of a trial: reload the page.", 400)
        turn = take_turn(study_store(found), note.study, note.token, note.tab, answer=note.answer, read=note.read)
    except UNREACHABLE:
        logger.exception("an answer waits in the browser")
        return PlainTextResponse(AWAY, 503)
    except ConfigError:
        return PlainTextResponse(NOT_HERE, 404)
    if turn is None:
        return PlainTextResponse(NOBODY, 401)
    text = orjson.dumps(told(turn, note))  # 90 kB of pictures: 4 us, where json takes 200
    # Pictures do not get smaller by compression, which costs more than all of the rest.
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
    return Response(text, media_type="application/json", headers=headers)


def told(turn: Turn, note: Note) -> dict[str, object]:
    """Return what the browser gets to know of a turn.

    Returns:
        ``stored`` and ``refused``: whether the answer is in the database, and whether it cannot be taken;
        ``trial`` as its mount in the page has it, None: the page has to be drawn anew; ``pictures``: of it and of the
        next one, as far as the browser lacks them; ``progress``: 0 to 1.
    """
    receipt, at, design, stimuli = turn.receipt, turn.at, turn.at.who.design, turn.at.who.study.stimuli
    found: dict[str, object] = {
        "stored": receipt is not None and receipt.stored,
        "refused": receipt is not None and not receipt.stored,
        "progress": at.progress,
        "trial": None,
    }
    if turn.trial is None:
        return found
    view = view_of(stimuli, design, turn.trial, limit_ms=turn.limit_ms, answered=turn.trial is at.said)
    views = [view] + ([] if at.upcoming is None else [view_of(stimuli, design, at.upcoming)])
    pictures = [picture_uris(one) for one in views if one.trial_id not in note.held]
    return {
        **found,
        "trial": trial_data(view),
        "pictures": {name: uri for one in pictures for name, uri in one.items()},
    }
