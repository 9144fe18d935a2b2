"""Evidence: what traces do to maps, measured over many pictures, and the pictures behind the numbers."""

from __future__ import annotations

import streamlit as st

from spade_core.evaluation.benchmarks import BENCHMARKS
from spade_core.evaluation.evidence import Evidence, results_in, shipped
from spade_core.evaluation.processing import PROCESSING
from spade_core.ui.common import pickers
from spade_core.ui.common.frame import frame
from spade_core.ui.common.uploads import MIB, ask_for_file
from spade_core.ui.evidence import tables
from spade_core.ui.evidence.pictures import show_pictures

OWN, FOLDER = "", "folder"
INTRODUCTION = (
    "Do the maps of a trace show more than those of the dense model? Every number is a mean over pictures with its "
    "95 % bootstrap interval; in the shipped runs nothing was tuned on these pictures. Both sides are processed alike, "
    "as a blur alone makes a map look better."
)
UPLOAD_MIB = 64
WRITTEN = "`python -m spade_core benchmark trojan --images DIR --out RESULTS` writes it."


def _render() -> None:
    st.title("Evidence")
    st.markdown(INTRODUCTION)
    evidence = _pick()
    if evidence is None:
        return
    view = tables.pick_view(evidence)
    tables.show_summary(view)
    by_method, by_picture = st.tabs(["By method", "By picture"])
    with by_method:
        tables.show_figure(view)
        tables.show_table(view)
    with by_picture:
        show_pictures(view)


def _pick() -> Evidence | None:
    """Draw the choice of a run; return None while there is none."""
    known = shipped()
    titles = {name: _title(one) for name, one in known.items()}
    if pickers.may_type():
        titles[FOLDER] = "Open a folder of results on this computer …"
    titles[OWN] = "Open your own results.parquet …"
    name = pickers.select("Run", titles, next(iter(titles)), "evidence_run")
    if name in known:
        return known[name]
    return _open_folder() if name == FOLDER else _open_upload()


def _open_folder() -> Evidence | None:
    """Draw the field of a folder that a benchmark wrote; return what it holds."""
    folder = pickers.type_folder("evidence_folder", "/home/me/results", WRITTEN)
    return None if folder is None else results_in(folder)


def _open_upload() -> Evidence | None:
    file = ask_for_file("results.parquet of a benchmark", "evidence_file", UPLOAD_MIB * MIB)
    st.caption(WRITTEN)
    return None if file is None else Evidence.of(file)


def _title(evidence: Evidence) -> str:
    chosen = evidence.results.configuration
    count = evidence.statistics.pictures
    ratios = ", ratios of another table" if "table" in chosen.trace else ""
    only = "" if "raw" in chosen.processing else f" · {PROCESSING[chosen.processing[0]].title}"
    title = f"{BENCHMARKS[chosen.benchmark].title}{only} · {evidence.model}"
    return f"{title} · {count:,} pictures, {len(chosen.arms)} arms{ratios}"


frame("Evidence", _render)
