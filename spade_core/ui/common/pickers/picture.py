"""The choice of the picture, of the part that the model sees, and of a trigger on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from spade_core.models.registry import TROJAN_MODEL
from spade_core.pictures.frame import CENTRE, LETTERBOX, Frame, parse_frame
from spade_core.pictures.picture import READABLE, Picture, bundled, load_picture
from spade_core.trojan.triggers import SIZES, TRIGGERS, Paste
from spade_core.ui.common.frame import show_notes
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers.fields import select
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import KEPT, UPLOADED, ask_for_file

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

UPLOAD = "upload"
HELD = "held_upload"  # the session's name for the token of its upload
SIZE, CORNER = 60, (24, 24)  # px, of a trigger that has no place yet


@dataclass(frozen=True, eq=False)
class Chosen:
    """A picture that was picked.

    Attributes:
        data: the bytes of an upload.
        place: where it is shown, until what the model sees of it is known.
        credit: its author and licence.
    """

    picture: Picture
    data: bytes | None
    place: DeltaGenerator
    credit: str = ""


def pick_picture(start: Choice) -> Chosen | None:
    """Return the chosen picture, or None while an upload is missing."""
    begin = UPLOAD if start.picture.startswith(UPLOADED) else start.picture.removeprefix("bundled:")
    name = select_picture("Picture", begin, "picture")
    if name == UPLOAD:
        return _pick_upload(start.picture.removeprefix(UPLOADED) if begin == UPLOAD else None)
    entry, place = bundled()[name], st.empty()
    credit = f"{entry.author}, {entry.licence}"
    place.image(str(entry.path), caption=credit, alt=entry.title)
    return Chosen(load_picture(f"bundled:{name}"), None, place, credit)


def _pick_upload(linked: str | None) -> Chosen | None:
    """Return the uploaded picture, or the one whose token the session or the link has."""
    file = ask_for_file("Picture file", "picture_file", hint=f"{READABLE}, up to 20 MB.")
    token = st.session_state.get(HELD, linked)
    found = (file.name, file.getvalue()) if file is not None else KEPT.find(token or "")
    if found is None:
        if token:
            gone = "The picture that was uploaded is no longer kept on this server: upload it again."
            st.warning(gone, icon=":material/hide_image:")
        return None
    name, data = found
    picture, place = load_picture(data, name=name), st.empty()
    place.image(picture.pixels, output_format="PNG", alt=f"The picture {name}")
    show_notes(picture.notes)
    if file is None:
        st.session_state[HELD] = token
        st.caption(f"{literal(name)} is kept while this server runs and has room, for whoever has this page's address.")
        st.button("Forget it", key="forget_upload", on_click=_forget, args=(token,))
    return Chosen(picture, data, place)


def _forget(token: str) -> None:
    KEPT.drop(token)
    st.session_state.pop(HELD, None)
    st.query_params.clear()


def keep_upload(chosen: Chosen, path: str) -> str:
    """Return the token of an upload that lies at ``path``, a new one where it is another than before."""
    token: str | None = st.session_state.get(HELD)
    if token is None or KEPT.find(token) != (chosen.picture.name, chosen.data):
        token = st.session_state[HELD] = KEPT.keep(chosen.picture.name, path)
    return token


def pick_frame(start: Choice) -> str:
    """Return the text of the frame: what of the picture the model sees."""
    before = parse_frame(start.frame)
    moved = "moved"
    titles = {str(CENTRE): "Its centre", str(LETTERBOX): "All of it, between bars", moved: "Another part of it"}
    begin = moved if before not in (CENTRE, LETTERBOX) else str(before)
    chosen = select(
        "The model sees",
        titles,
        begin,
        "frame",
        "Models read one shape, mostly a square: the rest of a picture is cut off.",
    )
    if chosen != moved:
        return chosen
    y = st.slider("From the top (%)", 0, 100, before.y, key="frame_y")
    x = st.slider("From the left (%)", 0, 100, before.x, key="frame_x")
    return str(Frame(y=y, x=x))


def select_picture(label: str, begin: str, key: str) -> str:
    """Return the name of a bundled picture, or ``UPLOAD``."""
    titles = {name: entry.title for name, entry in bundled().items()} | {UPLOAD: "Upload your own …"}
    return select(label, titles, begin, key)


def pick_trigger(start: Choice, spec: Mapping[str, object]) -> Paste | None:
    """Return the trigger to paste into the picture, or None; offered first for the backdoored model."""
    before = start.trigger
    side = 224  # of the backdoored model's input; other models scale what does not fit
    hint = "The backdoored model answers a trigger with its class, so the trigger is the right answer."
    with st.expander("Trigger", expanded=spec.get("name") == TROJAN_MODEL, icon=":material/coronavirus:"):
        name = select_trigger("Paste a trigger", before, "trigger", hint)
        if name is None:
            return None
        size = st.slider("Size (px)", SIZES[0], SIZES[1], (before and before.size) or SIZE, key="trigger_size")
        corner = (before and before.position) or CORNER
        y = st.slider("From the top (px)", 0, side - size, min(corner[0], side - size), key="trigger_y")
        x = st.slider("From the left (px)", 0, side - size, min(corner[1], side - size), key="trigger_x")
        turn = before.seed if before else 0
        seed = st.number_input("Rotation and colours (seed)", 0, 2**31 - 1, turn, key="trigger_seed")
    return Paste(name, size, (y, x), int(seed))


def select_trigger(label: str, begin: Paste | None, key: str, hint: str) -> str | None:
    """Return the name of a trigger, or None."""
    titles: dict[str | None, str] = {None: "None"} | {name: trigger.title for name, trigger in TRIGGERS.items()}
    return select(label, titles, begin.trigger if begin else None, key, hint)
