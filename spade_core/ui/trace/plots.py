"""Plots of a trace: surviving weights, inputs kept, paths, overlap, fidelity curve."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

TEAL, AMBER, GREY = "#0f766e", "#d97706", "#94a3b8"
GOLDEN = 0.618  # turns of a level's places against the one above: lines that pass by then meet few others' nodes
ROW, TALL = (56, 90), 900  # px of a level of the paths, and of all of them where these bounds allow it
MARGIN = {"l": 4, "r": 4, "t": 8, "b": 4}


def map_figure(values: np.ndarray, shape: Sequence[int]) -> go.Figure:
    """Return the map of surviving weights of a whole layer.

    Args:
        values: uint8 ``(rows, columns)``, share of survivors under each cell times 255.
        shape: of the weight; the axes count its rows and flattened columns.
    """
    rows, columns = shape[0], int(np.prod(shape[1:]))
    return _heatmap(values, (0, columns / values.shape[1]), (0, rows / values.shape[0]))


def window_figure(mask: np.ndarray, top: int, left: int) -> go.Figure:
    """Return a part of a layer weight by weight: bool ``(rows, columns)``, whose first cell is ``(top, left)``."""
    return _heatmap(mask.astype(np.uint8) * 255, (left, 1), (top, 1))


def _heatmap(values: np.ndarray, across: tuple[float, float], down: tuple[float, float]) -> go.Figure:
    figure = go.Figure(
        go.Heatmap(
            z=values, x0=across[0], dx=across[1], y0=down[0], dy=down[1], zmin=0, zmax=255,
            colorscale=[[0, "rgba(148,163,184,0.12)"], [1, TEAL]], showscale=False,
            hovertemplate="output %{y:.0f}, input %{x:.0f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(height=420, margin=MARGIN, xaxis_title="inputs (channel, row, column)", yaxis_title="outputs")
    figure.update_yaxes(autorange="reversed")
    return figure


def inputs_figure(kept: np.ndarray, *, by_count: bool = False) -> go.Figure:
    """Return how many inputs each output channel still reads, channel by channel or the fullest first."""
    order = np.argsort(-kept, kind="stable") if by_count else np.arange(len(kept))
    figure = go.Figure(
        go.Bar(
            y=kept[order], customdata=order, marker={"color": TEAL, "line": {"width": 0}},
            hovertemplate="channel %{customdata}: %{y} inputs kept<extra></extra>",
        )
    )  # fmt: skip
    title = "output channels, fullest first" if by_count else "output channel"
    figure.update_layout(height=240, margin=MARGIN, bargap=0, xaxis_title=title, yaxis_title="inputs kept")
    return figure


def curve_figure(points: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Return the probability of the explained class against the sparsity of the trace."""
    lost = [not point["keeps_class"] for point in points]
    figure = go.Figure(
        go.Scatter(
            x=[point["sparsity"] for point in points], y=[point["probability"] for point in points],
            mode="lines+markers", line={"color": TEAL},
            marker={"size": 10, "color": [AMBER if item else TEAL for item in lost]},
            text=["class lost" if item else "class kept" for item in lost],
            hovertemplate="%{x:.0%} removed: probability %{y:.3f}, %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        height=300, margin=MARGIN, xaxis_title="weights removed", yaxis_title="probability in the trace"
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(range=[0, 1.02])
    return figure


def overlap_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Return the Jaccard index of two traces in every layer, beside what chance would give."""
    names = [row["layer"] for row in rows]
    figure = go.Figure(
        [
            go.Bar(x=names, y=[row["jaccard"] for row in rows], marker_color=TEAL, name="both traces"),
            go.Scatter(x=names, y=[row["chance"] for row in rows], mode="lines", line={"color": AMBER}, name="chance"),
        ]
    )
    figure.update_layout(height=300, margin=MARGIN, yaxis_title="Jaccard index", legend={"orientation": "h", "y": 1.1})
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(range=[0, 1])
    return figure


def paths_figure(found: Mapping[str, Any], label: str) -> go.Figure:
    """Return the strongest surviving paths as a graph: the class on top, a level a layer below it.

    Args:
        found: ``edges``, ``starts`` and ``layers`` of ``spade_core.inspection.paths.Paths``, as dictionaries and lists.
        label: of the class.
    """
    members: dict[str, list[int]] = {layer: [] for layer in found["layers"]}
    reached = [(edge[end], edge[f"{end}_channel"]) for edge in found["edges"] for end in ("sink", "source")]
    for layer, channel in (*map(tuple, found["starts"]), *reached):
        if channel not in members[layer]:
            members[layer].append(channel)
    place = {
        (layer, channel): ((number + 0.25 + (0.5 + level * GOLDEN) % 1 / 2) / len(channels), -level)
        for level, (layer, channels) in enumerate(members.items())
        for number, channel in enumerate(channels)
    }
    strongest: dict[str, float] = {}
    for edge in found["edges"]:
        strongest[edge["sink"]] = max(strongest.get(edge["sink"], 0.0), abs(edge["strength"]))
    figure = go.Figure([_line(edge, place, strongest[edge["sink"]]) for edge in found["edges"]])
    figure.add_trace(_nodes(place, {tuple(start) for start in found["starts"]}, label))
    for level, layer in enumerate(members):
        figure.add_annotation(x=0, y=-level, text=layer, showarrow=False, xanchor="left", yshift=16, font={"size": 11})
    row = max(ROW[0], min(ROW[1], TALL // max(1, len(members))))
    figure.update_layout(height=row * max(2, len(members)) + 60, margin=MARGIN, showlegend=False)
    figure.update_xaxes(visible=False, range=[-0.02, 1.06])
    figure.update_yaxes(visible=False)
    return figure


def _line(edge: Mapping[str, Any], place: Mapping[tuple[str, int], tuple[float, float]], most: float) -> go.Scatter:
    start = place[edge["source"], edge["source_channel"]]
    stop = place[edge["sink"], edge["sink_channel"]]
    share = abs(edge["strength"]) / most if most else 0.0
    return go.Scatter(
        x=[start[0], stop[0]], y=[start[1], stop[1]], mode="lines", opacity=0.25 + 0.75 * share,
        line={"width": 1 + 5 * share, "color": TEAL if edge["strength"] > 0 else AMBER},
        hoverinfo="text", text=f"{edge['strength']:+.3f}",
    )  # fmt: skip


def _nodes(place: Mapping[tuple[str, int], tuple[float, float]], starts: Collection[Any], label: str) -> go.Scatter:
    return go.Scatter(
        x=[point[0] for point in place.values()], y=[point[1] for point in place.values()], mode="markers+text",
        marker={"size": 13, "color": TEAL}, textposition="middle right", textfont={"size": 10},
        text=[label if node in starts else str(node[1]) for node in place],
        hovertext=[f"{layer}, channel {channel}" for layer, channel in place], hoverinfo="text",
    )  # fmt: skip
