"""A folder run on paper, by matplotlib: what holds of all pictures, each picture with its maps, settings, citation.

The page ``pictures.html`` of the run (``evaluation.folder.report``) says the same on a screen.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from PIL import Image

from spade_core.citation import BIBTEX
from spade_core.evaluation.evidence import Evidence
from spade_core.evaluation.folder.rows import PICTURE, Row
from spade_core.evaluation.folder.summary import (
    FAITHFUL,
    HEAD,
    MOST,
    first_of,
    gains_of,
    outcomes_of,
    sections_of,
    title_of,
)
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.reports.content import READING
from spade_core.reports.paper import A4, DPI, text_pages, write_text
from spade_core.saliency import METHODS

ACROSS = 3  # methods whose maps stand on a line of a picture
ROWS = 9  # lines a page
LEFT, WIDE = 0.09, 0.088  # where the small pictures begin and how far apart they are, of the page
SIDE, COLOURS = 112, 128  # px of a small picture, and its colours: a file of hundreds stays small enough to send
HEADS = (0.09, 0.38, 0.48, 0.58, 0.8)  # where the columns of the table of methods begin


@dataclass(frozen=True, eq=False)
class FolderContent:
    """What the report of a folder says.

    Attributes:
        rows: of all pictures; statistics: of those that count; header: of ``Configuration.header``.
        small: gives a row's small pictures, bytes of image files, by their keys (see ``evaluation.folder.maps``).
        command: that makes the same, or "".
    """

    rows: Sequence[Row]
    statistics: Statistics
    header: Mapping[str, object]
    small: Callable[[Row], Mapping[str, bytes]]
    command: str = ""


def read_content(files: Mapping[str, bytes], command: str = "") -> FolderContent:
    """Return the content of the files of a job ``folder`` (``tasks.folders``); ``command``: that makes the same."""
    found = Evidence.of(io.BytesIO(files["results.parquet"]))
    rows = [Row.from_dict(one) for one in json.loads(files["rows.json"])]

    def small(row: Row) -> dict[str, bytes]:
        begin = f"{PurePath(row.maps).stem}."
        names = (name for name in files if name.startswith(begin) and name.endswith(".webp"))
        return {name.removeprefix(begin).removesuffix(".webp"): files[name] for name in names}

    return FolderContent(rows, found.statistics, found.results.header, small, command)


def folder_pdf(content: FolderContent) -> bytes:
    """Return the report as a PDF; the same content gives the same bytes."""
    out, title = io.BytesIO(), title_of(content.statistics, content.header)
    still = {"Title": title, "Creator": "SPADE Studio", "CreationDate": None}
    with mpl.rc_context({"pdf.fonttype": 42, "image.interpolation": "none"}), PdfPages(out, metadata=still) as pages:
        for figure in chain([_first(content, title)], _pictures(content), text_pages(_lines(content))):
            pages.savefig(figure, dpi=DPI)
    return out.getvalue()


def _first(content: FolderContent, title: str) -> Figure:
    """Return the first page: what holds of all pictures."""
    figure = Figure(figsize=A4)
    write_text(figure, LEFT, 0.935, title, size=14, weight="bold", width=70)
    for number, (name, value) in enumerate(outcomes_of(content.statistics).items()):
        write_text(figure, LEFT, 0.88 - 0.022 * number, name, size=8, weight="bold")
        write_text(figure, 0.3, 0.88 - 0.022 * number, value, size=8)
    for number, cells in enumerate((HEAD, *gains_of(content.statistics))):
        for left, cell in zip(HEADS, cells, strict=True):
            place = left, 0.76 - 0.022 * number
            write_text(figure, *place, cell, size=8, weight="normal" if number else "bold")
    end = 0.73 - 0.022 * (1 + len(content.statistics.configuration.methods))
    write_text(figure, LEFT, end, f"{FAITHFUL} Intervals of 95 % are bootstrapped over pictures.", size=8, width=112)
    write_text(figure, LEFT, end - 0.05, READING, size=8, width=112)
    if len(_counted(content)) > MOST:
        write_text(figure, LEFT, end - 0.1, first_of(_counted(content)), size=8, width=112)
    return figure


def _pictures(content: FolderContent) -> Iterator[Figure]:
    """Yield pages of the pictures with their maps, a few methods a line."""
    arms, lines = content.statistics.configuration.arms, _lines_of(content)
    while group := tuple(islice(lines, ROWS)):
        figure = Figure(figsize=A4)
        for number, (row, small, methods) in enumerate(group):
            _picture(figure, 0.945 - 0.1 * number, row, small, methods, arms)
        yield figure


def _lines_of(content: FolderContent) -> Iterator[tuple[Row, Mapping[str, bytes], Sequence[str]]]:
    """Yield what stands on a line: a row, its small pictures, and a few methods."""
    for row in _counted(content)[:MOST]:
        small = content.small(row)
        for at in range(0, len(row.scores), ACROSS):
            yield row, small, list(row.scores)[at : at + ACROSS]


def _counted(content: FolderContent) -> list[Row]:
    return [row for row in content.rows if not row.left_out]


def _picture(
    figure: Figure, top: float, row: Row, small: Mapping[str, bytes], methods: Sequence[str], arms: Sequence[str]
) -> None:
    """Draw a line: what the model sees, its numbers, and the two maps of each method."""
    _image(figure, LEFT, top, small.get(PICTURE))
    lost = "" if row.kept == 1 else " (class lost)"
    told = f"{row.picture[:24]}\n{row.label.split(',')[0][:24]}{lost}\ndense {row.dense:.1%}, trace {row.trace:.1%}"
    write_text(figure, LEFT + WIDE, top, f"{told}\nKL {row.kl:.1e} nats", size=6)
    for at, slug in enumerate(methods):
        left = 0.34 + 2.2 * WIDE * at
        for side, arm in enumerate(arms):
            _image(figure, left + WIDE * side, top, small.get(f"{arm}_{slug}"))
            write_text(figure, left + WIDE * side, top + 0.0085, "dense" if arm == DENSE else "SPADE", size=5)
        gain = f"{METHODS[slug].title}: {row.gain(slug):+.1f}"
        write_text(figure, left, top - 0.062, gain, size=6)


def _image(figure: Figure, left: float, top: float, data: bytes | None) -> None:
    """Draw a small picture with its top at ``top``, where it is there."""
    if data is None:
        return
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((SIDE, SIDE))
        pixels = np.asarray(image.quantize(COLOURS).convert("RGB"))
    axes = figure.add_axes((left, top - 0.06, 0.96 * WIDE, 0.06))
    axes.imshow(pixels)
    axes.set_anchor("NW")
    axes.set_axis_off()


def _lines(content: FolderContent) -> Iterator[str]:
    """Yield the lines of text after the pictures; a heading begins with a form feed."""
    left_out = [row.left_out for row in content.rows if row.left_out]
    yield from ("\fLeft out", *left_out) if left_out else ()
    for name, facts in sections_of(content.header).items():
        yield f"\f{name}"
        yield from (f"{key}: {value}" for key, value in facts.items())
    yield from ("\fThe same once more", *content.command.splitlines()) if content.command else ()
    yield "\fCitation"
    yield from BIBTEX.splitlines()
