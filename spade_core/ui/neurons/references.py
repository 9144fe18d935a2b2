"""The neuron page's reference pictures: from which folder, and the crops that excite the neuron most.

Folders come from the installation's settings alone: a text field would let any visitor look into the server's folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.neurons import REFERENCES
from spade_core.pictures.picture import PICTURES
from spade_core.pictures.splits import folder_state
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.frame import settings
from spade_core.ui.common.jobs import files_of
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject
from spade_core.ui.common.text import literal

BUNDLED = "bundled pictures"
CROP = 92  # px
WANTED = (
    "Which pictures excite a neuron is told by a set that holds such pictures, a few hundred photographs or more of "
    "what the model knows: whoever runs this server names its folder as `SPADE_REFERENCES=FOLDER`."
)


def folders(configured: tuple[Path, ...]) -> dict[str, Path]:
    """Return the folders that can be chosen by their names, the bundled pictures last.

    Folders of the same name get their parent's before it, and a number where that is not enough.
    """
    counts = Counter(path.name for path in configured)
    found: dict[str, Path] = {}
    for path in configured:
        name = path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}"
        taken = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({taken + 1})" if taken else name] = path
    return {**found, BUNDLED: PICTURES}


def render_references(choice: Choice, subject: Subject, *, clicked: bool) -> None:
    """Draw the choice of a folder, where there is one, and the crops, as soon as they are there.

    Args:
        clicked: whether a click asked for the neuron; else the pictures are looked for once another one does.
    """
    known = folders(settings().references)
    heading, picker = st.columns([3, 1.4], vertical_alignment="bottom")
    name = next(iter(known))
    if len(known) > 1:
        name = picker.selectbox("Reference pictures from", list(known), key="references_from")
    try:
        state = folder_state(known[name])
    except ConfigError:  # here, so that it costs no other part of the page, and without the server's path
        gone = f"The folder “{name}” of SPADE_REFERENCES is absent or holds no pictures"
        instead = "choose another one, or tell whoever runs this server."
        st.warning(literal(f"{gone}: {instead}"), icon=":material/folder_off:")
        return
    payload = {"model": subject.spec, "layer": choice.layer, "channel": choice.channel, "position": choice.position}
    payload |= {"folder": str(known[name]), "state": state}
    kept = files_of("references", payload, offer=None if clicked else "Look for reference pictures")
    if kept is not None:
        told = f"the crops of “{name}” that excite this channel most"
        if choice.position is not None:
            place = "at its own place (row {}, column {})".format(*choice.position)
            told = f"the pictures of “{name}” that excite this neuron most, {place}"
        heading.markdown(f"**Reference pictures** :gray[{told}]")
        _show(kept)


def _show(files: Mapping[str, bytes]) -> None:
    """Show the crops that excite the neuron; where there are too few, say what it takes."""
    crops: list[dict[str, Any]] = read_json(files["references.json"])["crops"]
    exciting = [index for index, crop in enumerate(crops) if crop["value"] > 0]
    with st.container(horizontal=True, gap="small"):
        for index in exciting:
            alt = f"Reference {index + 1}: part of a picture that excites the neuron"
            caption = f"{crops[index]['value']:.2f}"
            st.image(files[f"reference_{index}.png"], caption=caption, width=CROP, alt=alt)
    if len(exciting) < REFERENCES:
        found = {0: "None of them excites it.", 1: "One of them excites it."}
        told = found.get(len(exciting), f"{len(exciting)} of them excite it.")
        st.caption(f":material/info: {told} {WANTED}")


def chosen_folder() -> dict[str, str]:
    """Return what a payload says of the chosen folder, else of the first; nothing where it is absent or empty."""
    known = folders(settings().references)
    path = known.get(st.session_state.get("references_from", ""), next(iter(known.values())))
    try:
        return {"folder": str(path), "state": folder_state(path)}
    except ConfigError:  # which the reference pictures say
        return {}
