"""Several pictures for one neuron: which ones, and the row of images that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import plotly.graph_objects as go
import streamlit as st

from spade_core.models.registry import DEFAULT_MODEL, MODELS, TROJAN_MODEL
from spade_core.pictures.picture import Source, bundled
from spade_core.pruning.report import Fidelity
from spade_core.trojan.triggers import TRIGGERS
from spade_core.ui.common.downloads import read_json, zip_files
from spade_core.ui.common.frame import show_notes
from spade_core.ui.common.panels import show_chart
from spade_core.ui.common.pickers import model_title, select
from spade_core.ui.common.subject import Subject, shelved
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import ask_for_file
from spade_core.ui.neurons.panels import MARGIN, framed

THIS = "this"
MOST = 4
HINT = (
    "Two to four pictures of things that the neuron answers to. “This picture” comes with its trigger, so a triggered "
    "picture can stand beside the clean one."
)


@dataclass(frozen=True)
class Facet:
    """One picture of the row; ``source`` is what payloads name it by, its trigger included."""

    title: str
    source: Source


def pick_facets(subject: Subject) -> list[Facet]:
    """Draw the choice of pictures: the page's own one with its trigger, bundled ones, and uploads; at most four.

    Raises:
        PictureError: an upload is no picture.
    """
    pictures = bundled()
    columns = st.columns([3, 2])
    this = Facet(_title(subject), subject.source)
    titles = {THIS: f"This picture: {this.title}"} | {name: entry.title for name, entry in pictures.items()}
    names = columns[0].multiselect(
        "Pictures", list(titles), key="facet_pictures", max_selections=MOST, format_func=titles.__getitem__, help=HINT
    )
    with columns[1]:
        files = ask_for_file("Your own pictures", "facet_files", several=True)
    found = [this if name == THIS else Facet(pictures[name].title, shelved(f"bundled:{name}")) for name in names]
    found += [Facet(file.name, shelved(file.name, file.getvalue())) for file in files]
    if len(found) > MOST:
        st.caption(f":material/info: Only the first {MOST} pictures are drawn.")
    return found[:MOST]


def _title(subject: Subject) -> str:
    known = bundled().get(subject.source["path"].removeprefix("bundled:"))
    title = subject.source["name"] if known is None else known.title
    return f"{title}, with {TRIGGERS[subject.paste.trigger].title.lower()}" if subject.paste else title


def pick_judge(subject: Subject) -> dict[str, object]:
    """Return the spec of the model whose embedding compares the images: another one, unless the drawn one is chosen."""
    own = subject.spec.get("name")
    others = [name for name in (DEFAULT_MODEL, TROJAN_MODEL, *MODELS) if name != own and not MODELS[name].missing]
    titles: dict[str | None, str] = {name: model_title(name) for name in others} | {None: "the drawn model itself"}
    hint = "Another model is the fairer judge. Models marked ↓ fetch their weights on first use."
    name = select("Compare in the embedding of", titles, others[0], f"judge_{own}", hint)
    return subject.spec if name is None else {"name": name}


class Notes(TypedDict):
    """What is to be known of the drawings: of the dense ones, and of each SPADE one."""

    dense: list[str]
    spade: list[list[str]]


class Row(TypedDict):
    """``facets.json``, as far as the page shows it."""

    label: str
    judge: dict[str, str]
    notes: Notes
    regions: list[list[int]]
    fidelity: list[dict[str, Any]]
    between: list[float]
    within: list[float]


def show_facets(files: Mapping[str, bytes], titles: Sequence[str], described: Row | None = None) -> None:
    """Show one row: the dense image, then for each picture itself and its SPADE image, with what is to be known."""
    columns = st.columns(len(titles) + 1)
    if "dense.png" in files:
        columns[0].image(
            files["dense.png"], caption="Dense", width="stretch", alt="The neuron, drawn by the dense model"
        )
    else:
        columns[0].caption("The first picture comes within seconds.")
    show_notes(described["notes"]["dense"] if described else (), columns[0])
    for index, (column, title) in enumerate(zip(columns[1:], titles, strict=True)):
        if f"picture_{index}.png" in files:
            data = files[f"picture_{index}.png"]
            picture = framed(data, described["regions"][index])[0] if described else data
            column.image(picture, caption=literal(title), width="stretch", alt=title)
        if f"spade_{index}.png" in files:
            drawn = f"The neuron, drawn by the trace of {title}"
            column.image(files[f"spade_{index}.png"], caption="SPADE", width="stretch", alt=drawn)
        if described:
            fidelity = Fidelity.from_dict(described["fidelity"][index])
            name, dense, trace = fidelity.label.split(",")[0], fidelity.dense_probability, fidelity.trace_probability
            column.caption(f"{literal(name)}: {dense:.1%} dense, {trace:.1%} in the trace")
            if fidelity.warning:
                column.warning(literal(fidelity.warning), icon=":material/warning:")
            show_notes(described["notes"]["spade"][index], column)


def show_facet_results(files: Mapping[str, bytes], titles: Sequence[str]) -> None:
    """Show the finished row, how far apart its images are, and its downloads."""
    described: Row = read_json(files["facets.json"])
    st.subheader(literal(described["label"]))
    show_facets(files, titles, described)
    st.markdown("**How far apart are they?**")
    distances = distance_figure(described["between"], described["within"])
    show_chart(distances, "distances", "How far apart the images of different pictures are, and those of one")
    st.caption(f"Cosine distance in the embedding of {described['judge']['name']}.")
    pictures = {name: data for name, data in files.items() if name.endswith((".png", ".json"))}
    label, data = "Images and manifest (PNG and JSON, zipped)", zip_files(pictures)
    st.download_button(label, data, "facets.zip", "application/zip", key="get_facets", on_click="ignore")


def distance_figure(between: Sequence[float], within: Sequence[float]) -> go.Figure:
    """Return the pairwise distances of SPADE images (by picture) beside those of dense images (by seed)."""
    figure = go.Figure(go.Box(y=list(between), name="SPADE, by picture", boxpoints="all", marker_color="#0f766e"))
    figure.add_trace(go.Box(y=list(within), name="dense, by seed", boxpoints="all", marker_color="#94a3b8"))
    figure.update_layout(height=260, showlegend=False, margin=MARGIN, yaxis_title="cosine distance")
    return figure
