"""The door of the experimenter's page: who asks, the login, and actions that look once more before they act."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Literal, ParamSpec

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitAuthError, StreamlitMissingAuthlibError

from spade_core.errors import ConfigError, SpadeError
from spade_core.jobs.manager import JobManager
from spade_core.study.admission.access import CLOSED, MAKE_HASH, Evidence, check_password, decide, end_login, refusal
from spade_core.ui.common.frame import settings
from spade_core.ui.common.jobs import CHANGE_AND_START, SHORT, Draw, outcome, remember, remembered

logger = logging.getLogger(__name__)

P = ParamSpec("P")
LOGIN, NOTICES = "study_login", "study_notices"
_WAYS = {"local": "the server's own computer", "password": "the password"}


def request_headers() -> tuple[tuple[str, str], ...]:
    """Return the request's headers, repeated ones each."""
    headers = st.context.headers
    return tuple((name, value) for name in headers for value in headers.get_all(name))


def request_peer() -> str:
    """Return the address that the connection comes from."""
    return st.context.ip_address or "127.0.0.1"  # Streamlit gives None for a connection from localhost


def evidence() -> Evidence:
    """Return what is known of who is at the page."""
    login = st.session_state.get(LOGIN, "")
    return Evidence(st.get_option("server.address"), request_peer(), request_headers(), login, _claims())


def is_open() -> bool:
    """Return whether the page is open to who is at it."""
    return decide(settings(), evidence()) != "closed"


def who_acts() -> str:
    """Return who is at the page, for the record: this computer, whoever has the password, or an address."""
    way, claims = decide(settings(), evidence()), _claims()
    return str((claims or {}).get("email", way)) if way == "oidc" else _WAYS.get(way, way)


def require_access(shown: Evidence | None = None) -> None:
    """Look at the door once more, against the settings as they are now.

    Args:
        shown: taken when the page was drawn, for what runs outside it, such as a download; None: of now.

    Raises:
        ConfigError: it is closed.
    """
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
        show(text, icon=f":material/{'check' if kind == 'success' else kind}:")


def show_login() -> None:
    """Offer the ways in that this installation has."""
    here = settings()
    claims = _claims()
    st.session_state.pop(NOTICES, None)  # of an action that came too late: what follows says why
    if here.admin_password_hash:
        with st.form("study_login_form", border=False):
            given = st.text_input("Password", type="password", key="admin_password")
            if st.form_submit_button("Log in", type="primary"):
                st.session_state[LOGIN] = check_password(here.admin_password_hash, given)
                st.rerun()
    if here.admin_emails and _oidc_is_configured():
        if claims is None:
            if st.button("Log in with your account", key="oidc_login"):
                try:
                    st.login()
                except (StreamlitAuthError, StreamlitMissingAuthlibError) as error:
                    logger.exception("the login cannot begin")
                    fault = "This installation's login is not set up completely; the server's log says why."
                    raise ConfigError(fault) from error
        else:
            st.warning(refusal(claims, here.admin_emails), icon=":material/lock:")
            if st.button("Log out", key="log_out"):
                _log_out()
    elif not here.admin_password_hash:
        st.info(CLOSED, icon=":material/lock:")
        st.caption("The hash of a password is made by:")
        st.code(MAKE_HASH, language="bash", wrap_lines=True)


def show_who() -> None:
    """Say who is logged in, and offer to log out; on the server's own computer nobody is."""
    way, claims = decide(settings(), evidence()), _claims()
    if way not in ("password", "oidc"):
        return
    text, button = st.columns([5, 1], vertical_alignment="center")
    text.caption(f"Logged in as {who_acts()}." if claims and way == "oidc" else "Logged in by the password.")
    if button.button("Log out", key="log_out", width="stretch"):
        _log_out()


def _log_out() -> None:
    st.session_state.pop(LOGIN, None)
    claims = _claims()
    if claims is None:
        st.rerun()
    end_login(claims)
    st.logout()
    st.stop()  # the browser is on its way; nothing more is drawn for whoever was logged in


def _oidc_is_configured() -> bool:
    return hasattr(st.user, "is_logged_in")  # without [auth] in secrets.toml there is no such attribute


def _claims() -> dict[str, object] | None:
    if not _oidc_is_configured() or not st.user.is_logged_in:
        return None
    return dict(st.user.to_dict())
