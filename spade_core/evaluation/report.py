"""A run's tables for people: ``table.md``, and ``report.html`` with the same in figures."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.configuration import NETWORK
from spade_core.evaluation.processing import PROCESSING
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.files import write_whole
from spade_core.saliency import METHODS
from spade_core.saliency.metrics import Interval

TABLE, REPORT = "table.md", "report.html"
EVERY_METHOD = slice(None)
COLOURS = ("#5b6470", "#1f6bff", "#e8590c", "#2b8a3e", "#ae3ec9", "#c92a2a", "#0b7285", "#e09a00")


def write_reports(statistics: Statistics, seconds: np.ndarray, skipped: Mapping[str, int], folder: Path) -> str:
    """Write all reports and return the text of ``table.md``.

    Args:
        seconds: float64 ``(pictures, arms, 1 + methods)``; skipped: reason -> number of pictures.
    """
    text = "\n".join(table(statistics, skipped)) + "\n"
    write_whole(folder / TABLE, text.encode())
    write_whole(folder / REPORT, page(statistics, seconds, text).encode())
    return text


def table(found: Statistics, skipped: Mapping[str, int]) -> Iterator[str]:
    """Yield the lines of ``table.md``; nothing in them depends on how fast the run was."""
    chosen = found.configuration
    yield f"# {chosen.kind.title}: {chosen.kind.help}"
    yield ""
    yield f"{found.pictures} pictures; 95 % intervals, bootstrapped over pictures; seed {chosen.seed}."
    if chosen.magnitudes and chosen.kind.signed:
        yield "As one arm is a mean of magnitudes, all arms' maps are magnitudes."
    yield from (f"{count} left out: {reason}." for reason, count in sorted(skipped.items()))
    yield from _outcomes(found)
    for processing, slug in enumerate(chosen.processing):
        for metric, declared in enumerate(chosen.metrics):
            yield from _scores(found, processing, metric, f"{declared.title} | {PROCESSING[slug].title}")
        yield from _between(found, processing, PROCESSING[slug].title)
        yield from _agreement(found, processing, PROCESSING[slug].title)


def _outcomes(found: Statistics) -> Iterator[str]:
    rows = []
    for at, arm in enumerate(found.configuration.arms):
        _, kl, sparsity = found.outcomes[:, at].T
        told = [_text(found.kept(arm), 1), f"{np.median(kl):.4f}", f"{100 * sparsity.mean():.1f}"]
        rows.append([ARMS[arm].title, *told])
    yield from _markdown("Networks", ["arm", "class kept, %", "KL, nats (median)", "zeros, %"], rows)


def _scores(found: Statistics, processing: int, metric: int, heading: str) -> Iterator[str]:
    """Yield one table: a row a method and arm, and the mean over methods."""
    chosen, declared = found.configuration, found.configuration.metrics[metric]
    against = DENSE in chosen.arms
    removed = against and declared.has_error
    head = ["method", "arm", "mean", *(["minus dense", "better than dense, %"] * against)]
    rows = []
    for title, methods in shown_methods(found).items():
        for arm in chosen.arms:
            at = methods, processing, metric
            row = [title, ARMS[arm].title, _text(found.mean(arm, *at), declared.digits)]
            if against and arm != DENSE:
                row += [_bold(found.difference(arm, DENSE, *at), declared.digits), f"{found.wins(arm, DENSE, *at):.0f}"]
                row += [_bold(found.removed(arm, *at), 1)] if removed else []
            rows.append(row)
    yield from _markdown(heading, [*head, *(["error removed, %"] * removed)], rows)


def shown_methods(found: Statistics) -> dict[str, slice]:
    """Return title -> indices of each method, and of the mean over all where there are several."""
    methods = found.configuration.methods
    every = {f"**mean of {len(methods)}**": EVERY_METHOD} if len(methods) > 1 else {}
    return {METHODS[slug].title: slice(at, at + 1) for at, slug in enumerate(methods)} | every


def _between(found: Statistics, processing: int, heading: str) -> Iterator[str]:
    """Yield the table of arms against each other by the first metric, the mean over methods."""
    declared = found.configuration.metrics[0]
    at, removed = (EVERY_METHOD, processing, 0), declared.has_error and DENSE in found.configuration.arms
    rows = []
    for arm, other in found.pairs():
        row = [ARMS[arm].title, ARMS[other].title, _bold(found.difference(arm, other, *at), declared.digits)]
        more = [_bold(found.removed_more(arm, other, *at), 1)] if removed else []
        rows.append([*row, f"{found.wins(arm, other, *at):.0f}", *more])
    head = ["arm", "minus", declared.title, "better, %", *(["error removed, points"] * removed)]
    yield from _markdown(f"Arms against each other | {heading}", head, rows) if rows else ()


def _agreement(found: Statistics, processing: int, heading: str) -> Iterator[str]:
    """Yield how alike the metrics rank arms and methods."""
    titles = [metric.title for metric in found.configuration.metrics]
    values = found.agreement(processing)
    if len(titles) > 1 and np.isfinite(values).all():
        rows = [[title, *(f"{value:.2f}" for value in row)] for title, row in zip(titles, values, strict=True)]
        yield from _markdown(f"Agreement of the metrics' ranks, Kendall's tau | {heading}", ["", *titles], rows)


def _markdown(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from ("", f"## {heading}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|")
    yield from (f"| {' | '.join([*row, *[''] * (len(head) - len(row))])} |" for row in rows)


def _text(value: Interval, digits: int) -> str:
    if not np.isfinite(value.mean):
        return "-"
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _bold(value: Interval, digits: int) -> str:
    """Return the text, set bold where the interval excludes 0."""
    text = _text(value, digits)
    return f"**{text}**" if value.low > 0 or value.high < 0 else text


def page(found: Statistics, seconds: np.ndarray, text: str) -> str:
    """Return ``report.html``: every metric in a figure, what it took, and the tables; it is read without a network."""
    title = html.escape(f"{found.configuration.kind.title}: {found.configuration.kind.help}")
    figures = [_means(found, at) for at in range(len(found.configuration.metrics))]
    if DENSE in found.configuration.arms and len(found.configuration.arms) > 1:
        figures.insert(0, _differences(found))
    figures.append(_durations(found, seconds))
    parts = [figure.to_html(full_html=False, include_plotlyjs=not at) for at, figure in enumerate(figures)]
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
    body = f'<body style="font-family: sans-serif"><h1>{title}</h1>{"".join(parts)}'
    return f"{head}{body}<pre>{html.escape(text)}</pre></body></html>"


def _panels(found: Statistics, title: str) -> go.Figure:
    """Return an empty figure of a panel a processing."""
    titles = [PROCESSING[slug].title for slug in found.configuration.processing]
    figure = make_subplots(cols=len(titles), shared_yaxes=True, subplot_titles=titles)
    return figure.update_layout(title=title, height=420, template="plotly_white", scattermode="group")


def _points(figure: go.Figure, panel: int, number: int, arm: str, values: Mapping[str, Interval]) -> None:
    """Draw an arm's means and intervals over the methods' titles."""
    means = [value.mean for value in values.values()]
    up, down = ([abs(getattr(one, end) - one.mean) for one in values.values()] for end in ("high", "low"))
    figure.add_scatter(
        x=[title.strip("*") for title in values],
        y=means,
        error_y={"type": "data", "array": up, "arrayminus": down},
        mode="markers",
        name=ARMS[arm].title,
        legendgroup=arm,
        offsetgroup=arm,
        showlegend=panel == 0,
        marker_color=COLOURS[number % len(COLOURS)],
        row=1,
        col=panel + 1,
    )


def _means(found: Statistics, metric: int) -> go.Figure:
    figure = _panels(found, found.configuration.metrics[metric].title)
    for panel in range(len(found.configuration.processing)):
        for number, arm in enumerate(found.configuration.arms):
            values = {title: found.mean(arm, at, panel, metric) for title, at in shown_methods(found).items()}
            _points(figure, panel, number, arm, values)
    return figure


def _differences(found: Statistics) -> go.Figure:
    """Return what each arm gains over the dense map by the first metric: the error removed, or the difference."""
    declared = found.configuration.metrics[0]
    told = found.removed if declared.has_error else partial(found.difference, other=DENSE)
    figure = _panels(found, "Error removed, %" if declared.has_error else f"{declared.title}, minus dense")
    for panel in range(len(found.configuration.processing)):
        for number, arm in enumerate(found.configuration.arms):
            if arm != DENSE:
                methods = shown_methods(found).items()
                values = {name: told(arm, methods=at, processing=panel, metric=0) for name, at in methods}
                _points(figure, panel, number, arm, values)
    return figure


def _durations(found: Statistics, seconds: np.ndarray) -> go.Figure:
    """Return the median seconds a picture: of each arm's networks, and of each method's maps."""
    parts = [NETWORK, *(METHODS[slug].title for slug in found.configuration.methods)]
    figure = go.Figure(layout={"title": "Seconds a picture, medians", "barmode": "stack", "template": "plotly_white"})
    for at, part in enumerate(parts):
        figure.add_bar(
            x=[ARMS[arm].title for arm in found.configuration.arms], y=np.median(seconds[..., at], axis=0), name=part
        )
    return figure
