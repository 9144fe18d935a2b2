"""One choice among what has titles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def matching(titles: Mapping[T, str], text: str) -> dict[T, str]:
    """Return the entries whose titles hold every word of ``text``, in any case; all of them where none does.

    >>> matching({0: "Stage 3, pointwise", 1: "Stage 3, depthwise"}, "point 3")
    {0: 'Stage 3, pointwise'}
    """
    words = text.casefold().split()
    found = {slug: title for slug, title in titles.items() if all(word in title.casefold() for word in words)}
    return found or dict(titles)


def select(label: str, titles: Mapping[T, str], begin: T, key: str, hint: str | None = None) -> T:
    """Return the choice among what has these titles."""
    slugs = list(titles)
    return st.selectbox(label, slugs, slugs.index(begin), format_func=titles.__getitem__, key=key, help=hint)
