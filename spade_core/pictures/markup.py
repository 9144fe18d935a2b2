"""HTML of results for notebooks and reports: every foreign string is escaped, every picture has a text of its own.

Nothing here runs or is fetched, so that it stands in notebooks that are not trusted, and colours are the reader's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from spade_core.pictures.figures import png_bytes
from spade_core.pictures.viewer import address

SIDE = 224  # px at which a picture is shown
_CELL = "text-align: left; padding: 0.1rem 1rem 0.1rem 0; vertical-align: top; font-weight: normal"


def picture_html(pixels: np.ndarray, caption: str, alt: str, side: int = SIDE) -> str:
    """Return a picture with its caption.

    Args:
        pixels: uint8 ``(height, width, 3)``; alt: what it shows, for who cannot see it; side: of its width, px.
    """
    image = f'<img src="{address(png_bytes(pixels))}" alt="{escape(alt)}" width="{side}" style="max-width: 100%">'
    return f'<figure style="margin: 0">{image}<figcaption>{escape(caption)}</figcaption></figure>'


def facts_html(facts: Mapping[str, object]) -> str:
    """Return names and values as a table."""
    rows = (
        f'<tr><th scope="row" style="{_CELL}; opacity: 0.75">{escape(name)}</th>{_cell(value)}</tr>'
        for name, value in facts.items()
    )
    return f'<table style="border-collapse: collapse; background: none">{"".join(rows)}</table>'


def rows_html(summary: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a head, folded under a ``summary``."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<details><summary>{escape(summary)}</summary>{table}</details>"


def _cell(value: object) -> str:
    return f'<td style="{_CELL}">{escape(str(value))}</td>'


def beside_html(*parts: str) -> str:
    """Return parts beside each other, below each other where there is no room."""
    return f'<div style="display: flex; flex-wrap: wrap; gap: 0.75rem">{"".join(parts)}</div>'


def card_html(title: str, *parts: str, notes: Iterable[str] = ()) -> str:
    """Return a result: its title, its parts (HTML of these functions) and what is to be known of it."""
    told = "".join(f'<p style="margin: 0.25rem 0">{escape(note)}</p>' for note in notes)
    head = f'<div style="font-weight: 600; margin-bottom: 0.35rem">{escape(title)}</div>'
    return f'<div style="font-family: system-ui, sans-serif; line-height: 1.4">{head}{"".join(parts)}{told}</div>'
