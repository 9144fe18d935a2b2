"""Folders of the server's computer that people name by their path."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.study.admission.access import is_local
from spade_core.ui.common.frame import settings
from spade_core.ui.common.login import evidence


def may_type() -> bool:
    """Return whether a folder may be named by its path: on a server for oneself, from that computer alone.

    Whoever names a folder learns what lies in it, and is shown it.
    """
    return settings().mode == "local" and is_local(evidence())


def type_folder(key: str, example: str, hint: str) -> Path | None:
    """Draw the field of a folder's path, with ``hint`` below it while it is empty; return None then.

    Raises:
        ConfigError: it is no whole path.
    """
    typed = st.text_input("Path of the folder", key=key, placeholder=example).strip()
    if not typed:
        st.caption(hint)
        return None
    with suppress(RuntimeError, ValueError):  # of a home that there is not, or that has no name
        if (path := Path(typed).expanduser()).is_absolute():
            return path
    raise ConfigError("Give the whole path of the folder, from / on.")
