"""Plots of a trace: surviving weights, inputs kept, paths, overlap, fidelity curve."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from spade_core.inspection import Edge, End, Paths, Point
from spade_core.models.naming import layer_title, titled

TEAL, AMBER, GREY = "#0f766e", "#d97706", "#94a3b8"
GOLDEN = 0.618  # turns of a level's places against the one above: lines that pass by then meet few others' nodes
THUMBNAIL = 30  # px, about, of what excites a channel
ROW, TALL = (56, 90), 900  # px of a level of the paths, and of all of them where these bounds allow it
WIDE, LOWER, ROOMY = 4, 0.36, 80  # channels above which every other one of a level stands lower; levels; px of a level
MARGIN = {"l": 4, "r": 4, "t": 8, "b": 4}
Places: TypeAlias = Mapping[tuple[str, int], tuple[float, float]]


def map_figure(values: np.ndarray, shape: Sequence[int], order: str = "") -> go.Figure:
    """Return the map of surviving weights of a whole layer.

    Args:
        values: uint8 ``(rows, columns)``, share of survivors under each cell times 255.
        shape: of the weight; the axes count its rows and flattened columns.
        order: of rows and columns, in words, where it is not the model's: then their numbers mean nothing.
    """
    rows, columns = shape[0], int(np.prod(shape[1:]))
    figure = _heatmap(values, (0, columns / values.shape[1]), (0, rows / values.shape[0]))
    if order:
        figure.update_traces(hovertemplate=None, hoverinfo="skip")
        figure.update_xaxes(showticklabels=False, title=f"inputs, {order}")
        figure.update_yaxes(showticklabels=False, title=f"outputs, {order}")
    return figure


def window_figure(mask: np.ndarray, top: int, left: int) -> go.Figure:
    """Return a part of a layer weight by weight: bool ``(rows, columns)``, whose first cell is ``(top, left)``."""
    return _heatmap(mask.astype(np.uint8) * 255, (left, 1), (top, 1))


def _heatmap(values: np.ndarray, across: tuple[float, float], down: tuple[float, float]) -> go.Figure:
    heat = go.Heatmap(z=values, x0=across[0], dx=across[1], y0=down[0], dy=down[1], zmin=0, zmax=255)
    heat.update(colorscale=[[0, "rgba(148,163,184,0.12)"], [1, TEAL]], showscale=False)
    figure = go.Figure(heat.update(hovertemplate="output %{y:.0f}, input %{x:.0f}<extra></extra>"))
    figure.update_layout(height=420, margin=MARGIN, xaxis_title="inputs (channel, row, column)", yaxis_title="outputs")
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def inputs_figure(kept: np.ndarray, *, by_count: bool = False) -> go.Figure:
    """Return how many inputs each output channel still reads, channel by channel or the fullest first."""
    order = np.argsort(-kept, kind="stable") if by_count else np.arange(len(kept))
    bars = go.Bar(y=kept[order], customdata=order, marker={"color": TEAL, "line": {"width": 0}})
    figure = go.Figure(bars.update(hovertemplate="channel %{customdata}: %{y} inputs kept<extra></extra>"))
    title = "output channels, fullest first" if by_count else "output channel"
    figure.update_layout(height=240, margin=MARGIN, bargap=0, xaxis_title=title, yaxis_title="inputs kept")
    return figure


def curve_figure(points: Sequence[Point]) -> go.Figure:
    """Return the probability of the explained class against the sparsity of the trace."""
    line = go.Scatter(x=[one.sparsity for one in points], y=[one.probability for one in points], mode="lines+markers")
    line.update(line={"color": TEAL}, marker={"size": 10, "color": [TEAL if p.keeps_class else AMBER for p in points]})
    line.update(text=["class kept" if point.keeps_class else "class lost" for point in points])
    figure = go.Figure(line.update(hovertemplate="%{x:.0%} removed: probability %{y:.3f}, %{text}<extra></extra>"))
    titles = {"xaxis_title": "weights removed", "yaxis_title": "probability in the trace"}
    figure.update_layout(height=300, margin=MARGIN, **titles)
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(range=[0, 1.02])
    return figure


class Overlap(TypedDict):
    """How far two traces agree in a layer, and how far two random choices would."""

    layer: str
    jaccard: float
    chance: float


def overlap_figure(rows: Sequence[Overlap]) -> go.Figure:
    """Return the Jaccard index of two traces in every layer, beside what chance would give."""
    names, found = [row["layer"] for row in rows], [row["jaccard"] for row in rows]
    bars = go.Bar(x=names, y=found, marker_color=TEAL, name="both traces", hovertext=list(map(layer_title, names)))
    figure = go.Figure(bars)
    chance = go.Scatter(x=names, y=[row["chance"] for row in rows], mode="lines", line={"color": AMBER})
    figure.add_trace(chance.update(name="chance"))
    figure.update_layout(height=300, margin=MARGIN, yaxis_title="Jaccard index", legend={"orientation": "h", "y": 1.1})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(range=[0, 1])
    return figure


def read_paths(found: Mapping[str, Any]) -> Paths:
    """Return the paths of a result's JSON."""
    edges, ends = tuple(Edge(**one) for one in found["edges"]), tuple(End(**one) for one in found["ends"])
    return Paths(edges, tuple(map(tuple, found["starts"])), tuple(found["layers"]), ends)


def paths_figure(found: Paths, label: str, crops: Mapping[tuple[str, int], np.ndarray] | None = None) -> go.Figure:
    """Return the strongest surviving paths as a graph: the class, called ``label``, on top, a level a layer below.

    Args:
        crops: small pictures of channels, uint8 ``(side, side, 3)``.
    """
    members = found.channels()
    place = {
        (layer, channel): (
            (number + 0.25 + (0.5 + level * GOLDEN) % 1 / 2) / len(channels),
            -level - (LOWER if len(channels) > WIDE and number % 2 else 0),  # on a phone they would overlap
        )
        for level, (layer, channels) in enumerate(members.items())
        for number, channel in enumerate(channels)
    }
    strongest: dict[str, float] = {}
    for edge in found.edges:
        strongest[edge.sink] = max(strongest.get(edge.sink, 0.0), abs(edge.strength))
    figure = go.Figure([_line(edge, place, strongest[edge.sink]) for edge in found.edges])
    shown = {node: crop for node, crop in (crops or {}).items() if node in place}
    figure.add_trace(_nodes(place, found.starts, label, shown))
    least = ROOMY if any(len(channels) > WIDE for channels in members.values()) else ROW[0]
    row = max(least, min(ROW[1], TALL // max(1, len(members))))
    figure.update_layout(images=[_thumbnail(place[node], crop, THUMBNAIL / row) for node, crop in shown.items()])
    above = 14 + (THUMBNAIL // 2 if shown else 2)
    for level, layer in enumerate(members):
        figure.add_annotation(
            x=0, y=-level, text=layer_title(layer), showarrow=False, xanchor="left", yshift=above, font={"size": 11}
        )
    figure.update_layout(height=row * max(2, len(members)) + 60, margin=MARGIN, showlegend=False)
    figure.update_xaxes(visible=False, range=[-0.02, 1.06])
    figure.update_yaxes(visible=False)
    return figure


def _line(edge: Edge, place: Places, most: float) -> go.Scatter:
    ends = place[edge.source, edge.source_channel], place[edge.sink, edge.sink_channel]
    share = abs(edge.strength) / most if most else 0.0
    line = go.Scatter(x=[end[0] for end in ends], y=[end[1] for end in ends], mode="lines", hoverinfo="text")
    style = {"width": 1 + 5 * share, "color": TEAL if edge.strength > 0 else AMBER}
    return line.update(opacity=0.25 + 0.75 * share, line=style, text=f"{edge.strength:+.3f}")


def _thumbnail(at: tuple[float, float], crop: np.ndarray, size: float) -> dict[str, object]:
    """Return a picture on a node, whose marker is its frame; ``size`` is in levels."""
    out = io.BytesIO()
    Image.fromarray(crop).resize((2 * THUMBNAIL, 2 * THUMBNAIL), Image.Resampling.LANCZOS).save(out, "WEBP", quality=70)
    source = f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
    fit = {"sizex": 1, "sizey": size, "sizing": "contain", "xanchor": "center", "yanchor": "middle"}
    return {"source": source, "xref": "x", "yref": "y", "x": at[0], "y": at[1], "layer": "above", **fit}


def _nodes(
    place: Places, starts: Collection[tuple[str, int]], label: str, shown: Collection[tuple[str, int]]
) -> go.Scatter:
    x, y = zip(*place.values(), strict=True)
    sizes = [THUMBNAIL + 6 if node in shown else 13 for node in place]
    marker = {"size": sizes, "color": TEAL, "symbol": "square" if shown else "circle", "opacity": 1}
    nodes = go.Scatter(x=x, y=y, mode="markers+text", marker=marker, hoverinfo="text")
    nodes.update(text=[label if node in starts else str(node[1]) for node in place])
    nodes.update(hovertext=[f"{titled(layer)}, channel {channel}" for layer, channel in place])
    return nodes.update(textposition="middle right", textfont={"size": 10})
