"""From the database to a result: blinding, the frozen analysis, and the paper's figures for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spade_core.errors import ConfigError
from spade_core.study.analysis.analyse import analyse
from spade_core.study.analysis.report import methods_text
from spade_core.study.analysis.tables import PAPER, PAPER_NOTE, markdown_table, table3_rows, tables_text
from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened
from spade_core.study.design.procedure import set_baselines
from spade_core.study.export.export import trials_of
from spade_core.study.export.rows import read_source


def evaluate(store: Store, key: str) -> dict[str, Any]:
    """Return the analysis of a study as its design has fixed it.

    A study with bots and nobody else is analysed with them, marked as simulated.

    Raises:
        ConfigError: the study is blind: people took part and nobody has unblinded it.
    """
    source = read_source(store, key)
    if source.blind:
        raise ConfigError(
            "This study is blind: conditions stay hidden until it is unblinded, which is logged; add --unblind, or "
            "press “Unblind” on the study page, once data collection is over."
        )
    study, table = source.study, trials_of(source)
    people = table[~table["is_bot"].astype(bool) & ~table["is_preview"].astype(bool)]
    only_bots = people.empty and bool(table["is_bot"].any())
    chosen = table[table["is_bot"].astype(bool)] if only_bots else people
    done = chosen[chosen["included"].astype(bool) & (chosen["status"] == "complete")]["participant_uid"].nunique()
    result = analyse(
        table, study.design.analysis, asked=study.design.questions.ratings, include_bots=only_bots, demo=study.row.demo,
        completed=int(done),
    )  # fmt: skip
    return {
        "study": key, "design_version": source.version, "design_sha256": study.row.design_sha256, **result,
        "paper_table3": PAPER,
    }  # fmt: skip


def report_text(store: Store, key: str, result: Mapping[str, Any]) -> str:
    """Return verdict, Table 3, methods, results and every other table of :func:`evaluate` as Markdown."""
    study = opened(store, key)
    parts = list(result["texts"])
    if result["table3"]:
        parts += [markdown_table(table3_rows(result)), PAPER_NOTE]
        parts += [methods_text(study.design, result, study.stimuli), tables_text(result)]
    else:
        parts.append(set_baselines(study.stimuli))
    return "\n\n".join([f"**{result['verdict']}**", *parts])
