"""Figures and tables of a study's result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from itertools import cycle
from typing import Any

import plotly.graph_objects as go
from plotly.io import to_html

from spade_core.study.analysis.tables import NAMES, ROWS, differences

COLOURS = {"dense": "#64748b", "spade": "#0f766e", "none": "#d97706", "reference": "#7c3aed"}
ANSWERS = {  # fill, and a pattern where answers are missing
    "agree": ("#5eead4", ""), "disagree": ("#f59e0b", ""), "undecided": ("#cbd5e1", ""),
    "timeout": ("#a78bfa", "/"), "missing otherwise": ("#f1f5f9", "-"),
}  # fmt: skip


def agreement_figure(result: Mapping[str, Any]) -> go.Figure:
    """Return agreement with the reference by condition, with its intervals; simulated answers are named so.

    Args:
        result: of :func:`spade_core.study.analysis.evaluate.evaluate`, with a Table 3.
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
    _lay_out(figure, _titled(result, "agreement with the reference, by condition"))
    figure.update_yaxes(range=[0, 100], title="agree, % of answers")
    return figure


def answers_figure(result: Mapping[str, Any]) -> go.Figure:
    """Return what became of all main trials by condition, stacked, with counts: answers, timeouts, other gaps."""
    figure = go.Figure()
    conditions = list(result["table3"])
    late = result["timeouts"]["by_condition"]
    counts = {
        name: [result["table3"][condition][name]["count"] for condition in conditions]
        for name in ("agree", "disagree", "undecided")
    }
    counts["timeout"] = [late[condition]["count"] for condition in conditions]
    counts["missing otherwise"] = [late[condition]["missing_otherwise"] for condition in conditions]
    totals = [late[condition]["n"] for condition in conditions]
    for name, values in counts.items():
        colour, pattern = ANSWERS[name]
        figure.add_bar(
            x=[NAMES[condition] for condition in conditions], name=ROWS.get(name, name),
            y=[100 * value / (total or 1) for value, total in zip(values, totals, strict=True)],
            text=[str(value) if value else "" for value in values], textposition="inside",
            insidetextanchor="middle", insidetextfont={"size": 14, "color": "black", "weight": "bold"},
            marker={"color": colour, "pattern": {"shape": pattern}},
            customdata=[f"{value} of {total}" for value, total in zip(values, totals, strict=True)],
            hovertemplate="%{customdata}, %{y:.1f} %",
        )  # fmt: skip
    _lay_out(figure, _titled(result, "what became of all main trials, with counts"), showlegend=True)
    figure.update_layout(barmode="stack")
    figure.update_yaxes(range=[0, 100], title="% of trials shown")
    return figure


def differences_figure(result: Mapping[str, Any]) -> go.Figure:
    """Return every difference SPADE - dense with its interval: primary, half credit, sensitivity, bounds, strata."""
    figure = go.Figure()
    found = [
        (name, label, value) for name, label, value in differences(result)
        if value["estimate"] is not None and value["low"] is not None
    ]  # fmt: skip
    ends = [end for _, _, value in found for end in (value["low"], value["high"]) if end is not None]
    edge = max([1.0, *map(abs, ends)])  # where an interval without upper end is cut off
    for name, label, value in found:
        middle, low = 100 * value["estimate"], 100 * value["low"]
        high = 100 * (edge if value["high"] is None else value["high"])
        planned = label in ("confirmatory", "interim")
        figure.add_scatter(
            x=[middle], y=[f"{name} · {label}"], mode="markers",
            marker={"size": 10, "color": COLOURS["spade" if planned else "dense"],
                    "symbol": "square" if planned else "circle-open"},
            error_x={"type": "data", "symmetric": False, "array": [high - middle], "arrayminus": [middle - low]},
            hovertemplate=f"%{{x:+.1f}} points [{low:+.1f}, {'' if value['high'] is None else f'{high:+.1f}'}], "
            f"{value['n']} answers<extra></extra>",
        )  # fmt: skip
    _lay_out(figure, _titled(result, "difference in agreement, SPADE - dense"), height=120 + 26 * len(found))
    figure.add_vline(x=0, line={"dash": "dot", "color": COLOURS["dense"]})
    figure.update_xaxes(title="percentage points, with intervals")
    figure.update_yaxes(autorange="reversed")
    return figure


def class_neurons_figure(result: Mapping[str, Any]) -> go.Figure:
    """Return the difference SPADE - dense of every class neuron that has answers under both, with answers counted."""
    rows = [row for row in result["class_neurons"] if row["agree"] is not None]
    names = [row["class_neuron"] for row in rows]
    counted = [f"dense {row['dense']['n']}, SPADE {row['spade']['n']} answers" for row in rows]
    figure = go.Figure()
    figure.add_bar(
        x=[100 * row["agree"] for row in rows], y=names, orientation="h", name="agreement", customdata=counted,
        marker={"color": COLOURS["spade"]}, hovertemplate="%{x:+.1f} points, %{customdata}",
    )  # fmt: skip
    figure.add_scatter(
        x=[100 * row["half"] for row in rows], y=names, mode="markers", name="half credit", customdata=counted,
        marker={"color": COLOURS["none"], "symbol": "diamond"}, hovertemplate="%{x:+.1f} points, %{customdata}",
    )  # fmt: skip
    height = 120 + 20 * len(rows)
    _lay_out(figure, _titled(result, "difference of each class neuron, SPADE - dense"), height=height, showlegend=True)
    figure.update_xaxes(title="percentage points")
    figure.update_yaxes(type="category", tickfont={"size": 10})
    return figure


def reaction_time_figure(result: Mapping[str, Any]) -> go.Figure:
    """Return reaction times by condition: quartiles, and whiskers from the 5th to the 95th percentile."""
    figure = go.Figure()
    for condition, found in result["reaction_time"]["by_condition"].items():
        if found["n"] == 0:
            continue
        seconds = {name: [value / 1000] for name, value in found.items() if name.endswith("_ms")}
        figure.add_box(
            x=[f"{NAMES[condition]} (n = {found['n']})"], name=NAMES[condition], marker={"color": COLOURS[condition]},
            q1=seconds["quartile_1_ms"], median=seconds["median_ms"], q3=seconds["quartile_3_ms"],
            lowerfence=seconds["percentile_5_ms"], upperfence=seconds["percentile_95_ms"],
        )  # fmt: skip
    _lay_out(figure, _titled(result, "reaction time measured in the browser, by condition"))
    figure.update_yaxes(title="seconds; 5, 25, 50, 75, 95 %", rangemode="tozero")
    return figure


FIGURES: Mapping[str, Callable[[Mapping[str, Any]], go.Figure]] = {
    "agreement": agreement_figure,
    "differences": differences_figure,
    "answers": answers_figure,
    "class_neurons": class_neurons_figure,
    "reaction_time": reaction_time_figure,
}
"""Figures of a result with a Table 3, by name."""


def figures_html(result: Mapping[str, Any]) -> str:
    """Return all figures as one page that needs no network."""
    mark = "SIMULATED: answers of bots" if result["simulated"] else "Figures"
    parts = [
        to_html(make(result), full_html=False, include_plotlyjs=number == 0)
        for number, make in enumerate(FIGURES.values())
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{mark}</title><h1>{mark}</h1>'
    return f"{head}<p>{escape(result['verdict'])}</p>{''.join(parts)}</html>"


def chart_options(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return options of a chart whose camera button saves a drawing named after it, SIMULATED where it is."""
    filename = f"{'SIMULATED_' if result['simulated'] else ''}{name}"
    return {"displaylogo": False, "toImageButtonOptions": {"format": "svg", "filename": filename}}


def _titled(result: Mapping[str, Any], text: str) -> str:
    return f"SIMULATED, bots: {text}" if result["simulated"] else text[0].upper() + text[1:]


def power_figure(report: Mapping[str, Any]) -> go.Figure:
    """Return the power of the verdict over participants, a line for each number of class neurons, dashed its ceiling.

    Args:
        report: of :func:`spade_core.study.power.power.power_report`.
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
    sizes = sorted({row["participants"] for row in report["rows"] if row["participants"]})
    figure.update_xaxes(title="participants", type="log", tickvals=sizes, ticktext=[str(size) for size in sizes])
    figure.update_yaxes(title="% of studies ± Monte Carlo error", range=[0, 103])
    return figure


def _lay_out(figure: go.Figure, title: str, *, height: int = 340, showlegend: bool = False) -> None:
    figure.update_layout(
        title={"text": title}, showlegend=showlegend, height=height, margin={"l": 8, "r": 8, "t": 48, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip
