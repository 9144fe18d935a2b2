"""One choice among what has titles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def select(label: str, titles: Mapping[T, str], begin: T, key: str, hint: str | None = None) -> T:
    """Return the choice among what has these titles."""
    slugs = list(titles)
    return st.selectbox(label, slugs, slugs.index(begin), format_func=titles.__getitem__, key=key, help=hint)
