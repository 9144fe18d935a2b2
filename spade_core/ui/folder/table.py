"""The table of a folder: thumbnails and numbers, sorted, filtered, and led through to one picture's maps."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from spade_core.cells import safe_cell
from spade_core.evaluation.folder.rows import Row
from spade_core.saliency import METHODS
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.jobs import Files
from spade_core.ui.common.pickers import select
from spade_core.ui.common.text import literal

HIGH, ROW = 560, 76  # px, of the table and of a row, in which a thumbnail fits
KINDS: Mapping[str, Callable[[Row], bool]] = {
    "All": lambda row: row.kept >= 0,
    "Class kept": lambda row: row.kept == 1,
    "Class lost": lambda row: row.kept < 1,
}
SHARES = {"Any": (0.0, 1.0), "Lower half": (0.0, 0.5), "Higher half": (0.5, 1.0), "Highest tenth": (0.9, 1.0)}
BY_NAME = "Name"
PICTURE, DENSE = "picture", "dense"  # keys of small pictures
LARGE, WIDE, FEW = 150, 540, 4  # px, of a small picture by itself and of a row's; sentences that need no folding

Order = tuple[float, float, str]


@dataclass(frozen=True)
class View:
    """The rows that are shown, in their order, and of which method."""

    rows: tuple[Row, ...]
    method: str


def read_rows(files: Files) -> list[Row]:
    """Return the rows of all pictures so far."""
    return [Row.from_dict(one) for one in read_json(files["rows.json"])] if "rows.json" in files else []


def pick_view(rows: Sequence[Row], methods: Sequence[str]) -> View:
    """Draw method, filters and order."""
    first, second, third, fourth = st.columns([1.3, 1, 1, 1.3])
    with first:
        method = select("Maps and gain of", {slug: METHODS[slug].title for slug in methods}, methods[0], "folder_of")
    orders = orders_of(method)
    with second:
        kind = select("Class", {name: name for name in KINDS}, "All", "folder_kind")
    with third:
        share = select("KL divergence", {name: name for name in SHARES}, "Any", "folder_share")
    with fourth:
        order = select("Sort by", {name: name for name in orders}, BY_NAME, "folder_order")
    gains = [row.gain(method) for row in rows]
    low, high = np.floor(min(gains)), np.ceil(max(gains))
    bounds = low, high
    if low < high:
        bounds = st.slider(
            "Gain between (points)", low, high, (low, high), 0.5, format="%+.1f", key=f"folder_gain_{method}"
        )
    return View(tuple(shown_rows(rows, method, kind, share, bounds, order)), method)


def orders_of(method: str) -> dict[str, Callable[[Row], Order]]:
    """Return the orders that there are, as keys of a sort."""
    return {
        BY_NAME: lambda row: (0.0, 0.0, row.picture),
        "Gain, highest first": lambda row: (-row.gain(method), 0.0, row.picture),
        "Gain, lowest first": lambda row: (row.gain(method), 0.0, row.picture),
        "KL, highest first": lambda row: (-row.kl, 0.0, row.picture),
        "KL, lowest first": lambda row: (row.kl, 0.0, row.picture),
        "Class lost first": lambda row: (row.kept, row.trace - row.dense, row.picture),
    }


def shown_rows(
    rows: Sequence[Row], method: str, kind: str, share: str, gain: tuple[float, float], order: str
) -> list[Row]:
    """Return the rows that are asked for, in their order.

    Args:
        kind: of ``KINDS``; share: of ``SHARES``, by rank of the KL divergence; gain: least and most, points.
        order: of :func:`orders_of`.
    """
    low, high = (np.quantile([row.kl for row in rows], end) for end in SHARES[share])
    asked = (row for row in rows if KINDS[kind](row) and low <= row.kl <= high)
    return sorted((row for row in asked if gain[0] <= row.gain(method) <= gain[1]), key=orders_of(method)[order])


def show_table(view: View, files: Files, arm: str, *, live: bool = False) -> Row | None:
    """Draw the table; return the row that is chosen, or None. While a run is ``live`` nothing can be chosen."""
    listed = [_cells(row, view.method, files, arm) for row in view.rows]
    state = hashlib.sha256(repr([view.method, *(row.picture for row in view.rows)]).encode()).hexdigest()[:12]
    shape: dict[str, Any] = {"hide_index": True, "row_height": ROW, "height": min(HIGH, ROW * len(listed) + 38)}
    shape["alt"] = "Table of the pictures with their maps, gain, divergence and class; each row can be chosen."
    shape["column_config"] = _columns(METHODS[view.method].title)
    if live:
        st.dataframe(listed, key="folder_live", **shape)
        return None
    event = st.dataframe(listed, key=f"folder_{state}", on_select="rerun", selection_mode="single-row", **shape)
    picked = event["selection"]["rows"]
    return view.rows[picked[0]] if picked and picked[0] < len(view.rows) else None


def _columns(method: str) -> dict[str, Any]:
    """Return how each column is shown; the widths fit a page of 1280 px."""
    known = st.column_config
    gain = f"{method}: insertion minus deletion, SPADE's map minus the dense one."
    kept = "Whether the trace ranks the explained class as high as the dense model does."
    return {
        "Picture": known.ImageColumn(width=76, help="What the model sees."),
        "Dense map": known.ImageColumn(width=76),
        "SPADE map": known.ImageColumn(width=76),
        "Gain": known.NumberColumn("Gain, points", width=86, format="%+.1f", help=gain),
        "Kept": known.TextColumn("Class", width=52, help=kept),
        "KL": known.NumberColumn("KL, nats", width=70, format="%.1e", help="Divergence of the trace's prediction."),
        "Class": known.TextColumn("Explained class", width=116),
        "Dense": known.NumberColumn("Dense, %", width=70, format="%.1f", help="Probability of the class."),
        "Trace": known.NumberColumn("Trace, %", width=70, format="%.1f", help="The same in the trace."),
        "Name": known.TextColumn("File", width=110),
    }


def _cells(row: Row, method: str, files: Files, arm: str) -> dict[str, object]:
    return {
        "Picture": _address(files, row, PICTURE),
        "Dense map": _address(files, row, f"{DENSE}_{method}"),
        "SPADE map": _address(files, row, f"{arm}_{method}"),
        "Gain": row.gain(method),
        "Kept": "kept" if row.kept == 1 else "lost" if row.kept == 0 else f"on {row.kept:.0%}",
        "KL": row.kl,
        "Class": safe_cell(row.label.split(",")[0]),
        "Dense": 100 * row.dense,
        "Trace": 100 * row.trace,
        "Name": safe_cell(row.picture),
    }


def small_picture(files: Files, row: Row, key: str) -> bytes | None:
    """Return a small picture of a row: ``picture``, or the map ``ARM_METHOD``."""
    return files.get(f"{PurePath(row.maps).stem}.{key}.webp")


def _address(files: Files, row: Row, key: str) -> str | None:
    data = small_picture(files, row, key)
    return None if data is None else f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def show_row(row: Row, files: Files, arm: str) -> None:
    """Draw one picture's small maps by all methods, with its numbers."""
    st.markdown(f"**{literal(row.picture)}** :gray[{literal(row.label)}]")
    picture, maps = st.columns([1, 2.2], width=WIDE)
    _show(picture, files, row, PICTURE, "What the model sees")
    for slug in row.scores:
        title, place = METHODS[slug].title, maps.container(horizontal=True)
        _show(place, files, row, f"{DENSE}_{slug}", f"{title}: dense")
        _show(place, files, row, f"{arm}_{slug}", f"{title}: SPADE, gain {row.gain(slug):+.1f}")


def _show(place: DeltaGenerator, files: Files, row: Row, key: str, caption: str) -> None:
    """Draw a small picture, where it is there."""
    if (data := small_picture(files, row, key)) is not None:
        place.image(data, caption=caption, width=LARGE, alt=f"{row.picture}: {caption}")


def show_left_out(rows: Sequence[Row]) -> None:
    """List the pictures that do not count, with their sentences."""
    left = [row.left_out for row in rows if row.left_out]
    if left:
        with st.expander(f"{len(left)} left out", icon=":material/hide_image:", expanded=len(left) < FEW):
            for sentence in left:
                st.markdown(f"- {literal(sentence)}")
