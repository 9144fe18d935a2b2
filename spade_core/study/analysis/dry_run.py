"""Try a study with bots on a copy: its own database holds nothing of it afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import inspect

from spade_core.progress import Progress, silent, span
from spade_core.study.analysis.evaluate import evaluate, report_text
from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened
from spade_core.study.data.tables import Study
from spade_core.study.monitoring.status import cell_counts
from spade_core.study.running.bots import simulate

BOTS_SHARE = 0.9  # of a dry run's time; the analysis takes the rest


def fresh_copy(store: Store, key: str) -> dict[str, Any]:
    """Return a study's row as it was when published: open, without participants; JSON-able.

    Raises:
        ConfigError: unknown key; or its stimulus set is gone or was changed.
    """
    row = opened(store, key).row
    values = {column.key: getattr(row, column.key) for column in inspect(Study).column_attrs}
    return {**values, "status": "open", "frozen": None, "unblinded": None}


def dry_run(
    study: Mapping[str, Any], participants: int, policy: str, seed: int, *, progress: Progress = silent
) -> dict[str, Any]:
    """Let bots take part in a copy of a study and analyse them.

    Args:
        study: of :func:`fresh_copy`; participants, policy, seed: see :func:`spade_core.study.running.bots.simulate`.

    Returns:
        ``ends`` (status -> bots), ``cells`` (completed bots in each), ``result`` of
        :func:`spade_core.study.analysis.evaluate.evaluate`, and ``text``, its report, marked as simulated. JSON-able.

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
            return {
                "ends": ends,
                "cells": cell_counts(copy, key, bots=True),
                "result": result,
                "text": report_text(copy, key, result),
            }
        finally:
            copy.close()
