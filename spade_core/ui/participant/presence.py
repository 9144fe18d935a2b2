"""Who is at the survey page: the frame without a menu, the database, entering, coming back, and newer tabs."""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import streamlit as st

from spade_core.config import ASSETS
from spade_core.errors import ConfigError, TakenError
from spade_core.roles import require
from spade_core.study.admission.access import Attempts, client_of, is_loopback
from spade_core.study.admission.links import arriving_id, is_preview, is_signed, signer, typed_id
from spade_core.study.data.store import UNREACHABLE, Store
from spade_core.study.data.studies import opened
from spade_core.study.data.tables import text_sha256
from spade_core.study.design.design import Design
from spade_core.study.running import flow
from spade_core.study.running.person import ID_LENGTH, Participation, enter, moved_on, owns, return_code
from spade_core.study.running.standing import Standing, look
from spade_core.ui.common.frame import ICON, errors_as_sentences, settings
from spade_core.ui.common.login import evidence
from spade_core.ui.common.text import literal

logger = logging.getLogger(__name__)

TOKEN = "r"  # noqa: S105 - the query parameter's name
TAB = "tab"  # session state: the tab's mark
RETRY, TRYING = 3.0, "trying_again"  # seconds between two tries; session state: whether one is due
OUT_OF_REACH = (
    "The study cannot be reached at the moment. Please leave this page open: it tries again by itself, and what you "
    "have answered is kept."
)
READABLE = 760  # px, width of what is to be read
SLOT, TYPED = "memory_slot", "typed_id"  # session state: where the browser keeps the token; an id that is taken
DETAILS = ("STUDY_ID", "SESSION_ID")  # of a recruiting service, kept beside the id


def participant_frame(render: Callable[[], None]) -> None:
    """Draw a page that shows the study and nothing else of the app."""
    st.set_page_config(page_title="Study", page_icon=ICON, layout="wide")
    with errors_as_sentences():
        require(settings(), "take part")
        with _until_the_database_is_back():
            render()


@contextmanager
def _until_the_database_is_back() -> Iterator[None]:
    """Say that the study is out of reach, and nothing of where it lies, and draw the page again by itself."""
    try:
        yield
    except UNREACHABLE:
        logger.exception("the study database is out of reach")
        st.warning(OUT_OF_REACH, icon=":material/cloud_off:")
        st.fragment(_draw_again, run_every=RETRY)()


def _draw_again() -> None:
    """Draw the page anew, but for the first call, which is part of drawing it."""
    st.session_state[TRYING] = not st.session_state.get(TRYING, False)
    if not st.session_state[TRYING]:
        st.rerun()


def from_the_top(place: str) -> None:
    """Let the browser show a page from its top when it comes to it; ``place`` names the page. Call it last."""
    script_component("top")(key="top", data={"place": place})


@cache
def script_component(name: str) -> Any:
    """Register a component that is one script of the study's assets; its mount returns what the browser says."""
    script = (ASSETS / "study" / f"{name}.js").read_text(encoding="utf-8")
    return st.components.v2.component(f"study_{name}", js=script)


def present(store: Store) -> Standing | None:
    """Return who is here and where they stand; None while that is being asked or cannot be.

    On entry the external id is exchanged for a random token, which replaces it in the address.
    """
    key = st.query_params.get("study", "")
    token = st.query_params.get(TOKEN)
    if token is None:
        _enter(store, key)
        return None
    if (slot := st.session_state.get(SLOT)) is not None:
        script_component("memory")(key="memory", data={"slot": slot, "token": token})
    at = look(store, key, token)
    if at is None:
        st.info(_why_nobody(store, key, token), icon=":material/tab:")
        return None
    return _only_tab(store, replace(at, who=flow.seen(store, at.who)))


def _why_nobody(store: Store, key: str, token: str) -> str:
    """Return why a token of the address finds nobody, and what to do."""
    if not re.fullmatch("[0-9a-f]{32}", token):
        return "This address is incomplete. Please open the link that you were given once more: no answer is lost."
    if moved_on(store, key, token):
        return "You have opened this study again elsewhere. Please go on there: no answer is lost."
    return "There are no data at this address: they were deleted. You can close this page."


def _only_tab(store: Store, at: Standing) -> Standing | None:
    """A newer tab takes over; the old one says so and may take over again."""
    if TAB not in st.session_state:
        st.session_state[TAB] = secrets.token_hex(8)
        return replace(at, who=flow.claim(store, at.who, st.session_state[TAB]))
    if owns(at.who, st.session_state[TAB]):
        return at
    st.info("The study goes on in a newer tab or window. You can close this one.", icon=":material/tab:")
    if st.button("Go on here instead", key="claim"):
        flow.claim(store, at.who, st.session_state[TAB])
        st.rerun()
    return None


def _enter(store: Store, key: str) -> None:
    """Enter with the id of the address, or ask for one."""
    if not key:
        st.title("Study")
        st.info("This address is incomplete: please open the whole link that you were given.", icon=":material/link:")
        return
    query = st.query_params.to_dict()
    preview, external = is_preview(query), None
    admit = None
    if preview:
        signer(settings()).check_preview(query, key, store.clock())
    else:
        design = opened(store, key).design
        if not is_signed(query):
            admit = partial(_count_arrival, key, design.arrivals_per_minute)
        external = arriving_id(query, key, design.entry, signer(settings()), store.clock())
        if external is None:
            external = st.session_state.get(TYPED) or _typed_id(design)
        if external is None:
            return
        st.session_state[SLOT] = text_sha256(f"{key} {external}")[:16] if external else None
    details = {name: st.query_params[name][:100] for name in DETAILS if name in st.query_params}
    begin = partial(
        enter,
        store,
        key,
        external_id=external or None,
        details=details,
        is_preview=preview,
        signed=is_signed(query),
        admit=admit,
    )
    try:
        entry = begin()
    except TakenError as taken:
        if st.session_state.get(TYPED) != external:
            st.session_state[TYPED] = external
            st.rerun()  # without the form in which it was typed
        found = _shown_whose(begin, str(taken))
        if found is None:
            return
        entry = found
    st.session_state.pop(TYPED, None)
    st.query_params.from_dict({"study": key, TOKEN: entry.token})
    st.rerun()


_arrivals: dict[tuple[str, int], Attempts] = {}  # of each study that the server has let somebody in for


def _count_arrival(key: str, most: int) -> None:
    """Count somebody new from the network that asks; behind a proxy that does not pass it on nobody's is known.

    Raises:
        ConfigError: as many as may have come from there within the last minute.
    """
    asks = evidence()
    client = client_of(asks)
    if is_loopback(asks.peer) and client.endswith(" "):
        return
    counted = _arrivals.setdefault((key, most), Attempts(most, in_all=None))
    if (wait := counted.take(client)) > 0:
        raise ConfigError(
            f"Many people have begun from your network just now: please reload this page in {math.ceil(wait)} seconds."
        )


def _shown_whose(begin: Callable[..., Participation], taken: str) -> Participation | None:
    """Go on with an id that somebody has begun with, by the browser's memory or the return code; None: not yet."""
    st.title("Study", anchor=False)
    said = script_component("memory")(
        key="memory", data={"slot": st.session_state[SLOT]}, on_held_change=lambda: None
    ).get("held")
    st.info(taken, icon=":material/key:")
    with st.form("return", border=False, width=READABLE):
        typed = st.text_input("Your return code", max_chars=64, key="return_code")
        sent = st.form_submit_button("Go on", type="primary")
    st.button("Use another id", key="another_id", on_click=st.session_state.pop, args=(TYPED, None))
    for token in (typed if sent else None, said):
        try:
            if token:
                return begin(token=return_code(str(token)))
        except TakenError:
            continue
    if sent:
        st.error("This return code does not belong to this id: check both.", icon=":material/error:")
    return None


def _typed_id(design: Design) -> str | None:
    """Ask for an id; return the one that was typed, empty for none; None: not yet."""
    st.title(literal(design.name), anchor=False)
    optional = design.entry == "open"
    with st.form("entry", border=False, width=READABLE):
        typed = st.text_input("Your participant id" + (" (optional)" if optional else ""), max_chars=ID_LENGTH)
        if optional:
            st.caption("If you were not given one, leave this empty.")
        if st.form_submit_button("Start", type="primary"):
            return typed_id(typed, design.entry)
    return None
