"""Actions of the experimenter's page: each looks at the door once more before it acts, and errors become notices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Literal, ParamSpec

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from spade_core.errors import ConfigError, SpadeError
from spade_core.jobs.manager import JobManager
from spade_core.roles import require
from spade_core.study.admission.access import Evidence, decide
from spade_core.ui.common.frame import settings
from spade_core.ui.common.jobs import CHANGE_AND_START, SHORT, Draw, outcome, remember, remembered
from spade_core.ui.common.login import evidence
from spade_core.ui.common.text import literal

logger = logging.getLogger(__name__)

P = ParamSpec("P")
NOTICES = "study_notices"


def require_access(shown: Evidence | None = None) -> None:
    """Look at the door once more, against the settings as they are now.

    Args:
        shown: taken when the page was drawn, for what runs outside it, such as a download; None: of now.

    Raises:
        ConfigError: it is closed, or no studies are run on this server.
    """
    require(settings(), "manage")
    if decide(settings(), evidence() if shown is None else shown) == "closed":
        raise ConfigError("You are not logged in any more: reload the page.")


def checked(make: Callable[[], bytes | str], shown: Evidence) -> bytes | str:
    """Return what a download button gives, made when it is pressed, after another look at the door.

    Raises:
        ConfigError: the door is closed.
    """
    require_access(shown)
    return make()


def offer(
    place: DeltaGenerator,
    title: str,
    file: str,
    make: Callable[[], bytes | str],
    key: str,
    kind: Literal["primary", "secondary"] = "secondary",
    mime: str | None = None,
) -> None:
    """Draw a button that downloads a file, made when it is pressed, after another look at the door."""
    place.download_button(title, partial(checked, make, evidence()), file, mime, key, on_click="ignore", type=kind)


def guarded(action: Callable[P, object]) -> Callable[P, None]:
    """Return a widget's callback: access is checked again, and errors become notices."""

    @wraps(action)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            require_access()
            action(*args, **kwargs)
        except SpadeError as error:
            notify(str(error), "error")
        except Exception:
            logger.exception("an action failed")
            notify("Something went wrong on the server; its log has the details.", "error")

    return run


def follow_asked(
    manager: JobManager,
    slot: str,
    kind: str,
    payload: Callable[[], Mapping[str, object]],
    show: Draw,
    *,
    pressed: bool,
    cancelled: str = CHANGE_AND_START,
) -> None:
    """Submit a job where its button was ``pressed``, and show how it stands or what it found; see :func:`outcome`."""
    if pressed:
        require_access()
        remember(slot, manager.submit(kind, payload()), None)
    ticket, _ = remembered(slot)
    if ticket is None:  # a tab that is new here: what it would ask for may be there already
        ticket = manager.known(kind, payload())
    if ticket is None:
        return
    if not ticket.wait(SHORT).finished:  # a running one becomes the slot's own, wherever the ticket comes from
        remember(slot, ticket, None)
    files = outcome(ticket, slot, cancelled=cancelled, cancel=guarded(ticket.cancel))
    if files is not None:
        show(files)


def notify(text: str, kind: str = "success") -> None:
    """Keep a sentence for the next time the page is drawn."""
    st.session_state.setdefault(NOTICES, []).append((kind, text))


def show_notices() -> None:
    """Show what callbacks had to say, once."""
    for kind, text in st.session_state.pop(NOTICES, []):
        show = {"error": st.error, "warning": st.warning}.get(kind, st.success)
        show(literal(text), icon=f":material/{'check' if kind == 'success' else kind}:")
