"""Data quality of one participation: catch and attention trials, speed, same-side answers; no matter of payment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from spade_core.study.deadline import never_shown
from spade_core.study.design import Design
from spade_core.study.tables import Participant, Trial

__all__ = ["Checks", "check_person", "rules_only"]

FAST_MS = 900.0  # a median response time below it is too fast to have looked
ONE_SIDE = 0.95  # share of decided answers on one side
LEAST_FOR_SIDE = 8  # decided answers before sides are judged
CATCH_PASS = 0.5  # share of catch trials that must be right
EXPERIMENTER = "experimenter"


@dataclass(frozen=True)
class Checks:
    """What the checks found: failed rules with their details, and whether the person stays in the analysis."""

    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    included: bool = True
    reason: str = ""


def check_person(row: Participant, trials: Sequence[Trial], design: Design) -> Checks:
    """Judge one participation; only the rules that the design names exclude, and so does the experimenter."""
    failed = {}
    judged = [trial for trial in trials if trial.type != "practice" and not never_shown(trial)]
    for name, rule in _RULES.items():
        details = rule(judged)
        if details:
            failed[name] = details
    reasons: list[str] = [name for name in design.analysis.exclusions if name in failed]
    if row.excluded:
        reasons.append(f"{EXPERIMENTER}: {row.excluded}")
    return Checks(failed, not reasons, "; ".join(reasons))


def rules_only(reason: str) -> str:
    """Return a reason without the words that the experimenter typed, which stand last: they may be about a person."""
    rules, typed, _ = reason.partition(f"{EXPERIMENTER}: ")
    return rules + EXPERIMENTER if typed else rules


def _catch(trials: Sequence[Trial]) -> dict[str, Any]:
    caught = [trial.choice == trial.reference_side for trial in trials if trial.type == "catch"]
    return {"right": sum(caught), "of": len(caught)} if caught and sum(caught) / len(caught) < CATCH_PASS else {}


def _attention(trials: Sequence[Trial]) -> dict[str, Any]:
    followed = [trial.choice == trial.required for trial in trials if trial.type == "attention"]
    return {"followed": sum(followed), "of": len(followed)} if followed and not any(followed) else {}


def _fast(trials: Sequence[Trial]) -> dict[str, Any]:
    times = [trial.rt_ms for trial in trials if trial.rt_ms is not None and trial.rt_source == "browser"]
    return {"median_ms": median(times)} if times and median(times) < FAST_MS else {}


def _side(trials: Sequence[Trial]) -> dict[str, Any]:
    sides = [trial.choice for trial in trials if trial.choice in ("region_1", "region_2") and trial.type != "attention"]
    most = max((sides.count(side) for side in set(sides)), default=0)
    return {"share": most / len(sides)} if len(sides) >= LEAST_FOR_SIDE and most / len(sides) >= ONE_SIDE else {}


_RULES = {"attention": _attention, "catch": _catch, "too_fast": _fast, "same_side": _side}
