"""The class to explain, the methods, and their options, drawn from their declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from spade_core.models.naming import titled
from spade_core.pruning.kinds import Number, OneOf, Whole
from spade_core.saliency import COSTS, METHOD_OPTIONS, METHODS
from spade_core.saliency.options import MethodOption
from spade_core.ui.common.link import Choice
from spade_core.ui.common.pickers.fields import select
from spade_core.ui.common.text import literal

CHOSEN_CLASS = "chosen_class"  # the session's name for the class to explain, and of what
CHOSEN_METHODS = "methods"  # the session's name for what is chosen
SEVERAL = 3  # reasons why methods are not offered, which then fold up


def pick_target(start: Choice, labels: Sequence[str], probabilities: Sequence[float], of: Sequence[str]) -> int | None:
    """Return the class to explain: None for the top-1, else an index, by rank or by search.

    Args:
        of: what tells one model and picture from another, and what else the probabilities depend on. The choice stays
            while the first is the same; the field is a new one whenever what it says has changed.
    """
    ranked = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:5]
    order = [None, *ranked[1:], *(index for index in range(len(labels)) if index not in ranked)]

    def show(index: int | None) -> str:
        real = ranked[0] if index is None else index
        return f"{labels[real]} · {probabilities[real]:.1%}" + (" (predicted)" if index is None else "")

    before, wanted = st.session_state.get(CHOSEN_CLASS, (of[0], start.target))
    wanted = wanted if before == of[0] and wanted is not None and wanted < len(labels) else None
    index = order.index(None if wanted == ranked[0] else wanted)
    hint = "The most probable classes come first; type to search all of them."
    key = "_".join(("target", *of))
    chosen = st.selectbox("Class to explain", order, index, format_func=show, key=key, help=hint)
    st.session_state[CHOSEN_CLASS] = of[0], chosen
    return chosen


def pick_methods(start: Choice, unsupported: Mapping[str, str]) -> tuple[str, ...]:
    """Return the chosen methods, the cheapest first, whose maps are there first.

    Those that this model does not support are not offered, and the page says why.
    """
    offered = sorted((slug for slug in METHODS if slug not in unsupported), key=_cost)
    first = [slug for slug in start.methods if slug in offered] or offered[:1]
    before = st.session_state.get(CHOSEN_METHODS)
    default: list[str] | None = first
    if before and not set(before) & set(offered):  # none of them fits the model that was chosen since
        st.session_state[CHOSEN_METHODS], default = first, None
    title = {slug: f"{method.title} · {method.cost}" for slug, method in METHODS.items()}.__getitem__
    hint = " ".join(f"**{method.title}**: {method.help}" for method in METHODS.values())
    chosen = st.multiselect("Methods", offered, default, format_func=title, key=CHOSEN_METHODS, help=hint)
    if not chosen:
        st.caption(":material/info: Choose at least one method to run.")
    few = len(unsupported) < SEVERAL
    place = st.container() if few else st.expander(f"{len(unsupported)} methods do not fit this model")
    for reason in unsupported.values():  # each names its method
        place.caption(f":material/block: {literal(reason)}")
    return tuple(sorted(chosen, key=offered.index))


def _cost(slug: str) -> int:
    return COSTS.index(METHODS[slug].cost)


def pick_method_options(
    start: Choice, methods: Sequence[str], advice: Mapping[str, str] | None = None
) -> Mapping[str, Mapping[str, object]]:
    """Draw a field for each option of the chosen methods, and return those that are not at their defaults.

    Args:
        advice: layers that are worth reading, best first, and why.
    """
    asked = [METHODS[slug] for slug in methods if METHODS[slug].options]
    found: dict[str, dict[str, object]] = {}
    if not asked:
        return found
    with st.expander("Options of the methods", icon=":material/instant_mix:"):
        for method in asked:
            begin = method.complete(start.options.get(method.slug, {}))
            st.markdown(f"**{method.title}**")
            found[method.slug] = {
                name: _pick_option(option, begin[name], f"option_{method.slug}_{name}", advice or {})
                for name, option in method.options.items()
            }
    return METHOD_OPTIONS.check(found)


def _pick_option(option: MethodOption, begin: Any, key: str, advice: Mapping[str, str]) -> object:
    """Draw the field of an option; an empty one leaves it at its default."""
    kind, label, hint = option.kind, option.label, option.help
    if isinstance(kind, OneOf):
        return select(label, {slug: slug for slug in kind.table}, begin, key, hint)
    if isinstance(kind, Whole):
        return st.number_input(label, kind.low, kind.high, begin, key=key, help=hint)
    if isinstance(kind, Number):
        low, high = float(kind.low), float(kind.high)
        return st.number_input(label, low, high, begin, step=0.01, format="%.4g", key=key, help=hint)
    layers = list(dict.fromkeys(["", *advice, begin or ""]))
    told = " ".join(f"**{name}**: {reason}" for name, reason in advice.items())
    typed = st.selectbox(
        label,
        layers,
        layers.index(begin or ""),
        format_func=lambda name: titled(name) if name else "The last one",
        key=key,
        help=f"{hint} {told}",
        accept_new_options=True,
    )
    return typed or None
