"""Figures of a study's result, and of the power that it was planned with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from itertools import cycle

import plotly.graph_objects as go
from plotly.io import to_html

from spade_core.study.analysis.findings import Estimate, StudyResult
from spade_core.study.analysis.tables import NAMES, ROWS, differences
from spade_core.study.power.power import PowerReport
from spade_core.study.vocabulary import CONDITIONS

COLOURS = {name: shown.colour for name, shown in CONDITIONS.items()}
ANSWERS = {  # fill, and a pattern where answers are missing
    "agree": ("#5eead4", ""),
    "disagree": ("#f59e0b", ""),
    "undecided": ("#cbd5e1", ""),
    "timeout": ("#a78bfa", "/"),
    "missing otherwise": ("#f1f5f9", "-"),
}


def agreement_figure(result: StudyResult) -> go.Figure:
    """Return agreement with the reference by condition, with its intervals; simulated answers are named so."""
    figure = _figure(_titled(result, "agreement with the reference, by condition"))
    for condition, answers in result.table3.items():
        found = answers.shares["agree"]
        if found.share is None or found.low is None or found.high is None:
            continue
        share, low, high = 100 * found.share, 100 * found.low, 100 * found.high
        hover = f"%{{y:.1f}} % [{low:.1f}, {high:.1f}], {found.count} of {found.n}<extra></extra>"
        name, marker = NAMES[condition], {"color": COLOURS[condition]}
        ends = _ends(share, low, high)
        figure.add_bar(x=[name], y=[share], name=name, marker=marker, error_y=ends, hovertemplate=hover)
    return figure.update_yaxes(range=[0, 100], title="agree, % of answers")


def answers_figure(result: StudyResult) -> go.Figure:
    """Return what became of all main trials by condition, stacked, with counts: answers, timeouts, other gaps."""
    late = result.timeouts.by_condition
    shares = [answers.shares for answers in result.table3.values()]
    counts = {name: [row[name].count for row in shares] for name in ("agree", "disagree", "undecided")}
    counts["timeout"] = [late[condition].count for condition in result.table3]
    counts["missing otherwise"] = [late[condition].missing_otherwise for condition in result.table3]
    totals = [late[condition].n for condition in result.table3]
    figure = _figure(_titled(result, "what became of all main trials, with counts"), showlegend=True, barmode="stack")
    for name, values in counts.items():
        colour, pattern = ANSWERS[name]
        figure.add_bar(
            x=[NAMES[condition] for condition in result.table3],
            name=ROWS.get(name, name),
            y=[100 * value / (total or 1) for value, total in zip(values, totals, strict=True)],
            text=[str(value) if value else "" for value in values],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"size": 14, "color": "black", "weight": "bold"},
            marker={"color": colour, "pattern": {"shape": pattern}},
            customdata=[f"{value} of {total}" for value, total in zip(values, totals, strict=True)],
            hovertemplate="%{customdata}, %{y:.1f} %",
        )
    return figure.update_yaxes(range=[0, 100], title="% of trials shown")


def differences_figure(result: StudyResult) -> go.Figure:
    """Return every difference SPADE - dense with its interval: primary, half credit, sensitivity, bounds, strata."""
    found = [
        (f"{name} · {label}", label in ("confirmatory", "interim"), one, one.low)
        for name, label, one in differences(result)
        if isinstance(one, Estimate) and one.low is not None
    ]
    edge = max([1.0, *(abs(end) for _, _, one, low in found for end in (low, one.high or 0.0))])
    title = _titled(result, "difference in agreement, SPADE - dense")
    figure = _figure(title, height=120 + 26 * len(found))
    for name, planned, one, low in found:
        high = edge if one.high is None else one.high  # an interval without upper end is cut off at the edge
        interval = f"{100 * low:+.1f}, {'' if one.high is None else f'{100 * high:+.1f}'}"
        colour, symbol = ("spade", "square") if planned else ("dense", "circle-open")
        hover = f"%{{x:+.1f}} points [{interval}], {one.n} answers<extra></extra>"
        marker, middle = {"size": 10, "color": COLOURS[colour], "symbol": symbol}, 100 * one.estimate
        ends = _ends(middle, 100 * low, 100 * high)
        figure.add_scatter(x=[middle], y=[name], mode="markers", marker=marker, error_x=ends, hovertemplate=hover)
    figure.add_vline(x=0, line={"dash": "dot", "color": COLOURS["dense"]})
    figure.update_xaxes(title="percentage points, with intervals")
    return figure.update_yaxes(autorange="reversed")


def class_neurons_figure(result: StudyResult) -> go.Figure:
    """Return the difference SPADE - dense of every class neuron that has answers under both, with answers counted."""
    rows = [row for row in result.class_neurons if row.agree is not None and row.half is not None]
    shared = {
        "y": [row.class_neuron for row in rows],
        "customdata": [f"dense {row.dense.n}, SPADE {row.spade.n} answers" for row in rows],
        "hovertemplate": "%{x:+.1f} points, %{customdata}",
    }
    title = _titled(result, "difference of each class neuron, SPADE - dense")
    figure = _figure(title, height=120 + 20 * len(rows), showlegend=True)
    bars, points = {"color": COLOURS["spade"]}, {"color": COLOURS["none"], "symbol": "diamond"}
    agree, half = ([100 * getattr(row, name) for row in rows] for name in ("agree", "half"))
    figure.add_bar(x=agree, orientation="h", name="agreement", marker=bars, **shared)
    figure.add_scatter(x=half, mode="markers", name="half credit", marker=points, **shared)
    figure.update_xaxes(title="percentage points")
    return figure.update_yaxes(type="category", tickfont={"size": 10})


def reaction_time_figure(result: StudyResult) -> go.Figure:
    """Return reaction times by condition: quartiles, and whiskers from the 5th to the 95th percentile."""
    figure = _figure(_titled(result, "reaction time measured in the browser, by condition"))
    for condition, found in result.reaction_time.by_condition.items():
        seconds = {name: [ms / 1000] for name, ms in found.ms.items() if ms is not None}
        if seconds:
            name, marker = NAMES[condition], {"color": COLOURS[condition]}
            box = {"q1": "quartile_1_ms", "median": "median_ms", "q3": "quartile_3_ms"}
            box |= {"lowerfence": "percentile_5_ms", "upperfence": "percentile_95_ms"}
            drawn = {edge: seconds[percentile] for edge, percentile in box.items()}
            figure.add_box(x=[f"{name} (n = {found.n})"], name=name, marker=marker, **drawn)
    return figure.update_yaxes(title="seconds; 5, 25, 50, 75, 95 %", rangemode="tozero")


FIGURES: Mapping[str, Callable[[StudyResult], go.Figure]] = {
    "agreement": agreement_figure,
    "differences": differences_figure,
    "answers": answers_figure,
    "class_neurons": class_neurons_figure,
    "reaction_time": reaction_time_figure,
}
"""Figures of a result, by name."""


def figures_html(result: StudyResult) -> str:
    """Return all figures as one page that needs no network."""
    mark = "SIMULATED: answers of bots" if result.simulated else "Figures"
    parts = [
        to_html(make(result), full_html=False, include_plotlyjs=number == 0)
        for number, make in enumerate(FIGURES.values())
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{mark}</title><h1>{mark}</h1>'
    return f"{head}<p>{escape(result.verdict)}</p>{''.join(parts)}</html>"


def chart_options(result: StudyResult, name: str) -> dict[str, object]:
    """Return options of a chart whose camera button saves a drawing named after it, SIMULATED where it is."""
    filename = f"{'SIMULATED_' if result.simulated else ''}{name}"
    return {"displaylogo": False, "toImageButtonOptions": {"format": "svg", "filename": filename}}


def power_figure(report: PowerReport) -> go.Figure:
    """Return the power of the verdict over participants, a line a number of class neurons, dashed its ceiling."""
    figure = _figure("SIMULATED studies that may write “people chose better”", showlegend=True)
    counts = dict.fromkeys(row.class_neurons for row in report.rows)
    sizes = sorted({row.participants for row in report.rows if row.participants})
    for colour, count in zip(cycle(COLOURS.values()), counts, strict=False):
        *finite, limit = (row for row in report.rows if row.class_neurons == count)  # the ceiling comes last
        people, name = [row.participants for row in finite], f"{count} class neurons"
        power, line = [100 * row.verdict for row in finite], {"color": colour}
        error = {"type": "data", "array": [100 * row.verdict_error for row in finite]}
        figure.add_scatter(x=people, y=power, name=name, line=line, mode="lines+markers", error_y=error)
        ends, ceiling, line = [people[0], people[-1]], 2 * [100 * limit.verdict], {"color": colour, "dash": "dash"}
        figure.add_scatter(x=ends, y=ceiling, name=f"{name}, endlessly many people", mode="lines", line=line)
    figure.update_xaxes(title="participants", type="log", tickvals=sizes, ticktext=[str(size) for size in sizes])
    return figure.update_yaxes(title="% of studies ± Monte Carlo error", range=[0, 103])


def _titled(result: StudyResult, text: str) -> str:
    return f"SIMULATED, bots: {text}" if result.simulated else text[0].upper() + text[1:]


def _ends(middle: float, low: float, high: float) -> dict[str, object]:
    """Return an interval as error bars."""
    return {"type": "data", "symmetric": False, "array": [high - middle], "arrayminus": [middle - low]}


def _figure(title: str, *, height: int = 340, showlegend: bool = False, barmode: str | None = None) -> go.Figure:
    clear = dict.fromkeys(("paper_bgcolor", "plot_bgcolor"), "rgba(0,0,0,0)")
    margin = {"l": 8, "r": 8, "t": 48, "b": 8}
    layout = {"title": {"text": title}, "showlegend": showlegend, "height": height, "margin": margin, **clear}
    return go.Figure(layout={**layout, "barmode": barmode})
