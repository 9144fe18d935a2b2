"""A report on paper, by matplotlib: the figure as SVG or as a PNG of 300 dpi, and a PDF of A4 pages."""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from spade_core.citation import BIBTEX
from spade_core.pictures.figures import draw_figure, figure_bytes, new_figure
from spade_core.pictures.fonts import DEFAULT, NUMBERED, advice_for, families_for, spelled
from spade_core.reports.content import Content

A4 = (8.27, 11.69)  # inches
DPI = 300
ROWS = 4  # methods a page
MONO = "DejaVu Sans Mono"  # comes with matplotlib
COLUMNS, LINES = 104, 92  # of a page of text
SIZE = 7.0  # of its letters, points


def figure_svg(content: Content) -> bytes:
    """Return the figure of all methods as an SVG file."""
    return figure_bytes(_figure(content), "svg", DPI)


def figure_png(content: Content) -> bytes:
    """Return the figure of all methods as a PNG file of 300 dpi."""
    return figure_bytes(_figure(content), "png", DPI)


def _figure(content: Content) -> Figure:
    figure = new_figure(content.rows)
    # A map's own pixels go into the file, whatever size they are printed at.
    with mpl.rc_context({"image.interpolation": "none"}):
        draw_figure(figure, content.crop, content.rows, content.figure_title)
    return figure


def report_pdf(content: Content) -> bytes:
    """Return the report as a PDF: first page, figure, settings, versions, citation, manifest.

    Text can be searched and copied; the same content gives the same bytes.
    """
    out, still = io.BytesIO(), {"Title": content.title, "Creator": "SPADE Studio", "CreationDate": None}
    with mpl.rc_context({"pdf.fonttype": 42, "image.interpolation": "none"}), PdfPages(out, metadata=still) as pages:
        for figure in chain([_first(content)], _figures(content), text_pages(_lines(content))):
            pages.savefig(figure, dpi=DPI)
    return out.getvalue()


def _first(content: Content) -> Figure:
    """Return the first page: what was asked, what was found, what is to be known of it."""
    figure = Figure(figsize=A4)
    picture = figure.add_axes((0.09, 0.68, 0.3, 0.21))
    picture.imshow(content.crop)
    picture.set_axis_off()
    write_text(figure, 0.09, 0.935, content.title, size=14, weight="bold", width=70)
    write_text(figure, 0.09, 0.665, "What the model sees", size=8)
    for number, (name, value) in enumerate(content.summary.items()):
        write_text(figure, 0.43, 0.885 - 0.03 * number, name, size=8, weight="bold")
        write_text(figure, 0.58, 0.885 - 0.03 * number, value, size=8, width=48)
    said = [
        (*content.notes, *_note_on_letters(content)),
        *((f"{part.row.title}. {part.help}", *part.lines) for part in content.parts),
    ]
    lines = [line for block in said for line in (*chain.from_iterable(textwrap.wrap(text, 112) for text in block), "")]
    for number, line in enumerate(lines[:58]):
        write_text(figure, 0.09, 0.625 - 0.0102 * number, line, size=8)
    return figure


def _note_on_letters(content: Content) -> tuple[str, ...]:
    """Return a note where names have letters that no font has."""
    text = "".join((*content.summary.values(), *chain.from_iterable(content.predictions)))
    return () if families_for(text) else (NUMBERED.format(advice=advice_for(text)),)


def _figures(content: Content) -> Iterator[Figure]:
    """Yield pages with the figure, so many methods each."""
    for begin in range(0, len(content.rows), ROWS):
        rows = content.rows[begin : begin + ROWS]
        figure = Figure(figsize=A4, layout=ConstrainedLayoutEngine(rect=(0.07, 0.05, 0.86, 0.9)))
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(len(rows) + 0.2, 5.2 - len(rows)))
        draw_figure(parts[0, 0], content.crop, rows, content.figure_title)
        yield figure


def _lines(content: Content) -> Iterator[str]:
    """Yield the lines of text after the figure; a heading begins with a letter that no other line begins with."""
    for name, facts in content.sections.items():
        yield f"\f{name}"
        yield from (f"{key}: {value}" for key, value in facts.items())
    yield "\fPredictions: dense, trace"
    yield from (" | ".join(row) for row in content.predictions)
    yield "\fEvery layer: state, zeros, output error"
    yield from (" | ".join(row) for row in content.layers)
    yield "\fThe same once more"
    yield from content.replay.splitlines()
    yield "\fCitation"
    yield from BIBTEX.splitlines()
    yield "\fManifest"
    yield from _compact(content.manifest)


def _compact(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield JSON with a line for each entry, and for each part of an entry that is a list."""
    for name, value in manifest.items():
        inner = value if isinstance(value, list) and value and isinstance(value[0], dict) else None
        comma = "," if name != list(manifest)[-1] else ""
        begin = f"{'{' if name == next(iter(manifest)) else ' '}{json.dumps(name)}: "
        if inner is None:
            yield f"{begin}{json.dumps(value, ensure_ascii=False)}{comma}"
            continue
        yield f"{begin}["
        yield from (f"  {json.dumps(one, ensure_ascii=False)}{',' * (one is not inner[-1])}" for one in inner)
        yield f" ]{comma}"
    yield "}"


def text_pages(lines: Iterable[str]) -> Iterator[Figure]:
    """Yield pages of text, wrapped; headings are bold."""
    wrapped = [part for line in lines for part in _wrap(line)]
    for begin in range(0, len(wrapped), LINES):
        figure = Figure(figsize=A4)
        for number, line in enumerate(wrapped[begin : begin + LINES]):
            bold = line.startswith("\f")
            size, weight = (9.0, "bold") if bold else (SIZE, "normal")
            place = 0.09, 0.945 - 0.0098 * number
            write_text(figure, *place, line.removeprefix("\f"), family=MONO, size=size, weight=weight)
        yield figure


def _wrap(line: str) -> list[str]:
    if line.startswith("\f"):
        return ["", line, ""]
    return textwrap.wrap(line, COLUMNS, subsequent_indent="    ", drop_whitespace=False) or [""]


def write_text(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    weight: str = "normal",
    width: int = 0,
    family: str = DEFAULT,
) -> None:
    """Write text as it stands, its top at ``y``, wrapped at a ``width``; of letters that no font has, their numbers."""
    shown = text if families_for(text) else spelled(text)
    families = list(dict.fromkeys([family, *(families_for(shown) or ())]))
    lines = textwrap.fill(shown, width) if width else shown
    figure.text(x, y, lines, fontfamily=families, parse_math=False, va="top", size=size, weight=weight)
