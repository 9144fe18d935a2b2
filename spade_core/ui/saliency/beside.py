"""Two analyses beside each other: of two classes, pictures, models or traces, in one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import streamlit as st

from spade_core.errors import PictureError
from spade_core.models.registry import MODELS
from spade_core.pictures.picture import READABLE, Source, bundled
from spade_core.pictures.scales import top_of
from spade_core.pruning.sparsity import PRESETS
from spade_core.saliency import METHODS
from spade_core.ui.common import pickers
from spade_core.ui.common.downloads import read_array
from spade_core.ui.common.jobs import Files, outcome
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject, ask, asked, shelved, show_link
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import KEPT, UPLOADED, ask_for_file
from spade_core.ui.saliency.grid import Panel, Row, show_grid
from spade_core.ui.saliency.maps import VIEWS, spoken

SLOT = "beside"
LINKED = "beside_linked"  # the session's name for a link's comparison that is not yet looked up
KINDS = {"class": "Another class", "picture": "Another picture", "model": "Another model", "trace": "Another trace"}
OWN = "Upload your own …"
HELD = "beside_upload"  # the session's name for the file that was uploaded to lie beside, and its token
GONE = "The other picture, an upload, is no longer kept on this server: upload it again."
NETWORKS = {"spade": "Their traces", "dense": "The dense models"}
WITHOUT_RATIOS = tuple(slug for slug in PRESETS if slug not in ("uniform", "custom"))


@dataclass(frozen=True)
class Other:
    """What is set beside an analysis: how a link names it, and what it is called, as the first is."""

    link: str
    names: tuple[str, str]


def show_beside(files: Files, choice: Choice, subject: Subject, view: str, wanted: str | None) -> None:
    """Offer to set something beside a finished analysis, and show both in a grid.

    Args:
        files: of the analysis of ``choice`` and ``subject``; view: of ``VIEWS``.
        wanted: what a link sets beside it.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        other = _pick_other(choice, subject, wanted or "")
        run = st.button("Compare", key="beside_run", disabled=other is None)
    linked = st.session_state.pop(LINKED, False)
    if (run or linked) and other is not None:
        both = replace(choice, beside=other.link)
        second, of = _second(both, subject)
        ask(SLOT, "analysis", both, of, clicked=not linked, config=second.analysis().to_dict())
        st.session_state["beside_names"] = other.names
        show_link(both, subject, methods=True)
    found = asked(SLOT)
    if found is None:
        return
    if replace(found.choice, beside=None) != choice:
        st.caption(":material/history: Press **Compare** for the maps above.")
        return
    network = st.segmented_control(
        "Maps of", list(NETWORKS), default="spade", format_func=NETWORKS.__getitem__, key="beside_of"
    )
    draw = partial(_draw, files, choice, st.session_state["beside_names"], view, network or "spade")
    done = outcome(found.ticket, SLOT, live=draw)
    if done is not None:
        draw(done)


def _pick_other(choice: Choice, subject: Subject, start: str) -> Other | None:
    """Draw the choice of what is set beside the analysis."""
    before, _, value = start.partition(":")
    kind = st.segmented_control(
        "Beside it", list(KINDS), default=before or "class", format_func=KINDS.__getitem__, key="beside_kind"
    )
    value = value if kind == before else ""
    titles = {} if kind is None else _titles(kind, subject)
    own = _own(kind, choice, subject)
    offered = {slug: title for slug, title in titles.items() if slug != own}
    if kind is None or not offered:
        return None
    token = value.partition(UPLOADED)[2]
    begin = pickers.UPLOAD if token else value if value in offered else next(iter(offered))
    chosen = pickers.select(KINDS[kind], offered, begin, f"beside_{kind}_{subject.identity[0]}")
    first = titles.get(own, subject.source.get("name", "this one"))
    if kind == "picture" and chosen == pickers.UPLOAD:
        return _pick_upload(token, first)
    return Other(f"{kind}:{chosen}", (first, titles[chosen]))


def _pick_upload(token: str, first: str) -> Other | None:
    """Draw the field of a picture of one's own; without a file, return the one that a link's token finds."""
    file = ask_for_file("The other picture's file", "beside_file", hint=f"{READABLE}, up to 20 MB.")
    if file is not None:
        try:
            token = _kept(file.file_id, file.name, file.getvalue())
        except PictureError as error:  # here, so that it costs no other part of the page
            st.error(literal(error))
            return None
    found = KEPT.find(token)
    if found is None:
        if token:
            st.warning(GONE, icon=":material/hide_image:")
        return None
    return Other(f"picture:{UPLOADED}{token}", (first, found[0]))


def _kept(file_id: str, name: str, data: bytes) -> str:
    """Return the token of an upload, one for as long as the same file is there."""
    before, token = st.session_state.get(HELD, ("", ""))
    if before != file_id or KEPT.find(token) is None:
        token = KEPT.keep(name, shelved(name, data)["path"])
        st.session_state[HELD] = file_id, token
    return token


def _titles(kind: str, subject: Subject) -> dict[str, str]:
    """Return what can be set beside it, by the name that a link has, with the title of each."""
    described = subject.described
    if kind == "class":
        order = sorted(range(len(described.labels)), key=lambda index: -described.probabilities[index])
        return {str(index): described.labels[index].split(",")[0] for index in order}
    if kind == "picture":
        return {f"bundled:{name}": entry.title for name, entry in bundled().items()} | {pickers.UPLOAD: OWN}
    if kind == "model":
        return {name: pickers.model_title(name) for name, entry in MODELS.items() if not entry.missing}
    return {slug: PRESETS[slug].title for slug in WITHOUT_RATIOS}


def _own(kind: str | None, choice: Choice, subject: Subject) -> str:
    """Return what the analysis itself has of a kind."""
    if kind == "class" and choice.target is None:
        return str(int(np.argmax(subject.described.probabilities)))
    return {"class": str(choice.target), "picture": subject.link, "model": choice.model}.get(kind or "", choice.preset)


def _second(choice: Choice, subject: Subject) -> tuple[Choice, Subject]:
    """Return the second analysis: the first one's but for what ``choice.beside`` says."""
    kind, _, value = (choice.beside or "").partition(":")
    if kind == "class":
        return replace(choice, target=int(value)), subject
    if kind == "picture":
        source = _source(value)
        if "frame" in subject.source:
            source["frame"] = subject.source["frame"]
        if "trigger" in subject.source:
            source["trigger"] = subject.source["trigger"]
        return replace(choice, target=None), replace(subject, source=source)
    if kind == "model":
        return choice, replace(subject, spec={"name": value})
    return replace(choice, preset=value), subject


def _source(link: str) -> Source:
    """Return how payloads name the picture of a link.

    Raises:
        PictureError: it is an upload that is no longer kept.
    """
    if not link.startswith(UPLOADED):
        return shelved(link)
    found = KEPT.find(link.removeprefix(UPLOADED))
    if found is None:
        raise PictureError(GONE)
    return shelved(*found)


def _draw(
    first: Files, choice: Choice, names: Sequence[str], view: str, network: str, second: Mapping[str, bytes]
) -> None:
    ready = [slug for slug in choice.methods if all(f"{network}_{slug}.npy" in files for files in (first, second))]
    if not ready or "crop.npy" not in second:
        return
    crops = [read_array(files["crop.npy"]) for files in (first, second)]
    same = np.array_equal(crops[0], crops[1])
    rows = []
    for slug in ready:
        maps = [read_array(files[f"{network}_{slug}.npy"]) for files in (first, second)]
        signed = METHODS[slug].signed and not choice.bundle().magnitudes
        panels = beside_panels(maps, names, slug, view, signed=signed, same=same)
        rows.append(Row(slug, METHODS[slug].title, METHODS[slug].help, panels, pair=same))
    show_grid(crops[: 1 if same else 2], rows, key="beside_grid", ends=(names[0], names[1]))
    if not same:
        st.caption("The pictures differ, so no difference is shown and no divider lies between them.")


def beside_panels(
    maps: Sequence[np.ndarray], names: Sequence[str], slug: str, view: str, *, signed: bool, same: bool
) -> list[Panel]:
    """Return two maps ``(height, width)``, processed alike, each in its own unit, and their difference.

    Args:
        same: whether they are of one picture; of two there is no difference.
    """
    title, scale = METHODS[slug].title, "signed" if signed and view == "raw" else "magnitude"
    processed = [VIEWS[view].apply(one, np.abs(one)) for one in maps]
    values = [one / top_of(one) for one in processed]
    panels = [
        Panel(name, spoken(name, title, one), one, scale, picture=0 if same else at)
        for at, (name, one) in enumerate(zip(names, values, strict=True))
    ]
    if same and values[0].shape == values[1].shape:
        gap, name = values[1] - values[0], "Difference"
        panels.append(Panel(name, spoken(name, title, gap), gap, "difference", top_of(gap)))
    return panels
