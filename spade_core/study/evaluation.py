"""From the database to a result: blinding, counts, the frozen analysis, and the paper's figures for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.study.analysis import analyse
from spade_core.study.blinding import is_blind
from spade_core.study.export import trial_table
from spade_core.study.procedure import set_baselines
from spade_core.study.report import methods_text
from spade_core.study.result_tables import PAPER, PAPER_NOTE, markdown_table, table3_rows, tables_text
from spade_core.study.schedule import cells
from spade_core.study.store import Store
from spade_core.study.studies import audit, find, opened
from spade_core.study.tables import Participant, Study

__all__ = ["cell_counts", "evaluate", "report_text", "status_of", "unblind"]


def unblind(store: Store, key: str, *, by: str) -> None:
    """Show conditions from now on; logged with who did it, and not to be undone."""

    def work(session: Session) -> None:
        row = find(session, key)
        if row.unblinded is None:
            row.unblinded = store.clock()
            audit(session, store, row.id, "unblind", {"by": by})

    store.run(work)


def evaluate(store: Store, key: str) -> dict[str, Any]:
    """Return the analysis of a study as its design has fixed it.

    A study with bots and nobody else is analysed with them, marked as simulated.

    Raises:
        ConfigError: the study is blind: people took part and nobody has unblinded it.
    """
    study = opened(store, key)
    if is_blind(store, study):
        raise ConfigError(
            "This study is blind: conditions stay hidden until it is unblinded, which is logged; add --unblind, or "
            "press “Unblind” on the study page, once data collection is over."
        )
    table = trial_table(store, key, blind=False)
    people = table[~table["is_bot"].astype(bool) & ~table["is_preview"].astype(bool)]
    only_bots = people.empty and bool(table["is_bot"].any())
    chosen = table[table["is_bot"].astype(bool)] if only_bots else people
    done = chosen[chosen["included"].astype(bool) & (chosen["status"] == "complete")]["participant_uid"].nunique()
    result = analyse(
        table, study.design.analysis, asked=study.design.questions.ratings, include_bots=only_bots, demo=study.row.demo,
        completed=int(done),
    )  # fmt: skip
    return {"study": key, "design_sha256": study.row.design_sha256, **result, "paper_table3": PAPER}


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


def status_of(store: Store, key: str) -> dict[str, Any]:
    """Return what can be shown while a study is blind: participants by status, and how full the cells are."""
    study = opened(store, key)
    groups = select(Participant.is_bot, Participant.is_preview, Participant.status, func.count()).where(
        Participant.study_id == study.row.id
    ).group_by(Participant.is_bot, Participant.is_preview, Participant.status)  # fmt: skip
    people: dict[str, dict[str, int]] = {"people": {}, "bots": {}, "previews": {}}
    for bot, preview, status, count in store.run(lambda session: session.execute(groups).all()):
        kind = "previews" if preview else "bots" if bot else "people"
        people[kind][status] = count
    row: Study = study.row
    return {
        "key": row.key, "name": row.name, "status": row.status, "demo": row.demo, "quota": study.design.quota,
        "frozen": row.frozen is not None, "blind": is_blind(store, study), **people,
        "people_by_cell": cell_counts(store, key, bots=False), "bots_by_cell": cell_counts(store, key, bots=True),
    }  # fmt: skip


def cell_counts(store: Store, key: str, *, bots: bool) -> list[int]:
    """Return how many participants completed in each cell."""
    study = opened(store, key)
    query = select(Participant.cell, func.count()).where(
        Participant.study_id == study.row.id, Participant.is_bot.is_(bots), Participant.is_preview.is_(False),
        Participant.status == "complete",
    ).group_by(Participant.cell)  # fmt: skip
    found = {cell: count for cell, count in store.run(lambda session: session.execute(query).all())}  # noqa: C416
    return [found.get(number, 0) for number in range(len(cells(study.design, study.stimuli)))]
