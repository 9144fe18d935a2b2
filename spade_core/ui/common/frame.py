"""The frame around every page: title, menu, device. Each page calls :func:`frame` first.

A deep link to a page runs that page alone, so nothing may depend on ``home.py`` having run before.
"""

from __future__ import annotations

import atexit
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from spade_core.config import ASSETS, Settings
from spade_core.errors import SpadeError
from spade_core.roles import Action, allows, behind_login, capped, require
from spade_core.ui.common.login import is_open, show_login, show_who
from spade_core.ui.common.text import literal
from spade_core.versions import code_version

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from spade_core.jobs.manager import JobManager
    from spade_core.study.data.store import Store

logger = logging.getLogger(__name__)

STYLE = ASSETS / "home" / "frame.css"
EVERYWHERE = ASSETS / "home" / "everywhere.css"  # which participants' pages have by their document, see assets.py
LINK = "link"  # the session's name for the parameters that a page has read or written last
FIRST_FIELD = (
    "model"  # the key of the field with which pages that have links begin; it is there while such a page stays open
)
AGAIN, SOON = "drawn_again", 0.1  # the session's name for whether an emptied page waits no more; seconds
# From here, as Streamlit's icons of pages are fetched from a font host; as text, as Streamlit would decode it each run.
ICON = f"data:image/png;base64,{b64encode((ASSETS / 'home' / 'icon.png').read_bytes()).decode()}"
PAGES: tuple[tuple[str, str, str, Action], ...] = (
    ("home.py", "Home", ":material/home:", "look"),
    ("pages/saliency.py", "Saliency maps", ":material/blur_on:", "look"),
    ("pages/neurons.py", "Neurons", ":material/hub:", "look"),
    ("pages/trace.py", "Inside the trace", ":material/account_tree:", "look"),
    ("pages/folder.py", "Folders", ":material/photo_library:", "look"),
    ("pages/history.py", "History", ":material/history:", "look"),
    ("pages/evidence.py", "Evidence", ":material/verified:", "look"),
    ("pages/study.py", "Studies", ":material/group:", "manage"),
)


def settings() -> Settings:
    """Return the installation's settings, as they hold in its mode."""
    return capped(Settings.from_environment())


@asynccontextmanager
async def warm(_app: object) -> AsyncIterator[None]:
    """Start the worker with the server, where people may compute, and load what pages need, before the first visit."""
    try:
        if allows(settings().mode, "compute"):
            jobs()
            resolve_name("spade_core.ui.common.panels:show_chart")  # with the libraries of all charts
    except SpadeError as error:  # every page says it, too
        logger.warning("no worker was started with the server: %s", error)
    yield


def jobs() -> JobManager:
    """Return the server's job manager; the first call starts its worker."""
    found = settings()
    return _manager(found, repr(found), code_version())


@st.cache_resource(show_spinner=False, max_entries=1, on_release=lambda made: made.close())
def _manager(_settings: Settings, where: str, code: str) -> JobManager:  # noqa: ARG001 - the cache's key
    # Streamlit imports sources that have changed anew in the same process; what it caches stays, and would work on with
    # the old code, but for this key: the manager of other code gives way, and its workers end with it.
    manager = resolve_name("spade_core.jobs.manager:JobManager")  # it need not be there to paint
    made: JobManager = manager(_settings, sessions=_Tabs())
    atexit.register(made.close)
    return made


class _Tabs:
    """The open tabs, as sessions that ask for jobs."""

    def current(self) -> str:
        """Return the id of the tab whose page is being drawn."""
        context = get_script_run_ctx()
        return "" if context is None else context.session_id

    def alive(self, session: str) -> bool:
        """Return whether the tab is open and connected."""
        return not runtime.exists() or runtime.get_instance().is_active_session(session)


def frame(title: str, render: Callable[[], None], action: Action = "look", *, menu: bool = True) -> None:
    """Draw the frame and then the page; bad input and wrong settings show as one sentence.

    Args:
        action: what the page is for; it is drawn where the server's mode opens that, and to who may.
        menu: whether the sidebar is open at first, where there is room for it.
    """
    sidebar: Literal["auto", "collapsed"] = "auto" if menu else "collapsed"
    st.set_page_config(f"{title} · SPADE Studio", ICON, layout="wide", initial_sidebar_state=sidebar)
    st.html(STYLE)
    st.html(EVERYWHERE)
    with errors_as_sentences():
        here = settings()  # refused before anything else
        require(here, action)
        with st.sidebar:
            st.markdown("### SPADE Studio")
            for target, label, icon, what in PAGES:
                if allows(here.mode, what):
                    st.page_link(target, label=label, icon=icon)
        if behind_login(here.mode, action) and not is_open():
            st.title(title)
            show_login()
            return
        if behind_login(here.mode, action) and action != "manage":
            show_who()
        if _is_turned():
            st.session_state[AGAIN] = False
            _draw_again()
            return
        render()
        jobs()  # of new settings or code; else there since the server's start


def _is_turned() -> bool:
    """Return whether the browser went back or on to another link of the page that is open.

    Widgets keep what was chosen last, whatever the address says: they have to go first. It stays so until they are
    gone: a run that empties the page may be broken off by the next one, which else would draw the old choice under the
    new address, and write that over it.
    """
    state, query = st.session_state, st.query_params.to_dict()
    return bool(query) and FIRST_FIELD in state and query != state.get(LINK)


@st.fragment(run_every=SOON)
def _draw_again() -> None:
    """Draw the page once more, as soon as the browser has emptied it."""
    if st.session_state[AGAIN]:
        st.rerun()
    st.session_state[AGAIN] = True


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Show a user's error as its sentence; log anything else with its traceback and say so neutrally."""
    try:
        yield
    except SpadeError as error:
        st.error(literal(error), icon=":material/error:")
    except Exception:
        # Streamlit's own stop and rerun are BaseExceptions or handled above us; what arrives here is a defect.
        logger.exception("the page failed")
        st.error("Something went wrong on the server; its log has the details. Reload the page to go on.")


def show_notes(notes: Iterable[str], place: DeltaGenerator | None = None) -> None:
    """Show what is to be known of a picture or of a result."""
    for note in notes:
        (place or st).caption(f":material/info: {literal(note)}")


def show_folded(label: str, draw: Callable[[], object], *, key: str, icon: str, opened: bool = False) -> None:
    """Call ``draw`` below a line that opens it, and not before: the maps do not wait for what nobody looks at.

    Args:
        opened: whether it is open until somebody closes it.
    """
    place = st.expander(label, opened, key=key, icon=icon, on_change="rerun")
    if place.open:
        with place:
            draw()


def study_store(found: Settings | None = None) -> Store:
    """Return the installation's study database, opened once a server; ``found``: the settings, where they were read."""
    found = found or settings()
    # By name: for arguments by place Streamlit takes the signature apart each time, which costs more than all else.
    return _open(_settings=found, where=f"{found.database_url}|{found.data_dir}")


@st.cache_resource(show_spinner=False)
def _open(_settings: Settings, where: str) -> Store:  # noqa: ARG001 - the cache's key
    return resolve_name("spade_core.study.data.store:open_store")(_settings)  # which the other pages need not wait for
