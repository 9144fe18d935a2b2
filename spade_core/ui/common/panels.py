"""What a page shows of a job and of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NotRequired, TypedDict

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from spade_core.evaluation.evidence import Claim
from spade_core.evaluation.processing import PROCESSING
from spade_core.pruning.options import BundleOptions
from spade_core.pruning.report import Fidelity, LayerReport
from spade_core.saliency import METHODS
from spade_core.ui.common.downloads import read_array, read_json
from spade_core.ui.common.plots import pair_figure, top_figure
from spade_core.ui.common.text import literal

SHOWN, NOTABLE = 0.0005, 0.01  # changes of a probability: below, it rounds to nothing; from here on, it has a colour
FIGURES = 24  # kept for all users, about 2 MB each


class Side(TypedDict):
    """A manifest's entry of one map; where a trigger was pasted it holds the scores."""

    notes: list[str]
    trojan_auc: NotRequired[float]
    pointing_game: NotRequired[bool]


class Maps(TypedDict):
    """A manifest's entry of one method; of a bundle it has the lowest rank correlation of two traces' maps."""

    dense: Side
    spade: Side
    agreement: NotRequired[float]


class Traced(TypedDict):
    """A manifest's entry of one trace; older ones do not say whose maps it makes, nor whether it was pruned."""

    methods: NotRequired[list[str]]
    pruned: NotRequired[bool]
    seed: int
    sparsity: float
    fidelity: dict[str, Any]


class Class(TypedDict):
    """A predicted class."""

    label: str
    probability: float


def show_fidelity(described: Mapping[str, Any], seconds: float) -> None:
    """Show what the trace still predicts, beside what it keeps, of a manifest or ``trace.json``."""
    fidelity = Fidelity.from_dict(described["fidelity"])
    columns = st.columns([2.2, 1.4, 1, 1])
    columns[0].metric("Explained class", literal(fidelity.label.split(",")[0]))
    change = fidelity.trace_probability - fidelity.dense_probability
    against = f"{100 * change:+.1f} points against dense" if abs(change) >= SHOWN else "as in the dense model"
    notable = abs(change) >= NOTABLE
    colour: Literal["normal", "off"] = "normal" if notable else "off"
    arrow: Literal["auto", "off"] = "auto" if notable else "off"
    probability = f"{fidelity.trace_probability:.1%}"
    columns[1].metric("Its probability in the trace", probability, against, delta_color=colour, delta_arrow=arrow)
    columns[2].metric("Weights removed", f"{described['sparsity']:.1%}")
    columns[3].metric("Trace computed in", f"{seconds:.1f} s")
    if fidelity.warning:
        st.warning(literal(fidelity.warning), icon=":material/warning:")


def show_bundle(traces: Sequence[Traced], bundle: BundleOptions) -> None:
    """Say where maps come from several traces, how many they are means of, and how many of them keep the class."""
    own = len({tuple(one.get("methods", ())) for one in traces})
    if own > 1:
        told = "Above is the one, of those that were pruned, that keeps the class least."
        kind = "traces" if bundle.traces == 1 else "bundles of traces"
        st.caption(f"The table has ratios for each method: these maps come from {own} {kind}. {told}")
    if bundle.traces > 1:
        kept = sum(Fidelity.from_dict(one["fidelity"]).keeps_class for one in traces)
        how = "the magnitudes of the maps" if bundle.magnitudes else "the maps"
        mean = f"Each SPADE map is the mean of {how} of {bundle.traces} traces, seeds {traces[0]['seed']}"
        of_all = "them" if len(traces) == bundle.traces else f"all {len(traces)}"
        st.caption(f"{mean} to {traces[-1]['seed']}; {kept} of {of_all} keep the class. Above is the weakest of them.")


def of_method(traces: Sequence[Traced], slug: str) -> list[Traced]:
    """Return the traces of a method's map where methods have traces of their own; else nothing."""
    own = [one for one in traces if slug in one.get("methods", [slug])]
    return own if len(own) < len(traces) else []


def show_summary(data: bytes) -> None:
    """Show the same of ``trace.json``."""
    found = read_json(data)
    show_fidelity(found, found["seconds"])


def show_pairs(
    files: Mapping[str, bytes],
    methods: Sequence[str],
    opacity: float,
    described: Mapping[str, Maps] | None = None,
    claims: Mapping[str, Sequence[Claim]] | None = None,
    *,
    traces: Sequence[Traced] = (),
    magnitudes: bool = False,
) -> None:
    """Draw the panels of every method whose two maps are there, and what is claimed of each.

    Args:
        traces: of the whole analysis; a method's own are told where not all are.
        magnitudes: whether the maps have lost their signs.
    """
    for slug in methods:
        names = ("crop.npy", f"dense_{slug}.npy", f"spade_{slug}.npy")
        if not all(name in files for name in names):
            continue
        method = METHODS[slug]
        st.markdown(f"**{method.title}**  :gray[{method.help}]")
        if described is not None:
            _show_scores(described[slug])
            _show_agreement(described[slug])
        show_own(of_method(traces, slug))
        if claims and slug in claims:
            show_claims(claims[slug])
        signed = method.signed and not magnitudes
        figure = _figure(*(files[name] for name in names), files.get(f"spread_{slug}.npy"), slug, signed, opacity)
        st.plotly_chart(figure, width="stretch", key=f"pair_{slug}", config={"displaylogo": False})


@lru_cache(maxsize=FIGURES)
def _figure(
    crop: bytes, dense: bytes, spade: bytes, spread: bytes | None, slug: str, signed: bool, opacity: float
) -> go.Figure:
    """Return a pair's figure; the page is drawn more often than its maps change."""
    arrays = [read_array(data) for data in (crop, dense, spade)]
    apart = None if spread is None else read_array(spread)
    return pair_figure(*arrays, spread=apart, signed=signed, opacity=opacity, title=METHODS[slug].title)


def _show_scores(maps: Maps) -> None:
    if "trojan_auc" not in maps["dense"]:
        return
    dense, spade = maps["dense"]["trojan_auc"], maps["spade"]["trojan_auc"]
    hits = ["hit" if side["pointing_game"] else "miss" for side in (maps["dense"], maps["spade"])]
    change = f":{'green' if spade > dense else 'red'}[{spade - dense:+.1f}]"
    auc = f"Trojan AUC: dense **{dense:.1f}**, SPADE **{spade:.1f}** ({change})"
    st.markdown(f"{auc} · Pointing Game: dense {hits[0]}, SPADE {hits[1]}")


def show_own(traces: Sequence[Traced]) -> None:
    """Say what a method's own traces are."""
    if not traces:
        return
    weakest = min((Fidelity.from_dict(one["fidelity"]) for one in traces), key=lambda one: one.trace_probability)
    if not any(one.get("pruned", True) for one in traces):
        st.caption("By the table no trace improves this method's map: both maps are the dense model's.")
        return
    removed, kept = f"{traces[0]['sparsity']:.1%} of the weights removed", f"{weakest.trace_probability:.1%}"
    st.caption(f"By a trace of this method's own ratios: {removed}, probability of the class {kept}.")


def show_claims(claims: Sequence[Claim]) -> None:
    """Show how much of the dense error such maps removed over many pictures; green where the interval excludes 0."""
    badges = []
    for claim in claims:
        colour = "green" if claim.holds else "red" if claim.refuted else "gray"
        removed = claim.removed
        text = f"{removed.mean:.0f} % ({removed.low:.0f} to {removed.high:.0f})"
        badges.append(f":{colour}-badge[{PROCESSING[claim.processing].title}: {text}]")
    said = f"Removed of the dense error on {claims[0].removed.n} triggered pictures, both maps processed alike"
    st.caption(f"{said}: {' '.join(badges)} [Evidence](evidence)")


def _show_agreement(maps: Maps) -> None:
    if "agreement" in maps:
        st.markdown(f"Rank correlation of the two traces that agree least: **{maps['agreement']:.2f}**")


def show_top(labels: list[str], probabilities: list[float], count: int = 5) -> None:
    """Show the dense model's most probable classes as bars."""
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])[:count]
    # As a Plotly figure, the browser has its largest library loaded before the first maps arrive.
    figure = top_figure([labels[index] for index in order], [probabilities[index] for index in order])
    st.plotly_chart(figure, width="stretch", key="top", config={"displayModeBar": False})


def show_layer_table(layers: Sequence[LayerReport]) -> None:
    """Show the report of every layer."""
    st.dataframe([{**vars(row), "shape": " x ".join(map(str, row.shape))} for row in layers], key="layers_table")


def show_top_tables(
    prediction: Sequence[Class], trace_prediction: Sequence[Class], dense: DeltaGenerator, trace: DeltaGenerator
) -> None:
    """Show the top-5 of both networks, each in its container."""
    for place, title, top in ((dense, "Dense", prediction), (trace, "Trace", trace_prediction)):
        rows = [{"class": row["label"], "probability": f"{row['probability']:.1%}"} for row in top]
        place.markdown(f"**{title}**")
        place.dataframe(rows, key="top_prediction" if title == "Dense" else "top_trace_prediction")
