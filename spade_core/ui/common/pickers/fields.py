"""One choice among what has titles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def matching(titles: Mapping[T, str], text: str) -> dict[T, str]:
    """Return the entries whose titles hold every word of ``text``, in any case; all of them where none does.

    A number is read with the word before it, and whole.

    >>> matching({0: "Stage 3, pointwise, 30 x 30", 1: "Stage 30, pointwise", 2: "Stage 3, depthwise"}, "point stage 3")
    {0: 'Stage 3, pointwise, 30 x 30'}
    """
    words = [re.escape(word) for word in re.findall(r"[^\W\d]+ +\d+(?!\S)|\S+", text.casefold())]
    whole = [re.compile(rf"{word}(?!\d)" if word[-1].isdigit() else word) for word in words]
    found = {slug: title for slug, title in titles.items() if all(word.search(title.casefold()) for word in whole)}
    return found or dict(titles)


def select(label: str, titles: Mapping[T, str], begin: T, key: str, hint: str | None = None) -> T:
    """Return the choice among what has these titles."""
    slugs = list(titles)
    return st.selectbox(label, slugs, slugs.index(begin), format_func=titles.__getitem__, key=key, help=hint)
