"""What a page shows of a job and of a result."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from spade_core.saliency import METHODS
from spade_core.ui.common.downloads import read_array
from spade_core.ui.common.plots import pair_figure, stage_figure, top_figure

WAIT_STEP = 0.1
NOTABLE = 0.0005  # change of a probability below which it rounds to nothing
FIGURES = 24  # kept for all users, about 2 MB each


def show_fidelity(fidelity: Mapping[str, Any], sparsity: float, seconds: float) -> None:
    """Show what the trace still predicts, beside what it keeps."""
    columns = st.columns([2.2, 1.4, 1, 1])
    columns[0].metric("Explained class", str(fidelity["label"]).split(",")[0])
    change = fidelity["trace_probability"] - fidelity["dense_probability"]
    columns[1].metric(
        "Its probability in the trace", f"{fidelity['trace_probability']:.1%}",
        f"{change:+.1%} against dense" if abs(change) >= NOTABLE else "as in the dense model",
        delta_color="normal" if abs(change) >= NOTABLE else "off",
    )  # fmt: skip
    columns[2].metric("Weights removed", f"{sparsity:.1%}")
    columns[3].metric("Trace computed in", f"{seconds:.1f} s")
    if fidelity["warning"]:
        st.warning(fidelity["warning"], icon=":material/warning:")


def show_pairs(
    files: Mapping[str, bytes],
    methods: tuple[str, ...],
    opacity: float,
    described: Mapping[str, Any] | None = None,
) -> int:
    """Draw the panels of every method whose two maps are there; return how many.

    ``described`` is the manifest's entry of every method; where a trigger was pasted it holds the scores.
    """
    drawn = 0
    for slug in methods:
        names = ("crop.npy", f"dense_{slug}.npy", f"spade_{slug}.npy")
        if not all(name in files for name in names):
            continue
        method = METHODS[slug]
        st.markdown(f"**{method.title}**  :gray[{method.help}]")
        _show_scores((described or {}).get(slug, {}))
        figure = _figure(*(files[name] for name in names), slug, opacity)
        st.plotly_chart(figure, width="stretch", key=f"pair_{slug}", config={"displaylogo": False})
        drawn += 1
    return drawn


@lru_cache(maxsize=FIGURES)
def _figure(crop: bytes, dense: bytes, spade: bytes, slug: str, opacity: float) -> go.Figure:
    """Return a pair's figure; the page is drawn more often than its maps change."""
    arrays = [read_array(data) for data in (crop, dense, spade)]
    return pair_figure(*arrays, signed=METHODS[slug].signed, opacity=opacity, title=METHODS[slug].title)


def _show_scores(method: Mapping[str, Any]) -> None:
    if "trojan_auc" not in method.get("dense", {}):
        return
    auc = {side: method[side]["trojan_auc"] for side in ("dense", "spade")}
    hit = {side: "hit" if method[side]["pointing_game"] else "miss" for side in ("dense", "spade")}
    change = auc["spade"] - auc["dense"]
    colour = "green" if change > 0 else "red"
    st.markdown(
        f"Trojan AUC: dense **{auc['dense']:.1f}**, SPADE **{auc['spade']:.1f}** (:{colour}[{change:+.1f}]) · "
        f"Pointing Game: dense {hit['dense']}, SPADE {hit['spade']}"
    )


def show_top(labels: list[str], probabilities: list[float], count: int = 5) -> None:
    """Show the dense model's most probable classes as bars."""
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:count]
    # As a Plotly figure, the browser has its largest library loaded before the first maps arrive.
    figure = top_figure([labels[index] for index in order], [probabilities[index] for index in order])
    st.plotly_chart(figure, width="stretch", key="top", config={"displayModeBar": False})


def show_layers(described: Mapping[str, Any]) -> None:
    """Show every layer's sparsity and error, and the table behind it."""
    with st.expander("Inside the trace: every layer", icon=":material/layers:"):
        st.plotly_chart(stage_figure(described["layers"]), width="stretch", key="layers_plot")
        st.dataframe(
            [{**row, "shape": " x ".join(map(str, row["shape"]))} for row in described["layers"]], key="layers_table"
        )


def show_predictions(described: Mapping[str, Any]) -> None:
    """Show both top-5 side by side."""
    with st.expander("What both networks predict", icon=":material/format_list_numbered:"):
        show_top_tables(described, *st.columns(2))


def show_top_tables(described: Mapping[str, Any], dense: Any, trace: Any) -> None:
    """Show the top-5 of both networks, each in its container."""
    for place, title, name in ((dense, "Dense", "prediction"), (trace, "Trace", "trace_prediction")):
        rows = [{"class": row["label"], "probability": f"{row['probability']:.1%}"} for row in described[name]]
        place.markdown(f"**{title}**")
        place.dataframe(rows, key=f"top_{name}")
