"""Chosen pictures as payloads name them; each is decoded once, and not again whenever the page is drawn."""

from __future__ import annotations

import hashlib
from typing import Any

import streamlit as st

from spade_core.pictures.picture import load_picture
from spade_core.ui.common.frame import jobs

CHECKED = 512  # pictures that are known to be some


def shelved(name: str, data: bytes | None = None) -> dict[str, Any]:
    """Return how payloads name a picture: an upload's ``data``, or ``bundled:NAME``.

    Raises:
        PictureError: the upload is no picture.
        ConfigError: it cannot be kept.
    """
    content = "" if data is None else hashlib.sha256(data).hexdigest()
    return jobs().shelve(name, _checked(name, content, data), data)


@st.cache_data(max_entries=CHECKED, show_spinner=False)
def _checked(name: str, content: str, _data: bytes | None) -> str:  # noqa: ARG001 - the content is the key
    """Return the picture's sha256, once it has been decoded."""
    return load_picture(name if _data is None else _data, name=name).sha256
