"""A grid of maps: a row a method, a column a network, one picture and one zoom for all.

The browser colours, cuts and enlarges the maps, so they travel as one byte a pixel, in units of their own top; the
page's downloads hold them in full. A message that has not changed is not sent again by Streamlit.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
import streamlit as st
from PIL import Image

from spade_core.config import ASSETS
from spade_core.pictures.scales import DIFFERENCE, MAGNITUDE, SIGNED, SPREAD, Scale

FOLDER = ASSETS / "maps"
SCALES = {"magnitude": MAGNITUDE, "signed": SIGNED, "difference": DIFFERENCE, "spread": SPREAD}
PICTURES = 64  # kept for all users, about 50 kB each
MIDDLE, HIGHEST = 127, 255  # bytes of 0 on a centred scale, and of the top on others


@dataclass(frozen=True)
class Chip:
    """A short word of evidence beside a method; its colour repeats what the text says."""

    text: str
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True, eq=False)
class Panel:
    """One map.

    Attributes:
        name: of its column; text: what a screen reader says of it.
        values: ``(height, width)``, in units in which ``most`` fills the colours.
        scale: of ``SCALES``.
        picture: which of the grid's lies under it.
    """

    name: str
    text: str
    values: np.ndarray
    scale: str
    most: float = 1.0
    picture: int = 0


@dataclass(frozen=True, eq=False)
class Row:
    """The maps of one method.

    Attributes:
        slug: what tells it from other rows; title, help: for people.
        panels: of one shape.
        pair: whether the first two are of the same picture, so that a slider can lie between them.
    """

    slug: str
    title: str
    help: str
    panels: Sequence[Panel]
    chips: Sequence[Chip] = ()
    notes: Sequence[str] = ()
    pair: bool = True


def show_grid(
    pictures: Sequence[np.ndarray],
    rows: Sequence[Row],
    *,
    pending: Sequence[str] = (),
    key: str,
    ends: tuple[str, str] = (DIFFERENCE.low, DIFFERENCE.high),
) -> None:
    """Draw the grid.

    Args:
        pictures: what the model sees, uint8 ``(height, width, 3)`` each.
        pending: titles of methods that are still being computed.
        key: under which the browser keeps layout, overlay, threshold and zoom.
        ends: what the colours of a difference mean.
    """
    scales = {**SCALES, "difference": replace(DIFFERENCE, low=ends[0], high=ends[1])}
    data = {
        "key": key,
        "pictures": [_photograph(picture.tobytes(), picture.shape) for picture in pictures],
        "scales": {name: {**asdict(scale), "palette": _text(scale.palette())} for name, scale in scales.items()},
        "rows": [_told(row) for row in rows],
        "pending": list(pending),
    }
    _component()(key=key, data=data)


def prepare_grid() -> None:
    """Let the browser load what draws a grid, out of sight, so that the first maps do not wait for it."""
    show_grid([], [], key="prepared")


@cache
def _component() -> Any:
    """Register the component; its script travels as text, as no installed package holds it."""
    html, css, js = ((FOLDER / f"grid.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("maps_grid", html=html, css=css, js=js)


def _told(row: Row) -> dict[str, object]:
    panels = [
        {
            "name": panel.name,
            "text": panel.text,
            "values": _text(levels(panel.values / panel.most, SCALES[panel.scale]).tobytes()),
            "scale": panel.scale,
            "most": panel.most,
            "picture": panel.picture,
        }
        for panel in row.panels
    ]
    told = {"slug": row.slug, "title": row.title, "help": row.help, "pair": row.pair, "notes": list(row.notes)}
    return {
        **told,
        "shape": row.panels[0].values.shape,
        "chips": [asdict(chip) for chip in row.chips],
        "panels": panels,
    }


def levels(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Return a map as uint8: 0 to 1 as 0 to 255, or -1 to 1 as 0 to 254 with 0 at 127; what lies beyond is clipped."""
    clean = np.nan_to_num(values)
    if scale.centred:
        return (np.clip(clean, -1, 1) * MIDDLE + MIDDLE).round().astype(np.uint8)
    return (np.clip(clean, 0, 1) * HIGHEST).round().astype(np.uint8)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@lru_cache(maxsize=PICTURES)
def _photograph(pixels: bytes, shape: tuple[int, ...]) -> str:
    """Return a picture as the address of a JPEG."""
    out = io.BytesIO()
    Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(shape)).save(out, "JPEG", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{_text(out.getvalue())}"
