"""Try a study with bots on a copy: its own database holds nothing of it afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import inspect

from spade_core.progress import Progress, silent
from spade_core.study.bots import simulate
from spade_core.study.evaluation import evaluate, report_text
from spade_core.study.status import cell_counts
from spade_core.study.store import Store
from spade_core.study.studies import opened
from spade_core.study.tables import Study

__all__ = ["dry_run"]


def dry_run(
    store: Store, key: str, participants: int, policy: str, seed: int, *, progress: Progress = silent
) -> dict[str, Any]:
    """Let bots take part in a copy of a study and analyse them.

    Returns:
        ``ends`` (status -> bots), ``cells`` (completed bots in each), ``result`` of
        :func:`spade_core.study.evaluation.evaluate`, and ``text``, its report, marked as simulated.

    Raises:
        ConfigError: see :func:`spade_core.study.bots.simulate`.
    """
    row = opened(store, key).row
    with tempfile.TemporaryDirectory(prefix="spade-dry-run-") as folder:
        copy = Store(f"sqlite:///{Path(folder) / 'copy.sqlite3'}", clock=store.clock, lasting=False)
        try:
            copy.run(lambda session: session.add(_fresh(row)))
            ends = simulate(copy, key, participants, policy, seed, progress=progress)
            result = evaluate(copy, key)
            return {
                "ends": ends,
                "cells": cell_counts(copy, key, bots=True),
                "result": result,
                "text": report_text(copy, key, result),
            }
        finally:
            copy.close()


def _fresh(row: Study) -> Study:
    """Return the study as it was when published: open, without participants."""
    values = {column.key: getattr(row, column.key) for column in inspect(Study).column_attrs}
    return Study(**{**values, "status": "open", "frozen": None, "unblinded": None})
