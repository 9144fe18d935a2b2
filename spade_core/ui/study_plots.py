"""Figures and tables of a study's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from spade_core.study.evaluation import PAPER
from spade_core.study.report import NAMES, ROWS

__all__ = ["agreement_figure", "table3_rows"]

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
    figure.update_layout(
        title={"text": f"{who} with the reference, by condition"}, showlegend=False, height=340,
        margin={"l": 8, "r": 8, "t": 48, "b": 8}, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip
    figure.update_yaxes(range=[0, 100], title="agree, % of answers")
    return figure


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
