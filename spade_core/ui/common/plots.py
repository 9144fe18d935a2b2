"""Plotly panels of a dense/SPADE pair: hover values, overlay, linked zoom, each map in its own unit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.colors import get_colorscale, sample_colorscale, sequential
from plotly.subplots import make_subplots

from spade_core.pruning.report import LayerReport
from spade_core.saliency import colour_limits, top_of

DIVERGING, DIFFERENCE = "RdBu_r", "PuOr_r"
# Magma begins with #000004, which Streamlit takes for the placeholder of its fourth theme colour and replaces.
SEQUENTIAL = ["#020109", *sequential.Magma[1:]]
HEIGHT = 262
APART = 1e-6  # pixels; Plotly.js draws one of two images that lie in exactly the same place
Part: TypeAlias = tuple[str, np.ndarray, str | list[str], tuple[float, float], str]
"""A panel with a map: its title, values, colours, what these span, and the colour axis that numbers it."""
HOVER = 2  # pixels a side of the cells whose mean the pointer reads


def pair_figure(
    crop: np.ndarray,
    dense: np.ndarray,
    spade: np.ndarray,
    *,
    spread: np.ndarray | None = None,
    signed: bool,
    opacity: float,
    title: str,
) -> go.Figure:
    """Return picture, dense map, SPADE map and difference side by side, and the spread of a bundle.

    The colours travel as images of 256 levels, the numbers under the pointer as means of ``HOVER`` x ``HOVER``
    pixels: a fifth of the bytes of the maps themselves, which the page's downloads hold in full.

    Args:
        crop: what the model sees, uint8 ``(height, width, 3)``.
        dense, spade: maps ``(height, width)``; each is shown in a unit of its own, see ``top_of``.
        spread: of a bundle of traces at each pixel, shown in the SPADE map's unit and on the scale of a map that has
            no signs; None: there is one trace.
        signed: zero-centred colours.
        opacity: of the maps over the grey picture, 0 to 1.
        title: of the method, for screen readers and the file name of Plotly's camera button.
    """
    unit = top_of(spade)
    dense, spade = dense / top_of(dense), spade / unit
    limits = colour_limits(signed)
    most = float(np.percentile(np.abs(spade - dense), 99.5)) or float(np.abs(spade - dense).max()) or 1.0
    colours = DIVERGING if signed else SEQUENTIAL
    parts: list[Part] = [
        ("Dense", dense, colours, limits, "coloraxis"),
        ("SPADE", spade, colours, limits, "coloraxis"),
        ("SPADE minus dense", spade - dense, DIFFERENCE, (-most, most), "coloraxis2"),
    ]
    if spread is not None:
        parts.append(("Spread of the traces", spread / unit, SEQUENTIAL, (0.0, 1.0), "coloraxis3"))
    figure = _panels(dense.shape, ["Picture", *(name for name, *_ in parts)])
    figure.add_layout_image(_laid(_photograph(Image.fromarray(crop)), dense.shape, 1))
    grey = _photograph(Image.fromarray(crop).convert("L"))
    for column, (_, values, scale, bounds, axis) in enumerate(parts, 2):
        figure.add_layout_image(_laid(grey, dense.shape, column))
        figure.add_layout_image(_laid(_coloured(values, scale, *bounds), dense.shape, column, opacity))
        figure.add_trace(_numbers(values, axis), 1, column)
    for name, scale, bounds, place in (
        ("coloraxis", colours, limits, 1.0),
        ("coloraxis2", DIFFERENCE, (-most, most), 1.065),
    ):
        bar = {"thickness": 9, "len": 0.82, "tickfont": {"size": 10}, "x": place}
        figure.update_layout({name: {"colorscale": scale, "cmin": bounds[0], "cmax": bounds[1], "colorbar": bar}})
    figure.update_layout(coloraxis3={"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 1, "showscale": False})
    return figure.update_layout(meta={"title": title})


def _panels(shape: tuple[int, ...], titles: Sequence[str]) -> go.Figure:
    """Return empty panels whose axes are the pixels of one picture and zoom together."""
    height, width = shape
    figure = make_subplots(rows=1, cols=len(titles), subplot_titles=titles, horizontal_spacing=0.012)
    figure.update_layout(height=HEIGHT, margin={"l": 4, "r": 4, "t": 24, "b": 2}, font={"size": 12})
    figure.update_layout(paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    figure.update_xaxes(visible=False, matches="x", range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, matches="y", range=[height - 0.5, -0.5], constrain="domain")
    for column in range(1, len(titles) + 1):
        suffix = "" if column == 1 else str(column)
        figure.update_yaxes(scaleanchor=f"x{suffix}", row=1, col=column)
    return figure


def _laid(source: str, shape: tuple[int, ...], column: int, opacity: float | None = None) -> go.layout.Image:
    """Return an image that fills a panel; one with an opacity lies over another."""
    axes = {"xref": f"x{column}", "yref": f"y{column}"}
    place = {"x": -0.5 if opacity is None else -0.5 + APART, "y": -0.5, "sizex": shape[1], "sizey": shape[0]}
    shown = 1.0 if opacity is None else opacity
    return go.layout.Image(source=source, **axes, **place, sizing="stretch", layer="below", opacity=shown)


def _numbers(values: np.ndarray, axis: str) -> go.Heatmap:
    """Return an invisible trace that knows the values under the pointer and the colour bar."""
    height, width = (length // HOVER * HOVER for length in values.shape)
    cells = values[:height, :width].reshape(height // HOVER, HOVER, width // HOVER, HOVER).mean((1, 3))
    first = (HOVER - 1) / 2
    heat = go.Heatmap(z=cells.astype(np.float32), x0=first, dx=HOVER, y0=first, dy=HOVER, coloraxis=axis, opacity=0)
    return heat.update(hovertemplate="x %{x}, y %{y}: %{z:.3f} of the top<extra></extra>")


def _coloured(values: np.ndarray, scale: str | list[str], low: float, high: float) -> str:
    """Return a map in 256 levels of a colour scale, as the address of a PNG."""
    share = (values - low) / ((high - low) or 1.0)
    image = Image.fromarray((np.clip(np.nan_to_num(share), 0, 1) * 255).round().astype(np.uint8), mode="P")
    image.putpalette(_palette(scale if isinstance(scale, str) else tuple(scale)))
    return _address(image, "PNG")


@lru_cache
def _palette(scale: str | tuple[str, ...]) -> bytes:
    colours = get_colorscale(scale) if isinstance(scale, str) else list(scale)
    levels = sample_colorscale(colours, [level / 255 for level in range(256)], colortype="tuple")
    return bytes(round(255 * part) for level in levels for part in level)


def _photograph(image: Image.Image) -> str:
    return _address(image, "JPEG", quality=92, subsampling=0)


def _address(image: Image.Image, form: str, **options: int) -> str:
    out = io.BytesIO()
    image.save(out, format=form, **options)
    return f"data:image/{form.lower()};base64," + base64.b64encode(out.getvalue()).decode()


def stage_figure(layers: Sequence[LayerReport]) -> go.Figure:
    """Return realised sparsity and output error of every layer, in the network's order."""
    names = [row.name for row in layers]
    colours = ["#0f766e" if row.status == "pruned" else "#cbd5e1" for row in layers]
    details = [f"{row.stage} {tuple(row.shape)}<br>{row.status}. {row.reason}" for row in layers]
    zeros = go.Bar(x=names, y=[row.realised for row in layers], marker_color=colours, customdata=details)
    errors = go.Bar(x=names, y=[row.error for row in layers], marker_color="#d97706")
    zeros.hovertemplate = "%{x}<br>%{customdata}<br>%{y:.1%} zeros<extra></extra>"
    errors.hovertemplate = "%{x}<br>relative output error %{y:.3g}<extra></extra>"
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    figure.add_trace(zeros, 1, 1)
    figure.add_trace(errors, 2, 1)
    figure.update_yaxes(title_text="zeros", tickformat=".0%", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title_text="output error", row=2, col=1)
    figure.update_xaxes(showticklabels=False)
    figure.update_layout(height=300, showlegend=False, margin={"l": 4, "r": 4, "t": 8, "b": 4}, bargap=0.15)
    return figure


def top_figure(names: Sequence[str], probabilities: Sequence[float]) -> go.Figure:
    """Return class probabilities as bars, the first on top."""
    bars = go.Bar(x=list(probabilities), y=list(names), orientation="h", marker_color="#0f766e", hoverinfo="skip")
    bars.update(text=[f"{value:.1%}" for value in probabilities], textposition="outside", cliponaxis=False)
    figure = go.Figure(bars)
    figure.update_layout(height=40 + 34 * len(names), margin={"l": 4, "r": 60, "t": 4, "b": 4}, bargap=0.35)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure
