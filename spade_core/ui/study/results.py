"""Sections of the experimenter's page on what came out: export and analysis, blinded until unblinded."""

from __future__ import annotations

import json
from functools import partial

import streamlit as st

from spade_core.cells import safe_text
from spade_core.study.analysis.evaluation import evaluate
from spade_core.study.analysis.findings import NoResult, StudyResult
from spade_core.study.analysis.report import methods_text
from spade_core.study.analysis.tables import TABLES as RESULT_TABLES
from spade_core.study.analysis.tables import table3_rows
from spade_core.study.data.studies import is_blind, opened, unblind
from spade_core.study.export.codebook import STUDY_COLUMNS, hidden_columns
from spade_core.study.export.export import FORMATS, TABLES, bundle, export, trials_of
from spade_core.study.export.rows import read_source
from spade_core.study.monitoring.people import REASON_LENGTH
from spade_core.study.vocabulary import STATES
from spade_core.ui.common.frame import study_store
from spade_core.ui.common.login import who_acts
from spade_core.ui.common.panels import show_chart
from spade_core.ui.study.access import guarded, notify, offer
from spade_core.ui.study.plots import FIGURES, chart_options, figures_html

SHOWN = 20  # rows of the table on the page


def show_export(key: str) -> None:
    """Show the last answers and offer the table, blinded where it must be."""
    store = study_store()
    source = read_source(store, key)
    if source.blind:
        hidden = ", ".join(hidden_columns(source.study.design))
        st.info(f"Blinded: without {hidden}.", icon=":material/visibility_off:")
    form = str(st.segmented_control("Format", FORMATS, default=FORMATS[0], required=True, key="format"))
    name = str(st.segmented_control("Table", TABLES, default=TABLES[0], required=True, key="export_table"))
    shareable = st.toggle(
        "Shareable: fresh random numbers, times since each person's start, free text only where shared under Texts",
        key="shareable",
    )
    mark = "_shareable" if shareable else ""
    bom = form == "csv" and st.toggle("Begin with a mark (BOM), for spreadsheets that show Ã¤ for ä", key="bom")
    left, right, _ = st.columns([1, 2, 1])
    one = partial(export, store, key, form, name, bom=bom)
    everything = partial(bundle, store, key, form, shareable=shareable, bom=bom)
    offer(left, "Download", f"{key}_{name}{mark}.{form}", lambda: one(shareable=shareable).data, "export", "primary")
    title = "All tables, codebooks, read.R, read.py (ZIP)" if form == "csv" else "All tables and codebooks (ZIP)"
    offer(
        right,
        title,
        f"{key}{mark}_{form}.zip",
        everything,
        "export_all",
    )
    table = trials_of(source, shareable=shareable)
    st.caption(f"{len(table)} answers; the last {min(SHOWN, len(table))}:")
    same = [name for name in STUDY_COLUMNS if name in table]  # in every row, and in front of what one looks for
    st.dataframe(table.drop(columns=same).tail(SHOWN).map(safe_text), hide_index=True, key="answers")


def show_analysis(key: str) -> None:
    """Show the analysis that the design has fixed, or how to get to it."""
    store = study_store()
    study = opened(store, key)
    if is_blind(store, study):
        _show_blind(key, study.row.status)
        return
    found = evaluate(store, key)
    result = found.result
    show_result(result)
    if isinstance(result, NoResult):
        return
    text = methods_text(study.design, result, study.stimuli, found.design_version)
    with st.expander("Methods and results, as text"):
        st.markdown(text)
    left, middle, right, _ = st.columns([1, 1, 1, 1])
    offer(left, "Text (Markdown)", f"{key}_methods.md", lambda: text, "methods")
    offer(middle, "Figures (HTML)", f"{key}_figures.html", partial(figures_html, result), "figures")
    name = f"{key}_analysis.json"
    offer(right, "Everything (JSON)", name, lambda: json.dumps(found.to_dict(), indent=1), "analysis")


def _show_blind(key: str, status: str) -> None:
    st.info(
        "This study is blind: conditions and correctness stay hidden, here and in every export, until you unblind it.",
        icon=":material/visibility_off:",
    )
    is_open = STATES[status].people
    if is_open:
        st.warning(
            "This study still takes participants: pause or close it before you look at conditions. If you look now, "
            "all results are exploratory, for good; reports, exports and methods texts say when you looked, and why.",
            icon=":material/warning:",
        )
        st.text_input("Why do you have to look now?", key="interim", max_chars=REASON_LENGTH)
        sure = st.checkbox("I look before data collection is over. This cannot be undone.", key="sure")
    else:
        sure = st.checkbox("Data collection is over, and exclusions are decided. This cannot be undone.", key="sure")
    title = "Unblind; everything becomes exploratory" if is_open else "Unblind"
    st.button(title, key="unblind", type="primary", disabled=not sure, on_click=guarded(_unblind), args=(key, is_open))


def _unblind(key: str, was_open: bool) -> None:
    """Unblind a study that was drawn as open or not: a click on an older drawing opens no later state."""
    if st.session_state.get("sure"):
        unblind(study_store(), key, by=who_acts(), interim=st.session_state.get("interim", "") if was_open else "")
        notify("Unblinded, and logged.")


def show_result(result: StudyResult | NoResult) -> None:
    """Show the verdict, Table 3, every figure and every further table of an analysis."""
    st.markdown(f"**{result.verdict}**")
    if isinstance(result, NoResult):
        return
    for text in result.texts:
        st.caption(text)
    st.markdown("SIMULATED: the columns of this study are bots'." if result.simulated else "**Table 3**")
    st.dataframe(table3_rows(result), hide_index=True, key="table3")
    st.caption(
        "Shares with Wilson intervals, which treat answers as independent; the test does not. The paper gives people's "
        "shares without counts or intervals."
    )
    for name, make in FIGURES.items():
        what = f"{name.replace('_', ' ').capitalize()}; the tables have the numbers"
        show_chart(make(result), name, what, None, **chart_options(result, name))
    mark = "SIMULATED: " if result.simulated else ""
    for title, make_rows in RESULT_TABLES.items():
        if rows := make_rows(result):
            with st.expander(f"{mark}{title}"):
                st.dataframe(rows, hide_index=True, key=f"table_{title}")
