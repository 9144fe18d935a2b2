"""The kinds of jobs of the page of studies.

They import the study where they need it: a worker that computes maps is ready sooner without its statistics.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any, TypedDict

from spade_core.config import Settings
from spade_core.progress import Emit, Progress


class DryRunPayload(TypedDict):
    """The payload of :func:`study_dry_run`; ``study``: of :func:`spade_core.study.analysis.dry_run.fresh_copy`."""

    study: dict[str, Any]
    participants: int
    policy: str
    seed: int


class BotsPayload(TypedDict):
    """The payload of :func:`study_bots`: the study's ``key``; ``run``: another one each time."""

    key: str
    participants: int
    policy: str
    seed: int
    run: str


def study_power(payload: dict[str, object], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``power.json``: :func:`spade_core.study.power.power.power_report`.

    Payload: :class:`spade_core.study.power.power.PowerRequest`.
    """
    from spade_core.study.power.power import PowerRequest, power_report

    found = power_report(PowerRequest.model_validate(payload), progress)
    return {"power.json": json.dumps(found.to_dict()).encode()}


def study_dry_run(payload: DryRunPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``dry_run.json``: :func:`spade_core.study.analysis.dry_run.dry_run`."""
    from spade_core.study.analysis.dry_run import dry_run

    found = dry_run(payload["study"], payload["participants"], payload["policy"], payload["seed"], progress=progress)
    return {"dry_run.json": json.dumps(found.to_dict()).encode()}


def study_bots(payload: BotsPayload, *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Let bots take part in a study of this installation's database; return ``ends.json``: status -> bots.

    Whoever cancels keeps the bots that came so far.
    """
    from spade_core.study.data.store import open_store
    from spade_core.study.running.bots import simulate

    key, people = payload["key"], payload["participants"]
    with closing(open_store(Settings.from_environment())) as store:
        ends = simulate(store, key, people, payload["policy"], payload["seed"], progress=progress)
    return {"ends.json": json.dumps(ends).encode()}
