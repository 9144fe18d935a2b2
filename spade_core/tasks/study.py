"""The kinds of jobs of the page of studies.

They import the study where they need it: a worker that computes maps is ready sooner without its statistics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spade_core.config import Settings
from spade_core.progress import Progress
from spade_core.tasks.common import Emit


def study_power(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``power.json``: :func:`spade_core.study.power.power.power_report`.

    Payload: :class:`spade_core.study.power.power.PowerRequest`.
    """
    from spade_core.study.power.power import PowerRequest, power_report

    asked = PowerRequest.model_validate(payload)
    sizes = {"simulations": asked.simulations, "seed": asked.seed}
    found = power_report(
        asked.design, asked.class_neurons, asked.participants, asked.assumptions, **sizes, progress=progress
    )
    return {"power.json": json.dumps(found.to_dict()).encode()}


def study_dry_run(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``dry_run.json``: :func:`spade_core.study.analysis.dry_run.dry_run`.

    Payload: ``study`` of :func:`spade_core.study.analysis.dry_run.fresh_copy`, ``participants``, ``policy``, ``seed``.
    """
    from spade_core.study.analysis.dry_run import dry_run

    asked = (payload[name] for name in ("study", "participants", "policy", "seed"))
    found = dry_run(*asked, progress=progress)
    return {"dry_run.json": json.dumps(found.to_dict()).encode()}


def study_bots(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Let bots take part in a study of this installation's database; return ``ends.json``: status -> bots.

    Whoever cancels keeps the bots that came so far.

    Payload: ``key`` of the study, ``participants``, ``policy``, ``seed``, and ``run``, another one each time.
    """
    from spade_core.study.data.store import open_store
    from spade_core.study.running.bots import simulate

    store = open_store(Settings.from_environment())
    try:
        asked = (payload[name] for name in ("key", "participants", "policy", "seed"))
        ends = simulate(store, *asked, progress=progress)
    finally:
        store.close()
    return {"ends.json": json.dumps(ends).encode()}
