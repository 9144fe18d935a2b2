"""Several pictures for one neuron: which ones, and the row of images that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from spade_core.models.registry import DEFAULT_MODEL, MODELS, TROJAN_MODEL
from spade_core.pictures.picture import bundled
from spade_core.trojan.triggers import TRIGGERS
from spade_core.ui.common.downloads import read_json, zip_files
from spade_core.ui.common.subject import Subject, shelved
from spade_core.ui.neurons.panels import framed

THIS = "this"
MOST = 4


@dataclass(frozen=True)
class Facet:
    """One picture of the row; ``source`` is what payloads name it by, its trigger included."""

    title: str
    source: Mapping[str, Any]


def pick_facets(subject: Subject) -> list[Facet]:
    """Draw the choice of pictures: the page's own one with its trigger, bundled ones, and uploads; at most four.

    Raises:
        PictureError: an upload is no picture.
    """
    pictures = bundled()
    columns = st.columns([3, 2])
    names = columns[0].multiselect(
        "Pictures", [THIS, *pictures], key="facet_pictures", max_selections=MOST,
        format_func=lambda name: f"This picture: {_title(subject)}" if name == THIS else pictures[name].title,
        help="Two to four pictures of things that the neuron answers to. “This picture” comes with its trigger, so a "
        "triggered picture can stand beside the clean one.",
    )  # fmt: skip
    files = columns[1].file_uploader("Your own pictures", key="facet_files", accept_multiple_files=True)
    found = [_known(name, subject) for name in names]
    found += [Facet(file.name, shelved(file.name, file.getvalue())) for file in files]
    if len(found) > MOST:
        st.caption(f":material/info: Only the first {MOST} pictures are drawn.")
    return found[:MOST]


def _known(name: str, subject: Subject) -> Facet:
    if name == THIS:
        return Facet(_title(subject), subject.source)
    return Facet(bundled()[name].title, shelved(f"bundled:{name}"))


def _title(subject: Subject) -> str:
    known = bundled().get(subject.source["path"].removeprefix("bundled:"))
    title = subject.source["name"] if known is None else known.title
    trigger = subject.source.get("trigger")
    return f"{title}, with {TRIGGERS[trigger['trigger']].title.lower()}" if trigger else title


def pick_judge(subject: Subject) -> dict[str, Any]:
    """Return the spec of the model whose embedding compares the images: another one, unless the drawn one is chosen."""
    own = subject.spec.get("name")
    others = [name for name in (DEFAULT_MODEL, TROJAN_MODEL, *MODELS) if name != own]
    names = [*dict.fromkeys(others), None]
    name = st.selectbox(
        "Compare in the embedding of", names, key=f"judge_{own}",
        format_func=lambda name: "the drawn model itself" if name is None else _model_title(name),
        help="Another model is the fairer judge. Models marked ↓ fetch their weights on first use.",
    )  # fmt: skip
    return subject.spec if name is None else {"name": name}


def _model_title(name: str) -> str:
    return MODELS[name].title + ("" if MODELS[name].offline else " ↓")


def show_facets(files: Mapping[str, bytes], titles: Sequence[str], described: Mapping[str, Any] | None = None) -> None:
    """Show one row: the dense image, then for each picture itself and its SPADE image, with what is to be known."""
    columns = st.columns(len(titles) + 1)
    if "dense.png" in files:
        columns[0].image(files["dense.png"], caption="Dense", width="stretch")
    else:
        columns[0].caption("The first picture comes within seconds.")
    for note in described["notes"]["dense"] if described else ():
        columns[0].caption(f":material/info: {note}")
    for index, (column, title) in enumerate(zip(columns[1:], titles, strict=True)):
        if f"picture_{index}.png" in files:
            picture: Any = files[f"picture_{index}.png"]
            if described:
                picture, _ = framed(picture, described["regions"][index])
            column.image(picture, caption=title, width="stretch")
        if f"spade_{index}.png" in files:
            column.image(files[f"spade_{index}.png"], caption="SPADE", width="stretch")
        if described:
            with column:
                _show_trust(described["fidelity"][index], described["notes"]["spade"][index])


def _show_trust(fidelity: Mapping[str, Any], notes: Sequence[str]) -> None:
    st.caption(
        f"{fidelity['label'].split(',')[0]}: {fidelity['dense_probability']:.1%} dense, "
        f"{fidelity['trace_probability']:.1%} in the trace"
    )
    if fidelity["warning"]:
        st.warning(fidelity["warning"], icon=":material/warning:")
    for note in notes:
        st.caption(f":material/info: {note}")


def show_facet_results(files: Mapping[str, bytes], titles: Sequence[str]) -> None:
    """Show the finished row, how far apart its images are, and its downloads."""
    described = read_json(files["facets.json"])
    st.subheader(described["label"])
    show_facets(files, titles, described)
    st.markdown("**How far apart are they?**")
    figure = distance_figure(described["between"], described["within"])
    st.plotly_chart(figure, width="stretch", key="distances")
    st.caption(f"Cosine distance in the embedding of {described['judge']['name']}.")
    pictures = {name: data for name, data in files.items() if name.endswith((".png", ".json"))}
    st.download_button(
        "Images and manifest (PNG and JSON, zipped)", zip_files(pictures), "facets.zip", "application/zip",
        key="get_facets", on_click="ignore",
    )  # fmt: skip


def distance_figure(between: Sequence[float], within: Sequence[float]) -> go.Figure:
    """Return the pairwise distances of SPADE images (by picture) beside those of dense images (by seed)."""
    figure = go.Figure(
        [
            go.Box(y=list(between), name="SPADE, by picture", boxpoints="all", marker_color="#0f766e"),
            go.Box(y=list(within), name="dense, by seed", boxpoints="all", marker_color="#94a3b8"),
        ]
    )
    figure.update_layout(
        height=260, showlegend=False, margin={"l": 4, "r": 4, "t": 8, "b": 4}, yaxis_title="cosine distance"
    )
    return figure
