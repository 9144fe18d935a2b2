"""The section of the experimenter's page that lets bots take part: in a copy, or kept in the study."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import streamlit as st

from spade_core.study.analysis.dry_run import DryRun, fresh_copy
from spade_core.study.running.bots import POLICIES
from spade_core.study.vocabulary import SIMULATED
from spade_core.ui.common import downloads
from spade_core.ui.common.frame import jobs, study_store
from spade_core.ui.study.access import follow_asked
from spade_core.ui.study.results import show_result

DRY_RUN, KEPT = "study_dry_run", "study_bots"  # kinds of jobs
KEPT_SO_FAR = "Cancelled. The bots that came so far stay in the study, marked."
MOST_BOTS = 500


def show_bots(key: str) -> None:
    """Ask for bots, let them take part in a copy unless asked otherwise, and show how they fared."""
    st.caption("Bots go the same way as people and say how the software behaves, nothing about people.")
    first, second, third = st.columns(3)
    policy = first.selectbox("Kind", list(POLICIES), index=list(POLICIES).index("rater"), key="policy")
    count = int(second.number_input("Bots", 1, MOST_BOTS, 20, key="bots"))
    seed = int(third.number_input("Seed", 0, 2**31, 0, key="bot_seed"))
    keep = st.toggle("Keep them in this study, marked as bots, rather than in a copy", key="keep_bots")
    asked: dict[str, object] = {"participants": count, "policy": policy, "seed": seed}
    pressed = st.button("Let bots take part" if keep else "Dry run", type="primary", key="simulate")
    if keep:  # asked for twice, they are other bots: the results of the first run must not stand in for them
        asked |= {"key": key, "run": secrets.token_hex(8)}
        slot = f"bots_run_{key}"
        follow_asked(jobs(), slot, KEPT, lambda: asked, _show_kept, pressed=pressed, cancelled=KEPT_SO_FAR)
    else:
        asked |= {"study": fresh_copy(study_store(), key)}
        follow_asked(jobs(), f"dry_run_{key}", DRY_RUN, lambda: asked, _show_dry_run, pressed=pressed)


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
