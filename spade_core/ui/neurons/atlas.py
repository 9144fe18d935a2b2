"""The atlas: the channels of a layer that a picture uses most, each with its drawing or what else excites it.

Drawings are jobs of the single page's kind, small and short, one after the other: what is drawn stays when the rest is
cancelled, is there again tomorrow, and other people's jobs come in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypedDict

import streamlit as st

from spade_core.models.naming import titled
from spade_core.neurons import LOGITS, RANKINGS
from spade_core.ui.common.downloads import read_json
from spade_core.ui.common.frame import jobs
from spade_core.ui.common.jobs import files_of, outcome, remember, remembered
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject
from spade_core.ui.common.text import literal
from spade_core.ui.neurons.pickers import take
from spade_core.ui.neurons.references import WANTED, chosen_folder

ONE = "This picture"  # the tab that a click on a tile opens
SLOT = "atlas_drawing"  # the session's name for the drawing that is under way
WANTS = "atlas_wants"  # and for the channels that are to be drawn
TOP = 12
STEPS, SIZE = 96, 128  # of a tile's drawing; px
TILE, SIDE = 276, 112  # px, of a tile, of which three stand in a row at 1280, and of its two pictures
SIDES = {"spade": "SPADE", "dense": "Dense"}
HINT = (
    "The channels of the layer above that this picture uses most, each with the part of the picture where it is "
    "largest. A click makes the trace, if it is not there, and ranks them."
)


class Row(TypedDict):
    """A row of ``ranking.json``: see ``Score``; ``best``: the value of the best crop, None without one."""

    channel: int
    score: float
    dense: float
    spade: float
    best: float | None


@dataclass(frozen=True)
class _Atlas:
    """What the tiles show: rows and their small pictures, and which network's drawings."""

    choice: Choice
    subject: Subject
    rows: list[Row]
    files: Mapping[str, bytes]
    side: str

    def payload(self, row: Row) -> dict[str, object]:
        """Return the request of a tile's drawing."""
        choice, described = self.choice, self.subject.described
        one = replace(choice, channel=row["channel"], position=None, images=1, steps=STEPS)
        top = described.probabilities.index(max(described.probabilities))
        config = replace(one.drawing(), target=top if choice.target is None else choice.target)
        config = replace(config, render={**config.render, "size": SIZE})
        return {"model": self.subject.spec, "picture": self.subject.source, "config": config.to_dict()}

    def drawn(self, row: Row) -> Mapping[str, bytes]:
        """Return the files of a finished drawing, or those of one that forms."""
        payload, (ticket, under_way) = self.payload(row), remembered(SLOT)
        if ticket is None or under_way != payload:
            ticket = jobs().known("visualization", payload)
        if ticket is None:
            return {}
        return ticket.result() if ticket.status().state == "done" else ticket.partials()

    def called(self, row: Row) -> str:
        """Return what people call a tile's neuron."""
        channel = row["channel"]
        return self.subject.described.called(channel) if self.choice.layer == LOGITS else f"Channel {channel}"


def render_atlas(choice: Choice, subject: Subject) -> None:
    """Draw the channels of the chosen layer that stand out for the picture; a click on one leads to its drawing."""
    st.markdown(f"**{literal(titled(str(choice.layer)))}** :gray[of this picture and its trace]")
    begin = "activation" if choice.layer == LOGITS else "gradient"  # of the classes only the explained one has any
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = _pick("Sort by", {slug: ranking.title for slug, ranking in RANKINGS.items()}, begin, f"by_{begin}")
        side = _pick("Drawings of", SIDES, "spade", "atlas_side")
    st.caption(RANKINGS[by].help)
    what = {"target": choice.target, "layer": choice.layer, "by": by, "top": TOP, **chosen_folder()}
    payload = {"model": subject.spec, "picture": subject.source, "trace": choice.trace_arguments(), **what}
    before = remembered("ranking")[1]
    again = isinstance(before, dict) and {**before, "by": by} == payload  # what was asked for once, sorted anew
    files = files_of("ranking", payload, offer=None if again else "Show the channels")
    if files is None:
        st.caption(HINT)
        return
    rows = [row for row in read_json(files["ranking.json"]) if row["score"] > 0]
    if not rows:
        st.caption("No channel of this layer has a score above zero: choose another layer, or sort by something else.")
        return
    _show(_Atlas(choice, subject, rows, files, side))


def _pick(label: str, titles: Mapping[str, str], begin: str, key: str) -> str:
    found = st.segmented_control(label, list(titles), default=begin, key=key, format_func=titles.__getitem__)
    return found or begin


def _show(atlas: _Atlas) -> None:
    """Show the tiles in their order, below what is being drawn."""
    found = [atlas.drawn(row) for row in atlas.rows]
    left = [row for row, files in zip(atlas.rows, found, strict=True) if "manifest.json" not in files]
    _offer(atlas, left)
    with st.container(horizontal=True, gap="medium"):
        for row, files in zip(atlas.rows, found, strict=True):
            with st.container(border=True, width=TILE):
                _show_tile(atlas, row, files)
    if any(row["best"] is None for row in atlas.rows):
        st.caption(f":material/info: Where only this picture excites a channel, the set holds nothing for it. {WANTED}")


def _show_tile(atlas: _Atlas, row: Row, drawn: Mapping[str, bytes]) -> None:
    called, channel = atlas.called(row), row["channel"]
    picture, what, alt = atlas.files[f"here_{channel}.png"], "Here", f"Part of this picture that excites {called} most"
    other = drawn.get(f"{atlas.side}.png")
    by = f"{SIDES[atlas.side]} drawing"
    with st.container(horizontal=True, gap="small"):
        st.image(picture, caption=what, width=SIDE, alt=alt)
        if other is not None:
            st.image(other, caption=by, width=SIDE, alt=f"{called}, drawn: {by}")
        elif row["best"] is not None:
            alt = f"Part of another picture that excites {called} most"
            st.image(atlas.files[f"best_{channel}.png"], caption=f"Elsewhere: {row['best']:.2g}", width=SIDE, alt=alt)
    give = partial(_open, str(atlas.choice.layer), channel, atlas.subject)
    st.button(literal(called), key=f"tile_{channel}", on_click=give, width="stretch", help="Draw it large.")
    st.caption(f"Share of the logit: {row['dense']:.2g} dense, {row['spade']:.2g} in the trace")


def _open(layer: str, channel: int, subject: Subject) -> None:
    take(layer, channel, subject)
    st.session_state["neuron_tabs"] = ONE


def _offer(atlas: _Atlas, left: list[Row]) -> None:
    """Offer to draw what is left, or go on with it: one job after the other."""
    asked = json.dumps([atlas.payload(row) for row in atlas.rows], sort_keys=True)
    if st.session_state.get(WANTS) != asked:
        if left:
            label = "Draw these" if len(left) == len(atlas.rows) else "Draw the other"
            st.button(f"{label} {len(left)}", key="atlas_draw", on_click=_want, args=(asked,), icon=":material/brush:")
        return
    if not left:
        del st.session_state[WANTS]
        return
    row, at = left[0], len(atlas.rows) - len(left) + 1
    st.caption(f"Drawing {at} of {len(atlas.rows)}: {literal(atlas.called(row))}, {STEPS} steps. What is drawn stays.")
    ticket = jobs().submit("visualization", atlas.payload(row))
    remember(SLOT, ticket, atlas.payload(row))
    files = outcome(ticket, SLOT, cancelled="Cancelled.", cancel=partial(_stop, ticket.cancel))
    if files is not None:
        st.rerun()
    if ticket.status().finished:  # it failed, and the next would
        st.session_state.pop(WANTS, None)


def _want(asked: str) -> None:
    st.session_state[WANTS] = asked


def _stop(cancel: Callable[[], None]) -> None:
    """Give up the drawing that is under way, and those that would follow."""
    st.session_state.pop(WANTS, None)
    cancel()
