"""Who is at a page: what is known of the request, the ways to log in, and logging out."""

from __future__ import annotations

import logging

import streamlit as st
from streamlit.errors import StreamlitAuthError, StreamlitMissingAuthlibError

from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.study.admission.access import (
    CLOSED,
    MAKE_HASH,
    Evidence,
    check_password,
    client_of,
    decide,
    end_login,
    refusal,
)
from spade_core.ui.common.text import literal

logger = logging.getLogger(__name__)

LOGIN = "study_login"
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
    return decide(Settings.from_environment(), evidence()) != "closed"


def who_acts() -> str:
    """Return who is at the page, for the record: this computer, whoever has the password, or an address."""
    way, claims = decide(Settings.from_environment(), evidence()), _claims()
    return str((claims or {}).get("email", way)) if way == "oidc" else _WAYS.get(way, way)


def show_login() -> None:
    """Offer the ways in that this installation has."""
    here = Settings.from_environment()
    claims = _claims()
    if here.admin_password_hash:
        with st.form("study_login_form", border=False):
            given = st.text_input("Password", type="password", key="admin_password")
            if st.form_submit_button("Log in", type="primary"):
                st.session_state[LOGIN] = check_password(here.admin_password_hash, given, client=client_of(evidence()))
                st.rerun()
    if here.admin_emails and _oidc_is_configured():
        if claims is None:
            if st.button("Log in with your account", key="oidc_login"):
                try:
                    st.login()
                except (StreamlitAuthError, StreamlitMissingAuthlibError) as error:
                    logger.exception("the login cannot begin")
                    fault = "The login is not set up completely: ask who runs this server, whose log says why."
                    raise ConfigError(fault) from error
        else:
            st.warning(literal(refusal(claims, here.admin_emails)), icon=":material/lock:")
            if st.button("Log out", key="log_out"):
                _log_out()
    elif not here.admin_password_hash:
        st.info(CLOSED, icon=":material/lock:")
        st.caption("The hash of a password is made by:")
        st.code(MAKE_HASH, language="bash", wrap_lines=True)


def show_who() -> None:
    """Say who is logged in, and offer to log out; on the server's own computer nobody is."""
    way, claims = decide(Settings.from_environment(), evidence()), _claims()
    if way not in ("password", "oidc"):
        return
    text, button = st.columns([5, 1], vertical_alignment="center")
    text.caption(f"Logged in as {literal(who_acts())}." if claims and way == "oidc" else "Logged in by the password.")
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
