"""Tables and figures of a finished run, beside the paper's."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.evidence import Evidence, published
from spade_core.evaluation.processing import PROCESSING
from spade_core.evaluation.statistics import DENSE
from spade_core.saliency import METHODS
from spade_core.saliency.metrics import Interval
from spade_core.ui.common.panels import show_chart

BETTER, WORSE, OPEN = "#0f766e", "#b91c1c", "#64748b"  # interval above 0, below 0, or around it
ALL = slice(None)


@dataclass(frozen=True)
class View:
    """What of a run is shown.

    Attributes:
        arm: slug; processing, metric: indices in the run's configuration.
    """

    evidence: Evidence
    arm: str
    processing: int
    metric: int

    @property
    def digits(self) -> int:
        """After the point: of a percentage one is enough to read."""
        metric = self.evidence.results.configuration.metrics[self.metric]
        return 1 if metric.title.endswith("%") else metric.digits

    @property
    def against_dense(self) -> bool:
        """Whether there is a dense arm to compare with."""
        return self.arm != DENSE and DENSE in self.evidence.results.configuration.arms


def pick_view(evidence: Evidence) -> View:
    """Draw the choice of arm, processing and metric."""
    chosen = evidence.results.configuration
    arms, forms, metrics = st.columns(3)
    others = [arm for arm in chosen.arms if arm != DENSE] or list(chosen.arms)
    arm = arms.selectbox("Arm", others, format_func=lambda slug: ARMS[slug].title, key="evidence_arm")
    arms.caption(ARMS[arm].help)
    titles = [PROCESSING[slug].title for slug in chosen.processing]
    processing = forms.selectbox("Processing, on both sides", titles, key="evidence_processing")
    forms.caption(PROCESSING[chosen.processing[titles.index(processing)]].help)
    named = [metric.title for metric in chosen.metrics]
    metric = metrics.selectbox("Metric", named, key="evidence_metric")
    metrics.caption(chosen.metrics[named.index(metric)].help)
    return View(evidence, arm, titles.index(processing), named.index(metric))


def show_summary(view: View) -> None:
    """Show how much of the dense error the arm removes, and what its networks keep."""
    statistics, place = view.evidence.statistics, (ALL, view.processing, view.metric)
    kept, _, sparsity = statistics.outcomes[:, statistics.configuration.arms.index(view.arm)].T
    first, second, third, fourth = st.columns(4)
    if view.against_dense and statistics.configuration.metrics[view.metric].has_error:
        removed = statistics.removed(view.arm, *place)
        first.metric("Dense error removed", f"{removed.mean:.0f} %")
        first.caption(f"Mean of the methods, {removed.low:.0f} to {removed.high:.0f} %")
    elif view.against_dense:
        gained = statistics.difference(view.arm, DENSE, *place)
        first.metric("Minus dense", f"{gained.mean:+.{view.digits}f}")
        first.caption(f"Mean of the methods, {gained.low:+.{view.digits}f} to {gained.high:+.{view.digits}f}")
    second.metric("Pictures", f"{statistics.pictures:,}")
    third.metric("Class kept", f"{100 * kept.mean():.0f} %")
    fourth.metric("Weights removed", f"{100 * sparsity.mean():.0f} %")


def show_table(view: View) -> None:
    """Show a row a method, and the mean over all."""
    st.dataframe(rows(view), width="stretch", hide_index=True, key="evidence_table")
    paper = published(view.evidence.results.configuration.benchmark)
    if paper is not None and view.metric == 0:
        st.caption(f"The paper's {paper['title']}: {paper['shown']}. Another model and other pictures: not comparable.")


def rows(view: View) -> list[dict[str, str]]:
    """Return the table's rows, the paper's numbers beside ours where its table is of this metric."""
    statistics = view.evidence.statistics
    chosen = statistics.configuration
    paper = published(chosen.benchmark) if view.metric == 0 else None
    parts = {slug: slice(at, at + 1) for at, slug in enumerate(chosen.methods)} | {"": ALL}
    found = []
    for slug, methods in parts.items():
        place = methods, view.processing, view.metric
        row = {"Method": METHODS[slug].title if slug else f"Mean of {len(chosen.methods)}"}
        if view.against_dense:
            row["Dense"] = _text(statistics.mean(DENSE, *place), view.digits)
        row[ARMS[view.arm].title] = _text(statistics.mean(view.arm, *place), view.digits)
        if view.against_dense:
            row["Minus dense"] = _text(statistics.difference(view.arm, DENSE, *place), view.digits, "+")
            row["Better in"] = f"{statistics.wins(view.arm, DENSE, *place):.0f} %"
            if chosen.metrics[view.metric].has_error:
                row["Error removed"] = _text(statistics.removed(view.arm, *place), percent=" %")
        if paper is not None:
            values = paper["rows"].get(slug, [])
            row |= {f"Paper: {name}": f"{values[at]:.2f}" if values else "" for at, name in enumerate(paper["columns"])}
        found.append(row)
    return found


def _text(value: Interval, digits: int = 1, sign: str = "", percent: str = "") -> str:
    return f"{value.mean:{sign}.{digits}f} [{value.low:{sign}.{digits}f}, {value.high:{sign}.{digits}f}]{percent}"


def show_figure(view: View) -> None:
    """Show each method's gain over the dense map with its interval."""
    if view.against_dense:
        what = "Each method's gain over the dense map, with its interval; the table has the numbers"
        show_chart(gain_figure(view), "evidence_figure", what, displayModeBar=False)


def gain_figure(view: View) -> go.Figure:
    """Return error removed, or difference, of every method; coloured where the interval excludes 0."""
    statistics = view.evidence.statistics
    chosen = statistics.configuration
    removes = chosen.metrics[view.metric].has_error
    titles = [METHODS[slug].title for slug in chosen.methods]
    figure = go.Figure()
    for at, title in enumerate(titles):
        place = slice(at, at + 1), view.processing, view.metric
        gain = statistics.removed(view.arm, *place) if removes else statistics.difference(view.arm, DENSE, *place)
        sign = 1 if removes else chosen.metrics[view.metric].sign
        colour = BETTER if min(sign * gain.low, sign * gain.high) > 0 else OPEN
        colour = WORSE if max(sign * gain.low, sign * gain.high) < 0 else colour
        reach = {"array": [gain.high - gain.mean], "arrayminus": [gain.mean - gain.low], "thickness": 2, "width": 5}
        point = go.Scatter(
            x=[gain.mean], y=[title], mode="markers", marker={"size": 10, "color": colour}, error_x=reach
        )
        figure.add_trace(
            point.update(hovertemplate=f"{_text(gain, 1 if removes else view.digits)}<extra>{title}</extra>")
        )
    figure.add_vline(0, line_width=1, line_color=OPEN)
    figure.update_layout(showlegend=False, height=90 + 30 * len(titles), margin={"l": 4, "r": 12, "t": 8, "b": 40})
    named = "Dense error removed, %" if removes else f"{chosen.metrics[view.metric].title}, minus dense"
    figure.update_xaxes(title_text=named)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure
