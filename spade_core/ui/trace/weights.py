"""The weights of a layer that survived: the whole of it as a map, a window of single ones, inputs by channel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from spade_core.inspection.ordering import ORDERS, pooled_map
from spade_core.models.naming import titled
from spade_core.pruning.report import LayerReport
from spade_core.ui.common import panels
from spade_core.ui.common.jobs import Files
from spade_core.ui.trace import plots

WINDOW = 256  # rows and columns of a window of single weights, at most
ORDER = (
    "**Fullest first**: by how many weights survived, so that what is empty shows. **Grouped**: outputs and inputs "
    "whose weights survived together stand together (spectral co-clustering, Dhillon 2001); most masks have little of "
    "it, and what is empty comes last."
)


@dataclass(frozen=True, eq=False)
class _Layer:
    """What is known of a layer's survivors.

    Attributes:
        values: uint8, the map, see ``inspection.ordering.pooled_map``; kept: inputs of each output channel.
        mask: bool ``(rows, columns)``; None: the map is coarse, and a case of the gallery keeps no more.
        bits: whether the map is coarse and the mask is there.
    """

    name: str
    values: np.ndarray
    kept: np.ndarray
    mask: np.ndarray | None
    bits: bool


def render_weights(files: Files, rows: Sequence[LayerReport], *, drawn: bool = True) -> None:
    """Show the surviving weights of a layer that is chosen among the pruned ones, the last first.

    Args:
        drawn: whether more than the fields is shown.
    """
    pruned = {row.name: row.shape for row in reversed(rows) if row.status == "pruned"}
    if not pruned:
        st.info("No layer of this trace was pruned.")
        return
    titles = {name: f"{titled(name)} · {' x '.join(map(str, shape))}" for name, shape in pruned.items()}
    name = st.selectbox("Layer", list(pruned), format_func=titles.__getitem__, key="map_layer")
    layer = _read(files["maps.npz"], name, pruned[name])
    _show_map(layer, pruned[name], drawn=drawn)
    if layer.bits and layer.mask is not None:
        _show_window(layer.name, layer.mask, drawn=drawn)
    order = st.segmented_control("Channels", ["in order", "fullest first"], default="in order", key="inputs_order")
    if not drawn:
        return
    figure = plots.inputs_figure(layer.kept, by_count=order == "fullest first")
    panels.show_chart(figure, "inputs_plot", f"Inputs that each output channel of {name} still reads")


def _read(data: bytes, name: str, shape: Sequence[int]) -> _Layer:
    whole = shape[0], int(np.prod(shape[1:]))
    with np.load(io.BytesIO(data)) as maps:
        values, kept, bits = maps[f"{name}.map"], maps[f"{name}.inputs"], maps.get(f"{name}.bits")
    if bits is not None:
        single = np.unpackbits(bits, count=whole[0] * whole[1]).reshape(whole).astype(bool)
        return _Layer(name, values, kept, single, bits=True)
    return _Layer(name, values, kept, values > 0 if values.shape == whole else None, bits=False)


def _show_map(layer: _Layer, shape: Sequence[int], *, drawn: bool) -> None:
    names = list(ORDERS)
    by = names[0]
    if layer.mask is not None:
        by = st.segmented_control("Outputs and inputs", names, default=by, key="map_order", help=ORDER) or by
    if not drawn:
        return
    values, order = layer.values, ORDERS[by]
    if order is not None and layer.mask is not None:
        values = (255 * pooled_map(layer.mask[np.ix_(*order(layer.mask))])).round().astype(np.uint8)
    coarse = " A cell shows the share of several weights; the window below shows single ones." if layer.bits else ""
    st.caption(f"Dark weights survived; drag to zoom.{coarse}")
    what = f"Map of the weights of {layer.name}, {by}: {layer.values.mean() / 255:.0%} survived"
    panels.show_chart(plots.map_figure(values, shape, "" if order is None else by), "map_plot", what)


def _show_window(name: str, mask: np.ndarray, *, drawn: bool) -> None:
    """Show a window of a large layer in which each cell is one weight."""
    rows, columns = mask.shape
    fields = st.columns(4)
    size_down = int(fields[2].number_input("Rows shown", 1, WINDOW, min(rows, WINDOW // 4), key="window_rows"))
    shown = min(columns, WINDOW // 2)
    size_across = int(fields[3].number_input("Columns shown", 1, WINDOW, shown, key="window_columns"))
    last_row, last = rows - 1, columns - 1
    top = int(fields[0].number_input(f"First row (0 to {last_row})", 0, last_row, 0, key=f"window_top_{name}"))
    left = int(fields[1].number_input(f"First column (0 to {last})", 0, last, 0, key=f"window_left_{name}"))
    if not drawn:
        return
    part = mask[top : top + size_down, left : left + size_across]
    what = f"{int(part.sum()):,} of {part.size:,} weights of this window survived"
    panels.show_chart(plots.window_figure(part, top, left), "window_plot", what)
    st.caption(f"{what}.")
