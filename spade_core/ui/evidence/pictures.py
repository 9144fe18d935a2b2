"""The pictures behind a table: each one's scores, and both maps where the picture is at hand."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from spade_core.evaluation.arms import ARMS, Arm
from spade_core.evaluation.configuration import seed_of
from spade_core.evaluation.processing import PROCESSING
from spade_core.evaluation.statistics import DENSE
from spade_core.models.registry import MODELS
from spade_core.pictures.picture import Source
from spade_core.pruning.options import TRACE_OPTIONS
from spade_core.results.config import AnalysisConfig
from spade_core.saliency import METHOD_OPTIONS, METHODS
from spade_core.ui.common import pickers
from spade_core.ui.common.frame import jobs, settings
from spade_core.ui.common.jobs import outcome, remember, remembered
from spade_core.ui.common.subject import shelved
from spade_core.ui.evidence.tables import View
from spade_core.ui.saliency.maps import VIEWS, show_maps

SLOT = "evidence_maps"


def show_pictures(view: View) -> None:
    """Draw the table of pictures for one method; a click on a row leads to its maps."""
    chosen = view.evidence.results.configuration
    method = pickers.select("Method", {slug: METHODS[slug].title for slug in chosen.methods}, chosen.methods[0], "of")
    listed = picture_rows(view, method)
    event = st.dataframe(
        listed, hide_index=True, on_select="rerun", selection_mode="single-row", key="evidence_pictures", height=320
    )
    picked = event["selection"]["rows"]
    if not picked or picked[0] >= len(listed):
        st.caption("Choose a row to see how its maps are made; click a heading to sort.")
        return
    _show_one(view, method, picked[0])


def picture_rows(view: View, method: str) -> list[dict[str, object]]:
    """Return each picture's scores by one method."""
    results, chosen = view.evidence.results, view.evidence.results.configuration
    scores = results.scores[:, :, chosen.methods.index(method), view.processing, view.metric]
    own = scores[:, chosen.arms.index(view.arm)]
    rows: list[dict[str, object]] = []
    for at, (name, _, trigger) in enumerate(results.pictures):
        row: dict[str, object] = {"Picture": name, **({"Trigger": trigger} if trigger else {})}
        if view.against_dense:
            dense = scores[at, chosen.arms.index(DENSE)]
            row |= {
                "Dense": round(dense, 2),
                ARMS[view.arm].title: round(own[at], 2),
                "Gain": round(own[at] - dense, 2),
            }
        else:
            row[ARMS[view.arm].title] = round(own[at], 2)
        rows.append(row)
    return rows


def _show_one(view: View, method: str, picture: int) -> None:
    """Show the command of one picture's maps and, where the picture is at hand, the maps themselves."""
    name, sha256, _ = view.evidence.results.pictures[picture]
    arm = ARMS[view.arm]
    if arm.trace is None or arm.traces > 1 or arm.folder:
        st.caption("This arm is not one trace: its maps are made by the benchmark alone.")
        return
    st.code(explain_command(view, method, picture), language="bash", wrap_lines=True)
    source = _at_hand(name, sha256)
    if source is None or view.evidence.model not in MODELS:
        st.caption(
            f":material/folder_off: {name} is not free to be shipped: put the folder that holds it into "
            "SPADE_REFERENCES to see both maps here."
        )
        return
    if st.button("Show both maps", type="primary", key="evidence_show"):
        _ask(view, arm, method, picture, source)
    ticket, asked = remembered(SLOT)
    if ticket is not None and asked == (view.evidence.model, view.arm, method, sha256):
        files = outcome(ticket, SLOT)
        if files is not None:
            shown = shown_as(view.evidence.results.configuration.processing[view.processing])
            if not shown:
                st.caption("As they are: maps at noisy copies of the picture are made by the benchmark alone.")
            elif view.evidence.results.configuration.magnitudes:
                st.caption("With their signs: the scores are of magnitudes, as one arm of the run is a mean of them.")
            show_maps(files, (method,), view=shown or "raw", key=SLOT)


def shown_as(processing: str) -> str:
    """Return how the page of maps shows what a benchmark has processed so; "": it does not."""
    wanted = PROCESSING[processing]
    alike = (slug for slug, one in VIEWS.items() if (one.absolute, one.blur) == (wanted.absolute, wanted.blur))
    return "" if wanted.noisy else next(alike, "")


def _ask(view: View, arm: Arm, method: str, picture: int, source: Source) -> None:
    results = view.evidence.results
    sha256 = results.pictures[picture][1]
    if paste := view.evidence.paste(picture):
        source["trigger"] = paste.to_dict()
    traced = arm.options(results.configuration.trace)
    own, seed = _options(view, method), seed_of(results.configuration.seed, sha256)
    config = AnalysisConfig((method,), None, traced, own, seed)
    payload = {"model": {"name": view.evidence.model}, "picture": source, "config": config.to_dict()}
    remember(SLOT, jobs().submit("analysis", payload), (view.evidence.model, view.arm, method, sha256))


def _options(view: View, method: str) -> dict[str, Mapping[str, object]]:
    """Return the method's options in the run."""
    known = view.evidence.results.configuration.options
    return {method: known[method]} if method in known else {}


def _at_hand(name: str, sha256: str) -> Source | None:
    """Return the picture as payloads name it, if a folder of the installation's holds it."""
    if Path(name).name != name:
        return None  # a table may come from anybody
    for folder in settings().references:
        file = folder / name
        if file.is_file():
            source = shelved(name, file.read_bytes())
            if source.get("sha256") == sha256:
                return source
    return None


def explain_command(view: View, method: str, picture: int) -> str:
    """Return the command that makes the maps of one picture anew."""
    results, arm = view.evidence.results, ARMS[view.arm]
    name, sha256, _ = results.pictures[picture]
    words = ["python", "-m", "spade_core", "explain", "--image", f"DIR/{name}", "--model", view.evidence.model]
    if paste := view.evidence.paste(picture):
        words += ["--trigger", paste.trigger, "--trigger-seed", str(paste.seed)]
    words += ["--method", method, *METHOD_OPTIONS.words("--option", _options(view, method))]
    for option, value in arm.options(results.configuration.trace).items():
        words += TRACE_OPTIONS[option].kind.words(TRACE_OPTIONS[option].flag, value)
    return shlex.join([*words, "--seed", str(seed_of(results.configuration.seed, sha256)), "--out", "results"])
