"""Try a study with bots on a copy: its own database holds nothing of it afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import inspect

from spade_core.progress import Progress, silent, span
from spade_core.study.analysis.evaluation import evaluate, report_text
from spade_core.study.analysis.findings import Evaluation, Value
from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened
from spade_core.study.data.tables import Study
from spade_core.study.monitoring.status import cell_counts
from spade_core.study.running.bots import simulate

BOTS_SHARE = 0.9  # of a dry run's time; the analysis takes the rest


class DryRun(Value):
    """How bots fared in a copy.

    Attributes:
        ends: status -> bots; cells: completed bots in each; text: the report, marked as simulated.
    """

    ends: dict[str, int]
    cells: list[int]
    result: Evaluation
    text: str


def fresh_copy(store: Store, key: str) -> dict[str, object]:
    """Return a study's row as it was when published: open, without participants; JSON-able.

    Raises:
        ConfigError: unknown key; or its stimulus set is gone or was changed.
    """
    row = opened(store, key).row
    values = {column.key: getattr(row, column.key) for column in inspect(Study).column_attrs}
    return {**values, "status": "open", "frozen": None, "unblinded": None}


def dry_run(
    study: Mapping[str, object], participants: int, policy: str, seed: int, *, progress: Progress = silent
) -> DryRun:
    """Let bots take part in a copy of a study and analyse them.

    Args:
        study: of :func:`fresh_copy`; participants, policy, seed: see :func:`spade_core.study.running.bots.simulate`.

    Raises:
        ConfigError: see :func:`spade_core.study.running.bots.simulate`.
    """
    key = str(study["key"])
    with tempfile.TemporaryDirectory(prefix="spade-dry-run-") as folder:
        copy = Store(f"sqlite:///{Path(folder) / 'copy.sqlite3'}", lasting=False)
        try:
            copy.run(lambda session: session.add(Study(**study)))
            ends = simulate(copy, key, participants, policy, seed, progress=span(progress, 0.0, BOTS_SHARE))
            progress(BOTS_SHARE, 1.0, "the analysis")
            result = evaluate(copy, key)
            cells = cell_counts(copy, key, bots=True)
            return DryRun(ends=ends, cells=cells, result=result, text=report_text(copy, key, result))
        finally:
            copy.close()
