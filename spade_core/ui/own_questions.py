"""A design's own questions as ordinary form controls, for the plain form of a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from spade_core.study.design.questions import Rating, Text

OPTIONAL = "(optional)"


def ask_plainly(asked: Sequence[Rating | Text], trial_id: str) -> dict[str, Any]:
    """Draw the questions of a trial; return what is filled in, by name, None where nothing is."""
    return {question.name: _CONTROLS[question.kind](question, f"{question.name}_{trial_id}") for question in asked}


def first_missing(asked: Sequence[Rating | Text], given: Mapping[str, Any]) -> str | None:
    """Return the text of the first required question without a reply, or None."""
    empty = (None, "")
    return next((one.text for one in asked if one.required and given.get(one.name) in empty), None)


def _label(question: Rating | Text) -> str:
    return question.text if question.required else f"{question.text} {OPTIONAL}"


def _rating(question: Rating, key: str) -> int | None:
    ends = dict(zip((question.low, question.high), question.labels, strict=True))
    return st.radio(
        _label(question), range(question.low, question.high + 1), index=None, horizontal=True, key=key,
        format_func=lambda step: f"{step} {ends.get(step, '')}".rstrip(),
    )  # fmt: skip


def _text(question: Text, key: str) -> str:
    return st.text_area(_label(question), max_chars=question.max_length, key=key).strip()


_CONTROLS: Mapping[str, Callable[[Any, str], Any]] = {"rating": _rating, "text": _text}
