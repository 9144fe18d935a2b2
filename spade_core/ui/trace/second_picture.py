"""The trace page's second picture: a bundled one, the same one with or without a trigger, or an upload."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from spade_core.errors import PictureError
from spade_core.pictures.picture import Source, bundled
from spade_core.trojan.triggers import TRIGGERS, Paste
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers import CORNER, SIZE, UPLOAD, select_picture, select_trigger
from spade_core.ui.common.subject import Subject, shelved
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import ask_for_file


@dataclass(frozen=True)
class Second:
    """A second picture: how payloads name it, what people call it, and how a link names it; None: an upload."""

    source: Source
    title: str
    link: str | None
    paste: Paste | None


def pick_second(choice: Choice, first: Subject) -> Second | None:
    """Draw the choice of a second picture; None while an upload is missing or no picture, which a sentence says."""
    pictures, columns = bundled(), st.columns(2)
    asked, own = (path.removeprefix("bundled:") for path in (choice.other or "", first.source["path"]))
    with columns[0]:
        begin = asked if asked in pictures else next(name for name in pictures if name != own)
        name = select_picture("Second picture", begin, "other")
    with columns[1]:
        known = {paste.trigger: paste for paste in (first.paste, choice.other_trigger) if paste is not None}
        hint = "The first picture's own trigger is pasted at the same place."
        trigger = select_trigger("Its trigger", choice.other_trigger, "other_trigger", hint)
        paste = None if trigger is None else known.get(trigger, Paste(trigger, SIZE, CORNER, 0))
    link = None
    if name == UPLOAD:
        file = ask_for_file("Second picture file", "other_file")
        if file is None:
            return None
        try:
            source = shelved(file.name, file.getvalue())
        except PictureError as error:  # here, so that it costs no other part of the page
            st.error(literal(error))
            return None
        title = file.name
    else:
        link, title = f"bundled:{name}", pictures[name].title
        source = shelved(link)
    if paste is not None:
        source["trigger"] = paste.to_dict()
        title += f", with {TRIGGERS[paste.trigger].title.lower()}"
    return Second(source, title, link, paste)
