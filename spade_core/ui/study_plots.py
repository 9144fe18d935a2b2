"""Figures and tables of a study's result."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from spade_core.study.evaluation import PAPER
from spade_core.study.report import NAMES, ROWS

__all__ = ["agreement_figure", "power_figure", "table3_rows"]

COLOURS = {"dense": "#64748b", "spade": "#0f766e", "none": "#d97706", "reference": "#7c3aed"}
_IN_PAPER = {"agree_when_decided": "agree_decided", "disagree_when_decided": "disagree_decided"}


def agreement_figure(result: Mapping[str, Any]) -> go.Figure:
    """Return agreement with the reference by condition, with its intervals; simulated answers are named so.

    Args:
        result: of :func:`spade_core.study.evaluation.evaluate`, with a Table 3.
    """
    figure = go.Figure()
    for condition, row in result["table3"].items():
        found = row["agree"]
        if found["share"] is None:
            continue
        share, low, high = (100 * found[name] for name in ("share", "low", "high"))
        figure.add_trace(
            go.Bar(
                x=[NAMES[condition]], y=[share], name=NAMES[condition], marker={"color": COLOURS[condition]},
                error_y={"type": "data", "symmetric": False, "array": [high - share], "arrayminus": [share - low]},
                hovertemplate=f"%{{y:.1f}} % [{low:.1f}, {high:.1f}], {found['count']} of {found['n']}<extra></extra>",
            )
        )  # fmt: skip
    who = "SIMULATED: agreement of bots" if result["simulated"] else "Agreement"
    _lay_out(figure, f"{who} with the reference, by condition")
    figure.update_yaxes(range=[0, 100], title="agree, % of answers")
    return figure


def power_figure(report: Mapping[str, Any]) -> go.Figure:
    """Return the power of the verdict over participants, a line for each number of class neurons, dashed its ceiling.

    Args:
        report: of :func:`spade_core.study.power.power_report`.
    """
    figure = go.Figure()
    counts = list(dict.fromkeys(row["class_neurons"] for row in report["rows"]))
    for colour, count in zip(cycle(COLOURS.values()), counts, strict=False):
        rows = [row for row in report["rows"] if row["class_neurons"] == count]
        finite, limit = [row for row in rows if row["participants"]], next(r for r in rows if not r["participants"])
        people = [row["participants"] for row in finite]
        name = f"{count} class neurons"
        figure.add_scatter(
            x=people, y=[100 * row["verdict"] for row in finite], name=name, line={"color": colour},
            mode="lines+markers", error_y={"type": "data", "array": [100 * row["verdict_error"] for row in finite]},
        )  # fmt: skip
        figure.add_scatter(
            x=[people[0], people[-1]], y=2 * [100 * limit["verdict"]], name=f"{name}, endlessly many people",
            mode="lines", line={"color": colour, "dash": "dash"},
        )  # fmt: skip
    _lay_out(figure, "SIMULATED studies that may write “people chose better”", showlegend=True)
    figure.update_xaxes(title="participants", type="log")
    figure.update_yaxes(title="% of studies ± Monte Carlo error", range=[0, 103])
    return figure


def _lay_out(figure: go.Figure, title: str, *, height: int = 340, showlegend: bool = False) -> None:
    figure.update_layout(
        title={"text": title}, showlegend=showlegend, height=height, margin={"l": 8, "r": 8, "t": 48, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip


def table3_rows(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return Table 3 with counts and intervals, the paper's figures in columns of their own."""
    mark = "SIMULATED " if result["simulated"] else ""
    rows = []
    for name, title in ROWS.items():
        row = {"response": title}
        for condition, shares in result["table3"].items():
            row[f"{mark}{NAMES[condition]}"] = _share(shares[name])
        for condition, figures in PAPER.items():
            row[f"paper, {NAMES[condition]}"] = f"{figures[_IN_PAPER.get(name, name)]} %"
        rows.append(row)
    return rows


def _share(value: Mapping[str, Any]) -> str:
    if value["share"] is None:
        return "no answers"
    share, low, high = (100 * value[name] for name in ("share", "low", "high"))
    return f"{share:.1f} % [{low:.1f}, {high:.1f}] ({value['count']}/{value['n']})"
