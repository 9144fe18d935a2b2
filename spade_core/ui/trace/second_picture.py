"""The trace page's second picture: a bundled one, the same one with or without a trigger, or an upload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from spade_core.errors import PictureError
from spade_core.pictures.picture import bundled
from spade_core.trojan.triggers import TRIGGERS, Paste
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject, paste_of, shelved

UPLOAD = "upload"
SIZE, CORNER = 60, (24, 24)  # px, of a trigger that the first picture does not have


@dataclass(frozen=True)
class Second:
    """A second picture: how payloads name it, what people call it, and what a link says of it (an upload: nothing)."""

    source: dict[str, Any]
    title: str
    link: dict[str, Any]


def pick_second(choice: Choice, first: Subject) -> Second | None:
    """Draw the choice of a second picture; None while an upload is missing or no picture, which a sentence says."""
    pictures = bundled()
    names = [*pictures, UPLOAD]
    columns = st.columns(2)
    name = columns[0].selectbox(
        "Second picture", names, index=_wanted(choice, first, names), key="other",
        format_func=lambda item: "Upload your own …" if item == UPLOAD else pictures[item].title,
    )  # fmt: skip
    with columns[1]:
        paste = _pick_trigger(choice, paste_of(first.source))
    if name == UPLOAD:
        file = st.file_uploader("Second picture file", key="other_file")
        if file is None:
            return None
        try:
            source = shelved(file.name, file.getvalue())
        except PictureError as error:  # here, so that it costs no other part of the page
            st.error(str(error))
            return None
        title, link = file.name, {}
    else:
        source = shelved(f"bundled:{name}")
        title, link = pictures[name].title, {"other": f"bundled:{name}", "other_trigger": paste}
    if paste is not None:
        source["trigger"] = paste.to_dict()
        title += f", with {TRIGGERS[paste.trigger].title.lower()}"
    return Second(source, title, link)


def _wanted(choice: Choice, first: Subject, names: list[str]) -> int:
    """Return the place of the link's second picture, or of the first one that is another picture."""
    asked = (choice.other or "").removeprefix("bundled:")
    own = first.source["path"].removeprefix("bundled:")
    return names.index(asked) if asked in names else next(i for i, name in enumerate(names) if name != own)


def _pick_trigger(choice: Choice, first: Paste | None) -> Paste | None:
    known = {paste.trigger: paste for paste in (first, choice.other_trigger) if paste is not None}
    names = [None, *TRIGGERS]
    asked = choice.other_trigger.trigger if choice.other_trigger else None
    name = st.selectbox(
        "Its trigger", names, index=names.index(asked), key="other_trigger",
        format_func=lambda item: "None" if item is None else TRIGGERS[item].title,
        help="The first picture's own trigger is pasted at the same place.",
    )  # fmt: skip
    return None if name is None else known.get(name, Paste(name, SIZE, CORNER, 0))
