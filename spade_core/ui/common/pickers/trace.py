"""The trace's options, drawn from their declarations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from spade_core.models.naming import titled
from spade_core.pruning.kinds import Number, OneOf, Ratios, Switch, Whole
from spade_core.pruning.options import BUNDLE_OPTIONS, TRACE_OPTIONS, Option, Widget
from spade_core.pruning.sparsity import Tuned
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers.fields import select

PREFERRED = "the preset's"


def pick_trace(choice: Choice, start: Choice, stages: Sequence[str], tuned: Tuned | None) -> Choice:
    """Draw what a page offers of the trace's options, and return ``choice`` with what is chosen.

    Args:
        start: where the fields begin, and what is not offered stays.
        stages: of the model; tuned: its table.
    """
    found: dict[str, Any] = {}
    for name, option in TRACE_OPTIONS.items():
        if option.preset not in (None, found.get("preset")):
            continue
        begin = getattr(start, name)
        if option.widget is None:  # a link may have said it
            found[name] = begin
        elif isinstance(option.kind, Ratios):
            ratios = dict.fromkeys(stages[1:], 0.0) | (tuned["stages"] if tuned else {}) | begin
            found[name] = {
                one: st.slider(titled(one), 0.0, 0.99, float(ratios[one]), 0.01, key=f"stage_{one}")
                for one in stages[1:]
            }
        elif isinstance(option.kind, OneOf):
            found[name] = _pick_slug(name, option.kind, option.widget, begin)
        else:
            preferred = tuned["options"].get(name) if tuned else None
            found[name] = _pick_number(name, option, option.widget, begin, preferred or option.otherwise)
    return replace(choice, **found)


def pick_bundle(choice: Choice, start: Choice) -> Choice:
    """Draw how many traces a map is made of, and how; return ``choice`` with what is chosen."""
    found: dict[str, Any] = {}
    for name, option in BUNDLE_OPTIONS.items():
        begin = getattr(start, name)
        if option.widget is None or found.get("traces") == 1:
            found[name] = begin
        elif isinstance(option.kind, OneOf):
            found[name] = _pick_slug(name, option.kind, option.widget, begin)
        else:
            found[name] = _pick_number(name, option, option.widget, begin, option.otherwise)
    return replace(choice, **found)


def _pick_slug(name: str, kind: OneOf, widget: Widget, begin: str | None) -> str | None:
    """Draw the choice of an entry of a table; an option that begins open may stay so."""
    entries = kind.titled()
    slugs = [*([None] if getattr(Choice(), name) is None else []), *(widget.offered or kind.table)]
    titles = {slug: entries[slug].title if slug in entries else slug or PREFERRED for slug in slugs}
    hint = widget.help or " ".join(f"{entry.title}: {entry.help}" for entry in entries.values())
    found = select(widget.label, titles, begin, name, hint)
    if widget.explained and found is not None:
        st.caption(entries[found].help)
    return found


def _pick_number(
    name: str, option: Option, widget: Widget, begin: float | None, preferred: object
) -> float | bool | None:
    """Draw a switch, a slider or a field; or the choice of a count, where None leaves it to the preset."""
    hint = widget.help or None
    if isinstance(option.kind, Switch):
        return st.toggle(widget.label, bool(begin), key=name, help=hint)
    if isinstance(option.kind, Number):
        low, first = float(option.kind.low), begin or widget.begin
        return st.slider(widget.label, low, widget.most, first, 0.01, key=name, help=hint)
    if isinstance(option.kind, Whole) and not widget.counts:
        return st.number_input(widget.label, option.kind.low, option.kind.high, begin, key=name, help=hint)
    counts = [None, *sorted({*widget.counts, *([begin] if begin else [])})]
    titles = {count: f"{count:,}" if count else f"{PREFERRED} ({preferred})" for count in counts}
    return select(widget.label, titles, begin, name, hint)
