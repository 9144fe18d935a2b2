"""The section of the experimenter's page that lets bots take part: in a copy, or kept in the study."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TypeAlias

import streamlit as st

from spade_core.jobs.job import Ticket
from spade_core.jobs.manager import job_key
from spade_core.study.analysis.dry_run import DryRun, fresh_copy
from spade_core.study.running.bots import POLICIES
from spade_core.study.vocabulary import SIMULATED
from spade_core.ui.common import downloads
from spade_core.ui.common.frame import jobs, study_store
from spade_core.ui.common.jobs import follow_asked, remember, remembered
from spade_core.ui.study.access import guarded, require_access
from spade_core.ui.study.results import show_result

DRY_RUN, KEPT = "study_dry_run", "study_bots"  # kinds of jobs
MOST_BOTS = 500
Asked: TypeAlias = Mapping[str, object]  # participants, policy and seed of a job, and of which study


def show_bots(key: str) -> None:
    """Ask for bots, let them take part in a copy unless asked otherwise, and show how they fared."""
    st.caption("Bots go the same way as people and say how the software behaves, nothing about people.")
    first, second, third = st.columns(3)
    policy = first.selectbox("Kind", list(POLICIES), index=list(POLICIES).index("rater"), key="policy")
    count = int(second.number_input("Bots", 1, MOST_BOTS, 20, key="bots"))
    seed = int(third.number_input("Seed", 0, 2**31, 0, key="bot_seed"))
    keep = st.toggle("Keep them in this study, marked as bots, rather than in a copy", key="keep_bots")
    asked = {"participants": count, "policy": policy, "seed": seed}
    pressed = st.button("Let bots take part" if keep else "Dry run", type="primary", key="simulate")
    if keep:
        _in_study(key, asked, pressed=pressed)
    else:
        _on_copy(key, asked, pressed=pressed)


def _on_copy(key: str, asked: Asked, *, pressed: bool) -> None:
    slot, payload = f"dry_run_{key}", {**asked, "study": fresh_copy(study_store(), key)}
    ticket = _ticket(slot, DRY_RUN, payload, pressed=pressed)
    if ticket is None:  # a tab that is new here: what it would ask for may be there already
        ticket = jobs().find(job_key(DRY_RUN, payload))
    if ticket is not None:
        follow_asked(slot, ticket, _show_dry_run, cancel=guarded(ticket.cancel))


def _in_study(key: str, asked: Asked, *, pressed: bool) -> None:
    # Asked for twice, they are other bots: the results of the first run must not stand in for them.
    slot = f"bots_run_{key}"
    ticket = _ticket(slot, KEPT, {**asked, "key": key, "run": secrets.token_hex(8)}, pressed=pressed)
    if ticket is not None:
        cancelled = "Cancelled. The bots that came so far stay in the study, marked."
        follow_asked(slot, ticket, _show_kept, cancel=guarded(ticket.cancel), cancelled=cancelled)


def _ticket(slot: str, kind: str, payload: Asked, *, pressed: bool) -> Ticket | None:
    if pressed:
        require_access()
        remember(slot, jobs().submit(kind, payload), None)
    return remembered(slot)[0]


def _show_dry_run(files: Mapping[str, bytes]) -> None:
    found = DryRun.model_validate_json(files["dry_run.json"])
    said = f"{_ends(found.ends)}; completed in each cell: {', '.join(map(str, found.cells))}"
    st.success(f"{SIMULATED}, on a copy: {said}.", icon=":material/smart_toy:")
    show_result(found.result.result)


def _show_kept(files: Mapping[str, bytes]) -> None:
    ends = _ends(downloads.read_json(files["ends.json"]))
    st.success(f"{SIMULATED}: {ends}. Monitor and Analysis show them.", icon=":material/smart_toy:")


def _ends(ends: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in ends.items())
