"""Plotly panels of a dense/SPADE pair: hover values, overlay, linked zoom, one colour scale."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.colors import sequential
from plotly.subplots import make_subplots

from spade_core.saliency import shared_range

__all__ = ["pair_figure", "stage_figure", "top_figure"]

DIVERGING, DIFFERENCE = "RdBu_r", "PuOr_r"
# Magma begins with #000004, which Streamlit takes for the placeholder of its fourth theme colour and replaces.
SEQUENTIAL = ["#020109", *sequential.Magma[1:]]
HEIGHT = 262


def _data_uri(pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def pair_figure(
    crop: np.ndarray, dense: np.ndarray, spade: np.ndarray, *, signed: bool, opacity: float, title: str
) -> go.Figure:
    """Return picture, dense map, SPADE map and difference side by side.

    Args:
        crop: what the model sees, uint8 ``(height, width, 3)``.
        dense, spade: maps ``(height, width)``.
        signed: zero-centred colours.
        opacity: of the maps over the grey picture, 0 to 1.
        title: of the method, for screen readers and the file name of Plotly's camera button.
    """
    limits = shared_range(dense, spade, signed)
    spread = float(np.percentile(np.abs(spade - dense), 99.5)) or float(np.abs(spade - dense).max()) or 1.0
    figure = make_subplots(
        rows=1, cols=4, subplot_titles=("Picture", "Dense", "SPADE", "SPADE minus dense"), horizontal_spacing=0.012
    )
    grey = np.repeat(np.asarray(Image.fromarray(crop).convert("L"))[..., None], 3, axis=2)
    sources = _data_uri(crop), _data_uri(grey)
    figure.add_trace(go.Image(source=sources[0], hoverinfo="skip"), 1, 1)
    for column, values, axis in ((2, dense, "coloraxis"), (3, spade, "coloraxis"), (4, spade - dense, "coloraxis2")):
        figure.add_trace(go.Image(source=sources[1], hoverinfo="skip"), 1, column)
        figure.add_trace(
            go.Heatmap(
                z=values.astype(np.float32), coloraxis=axis, opacity=opacity, zsmooth="fast",
                hovertemplate="x %{x}, y %{y}: %{z:.4g}<extra></extra>",
            ),
            1, column,
        )  # fmt: skip
    colours = DIVERGING if signed else SEQUENTIAL
    bar = {"thickness": 9, "len": 0.82, "tickfont": {"size": 10}}
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 4, "r": 4, "t": 24, "b": 2},
        coloraxis={"colorscale": colours, "cmin": limits[0], "cmax": limits[1], "colorbar": {**bar, "x": 1.0}},
        coloraxis2={"colorscale": DIFFERENCE, "cmin": -spread, "cmax": spread, "colorbar": {**bar, "x": 1.065}},
        meta={"title": title},
        font={"size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    height, width = dense.shape
    figure.update_xaxes(visible=False, matches="x", range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, matches="y", range=[height - 0.5, -0.5], constrain="domain")
    for column in range(1, 5):
        suffix = "" if column == 1 else str(column)
        figure.update_yaxes(scaleanchor=f"x{suffix}", row=1, col=column)
    return figure


def stage_figure(layers: list[dict]) -> go.Figure:
    """Return realised sparsity and output error of every layer, in the network's order."""
    names = [row["name"] for row in layers]
    colours = ["#0f766e" if row["status"] == "pruned" else "#cbd5e1" for row in layers]
    details = [f"{row['stage']} {tuple(row['shape'])}<br>{row['status']}. {row['reason']}" for row in layers]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    figure.add_trace(
        go.Bar(
            x=names, y=[row["realised"] for row in layers], marker_color=colours, customdata=details,
            hovertemplate="%{x}<br>%{customdata}<br>%{y:.1%} zeros<extra></extra>",
        ),
        1, 1,
    )  # fmt: skip
    figure.add_trace(
        go.Bar(
            x=names, y=[row["error"] for row in layers], marker_color="#d97706",
            hovertemplate="%{x}<br>relative output error %{y:.3g}<extra></extra>",
        ),
        2, 1,
    )  # fmt: skip
    figure.update_yaxes(title_text="zeros", tickformat=".0%", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title_text="output error", row=2, col=1)
    figure.update_xaxes(showticklabels=False)
    figure.update_layout(height=300, showlegend=False, margin={"l": 4, "r": 4, "t": 8, "b": 4}, bargap=0.15)
    return figure


def top_figure(names: Sequence[str], probabilities: Sequence[float]) -> go.Figure:
    """Return class probabilities as bars, the first on top."""
    figure = go.Figure(
        go.Bar(
            x=list(probabilities), y=list(names), orientation="h", marker_color="#0f766e", cliponaxis=False,
            text=[f"{value:.1%}" for value in probabilities], textposition="outside", hoverinfo="skip",
        )
    )  # fmt: skip
    figure.update_layout(height=40 + 34 * len(names), margin={"l": 4, "r": 60, "t": 4, "b": 4}, bargap=0.35)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure
