"""Data quality of one participation, by the design's rules and thresholds; no matter of payment.

Every rule is judged for everybody and told with its details; those that the design names exclude from the analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from spade_core.study.data.tables import PageTime, Participant, Trial
from spade_core.study.design.design import LEAST_FOR_SIDE, Design, Thresholds
from spade_core.study.running.phases import never_shown
from spade_core.study.vocabulary import INSTRUCTIONS

EXPERIMENTER = "experimenter"


@dataclass(frozen=True)
class Result:
    """What a rule found.

    Attributes:
        passed: None: there was nothing to judge, or not yet.
        details: the numbers that it was judged by.
    """

    passed: bool | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Checks:
    """What all rules found, by name, and whether the person stays in the analysis."""

    results: Mapping[str, Result]
    included: bool = True
    reason: str = ""

    @property
    def failed(self) -> dict[str, Mapping[str, Any]]:
        """Return the details of the rules that were not met."""
        return {name: result.details for name, result in self.results.items() if result.passed is False}

    def told(self) -> dict[str, dict[str, Any]]:
        """Return every rule's result with its details, JSON-able."""
        return {name: {"passed": result.passed, **result.details} for name, result in self.results.items()}


@dataclass(frozen=True)
class _Person:
    """What the rules look at; ``trials``: answered ones after practice that the person has seen."""

    row: Participant
    trials: Sequence[Trial]
    pages: Sequence[PageTime]


def check_person(row: Participant, trials: Sequence[Trial], design: Design, pages: Sequence[PageTime] = ()) -> Checks:
    """Judge one participation; only the rules that the design names exclude, and so does the experimenter.

    Args:
        trials: the answered ones; pages: the person's page times, in their order.
    """
    person = _Person(row, [trial for trial in trials if trial.type != "practice" and not never_shown(trial)], pages)
    results = {name: rule(person, design.analysis.thresholds) for name, rule in RULES.items()}
    reasons: list[str] = [name for name in design.analysis.exclusions if results[name].passed is False]
    if row.excluded:
        reasons.append(f"{EXPERIMENTER}: {row.excluded}")
    return Checks(results, not reasons, "; ".join(reasons))


def rules_only(reason: str) -> str:
    """Return a reason without the words that the experimenter typed, which stand last: they may be about a person."""
    rules, typed, _ = reason.partition(f"{EXPERIMENTER}: ")
    return rules + EXPERIMENTER if typed else rules


def total_s(row: Participant) -> float | None:
    """Return the seconds from entry to the end, None before it."""
    return None if row.finished is None else row.finished - row.started


def _attention(person: _Person, _limits: Thresholds) -> Result:
    followed = [trial.choice == trial.required for trial in person.trials if trial.type == "attention"]
    return Result(any(followed) if followed else None, {"followed": sum(followed), "of": len(followed)})


def _catch(person: _Person, limits: Thresholds) -> Result:
    caught = [trial.choice == trial.reference_side for trial in person.trials if trial.type == "catch"]
    enough = sum(caught) / len(caught) >= limits.catch_right if caught else None
    return Result(enough, {"right": sum(caught), "of": len(caught)})


def _fast(person: _Person, limits: Thresholds) -> Result:
    times = [trial.rt_ms for trial in person.trials if trial.rt_ms is not None and trial.rt_source == "browser"]
    middle = median(times) if times else None
    return Result(None if middle is None else middle >= limits.fast_ms, {"median_ms": middle})


def _side(person: _Person, limits: Thresholds) -> Result:
    sides = [
        trial.choice
        for trial in person.trials
        if trial.choice in ("region_1", "region_2") and trial.type != "attention"
    ]
    share = max(sides.count(side) for side in set(sides)) / len(sides) if sides else None
    judged = share is not None and len(sides) >= LEAST_FOR_SIDE
    return Result(share < limits.one_side if judged and share is not None else None,
                  {"share": share, "of": len(sides)})  # fmt: skip


def _practice(person: _Person, limits: Thresholds) -> Result:
    rounds = person.row.practice_round
    over = rounds > limits.practice_rounds or person.row.practice_flagged
    return Result(not over if rounds else None, {"rounds": rounds, "never_passed": person.row.practice_flagged})


def _total(person: _Person, limits: Thresholds) -> Result:
    seconds = total_s(person.row) if person.row.status == "complete" else None
    minutes = None if seconds is None else seconds / 60
    return Result(_within(person, minutes, limits.total_minutes), {"minutes": minutes})


def _instructions(person: _Person, limits: Thresholds) -> Result:
    seconds = instruction_s(person.pages)
    return Result(_within(person, seconds, limits.instruction_seconds), {"seconds": seconds})


def _within(person: _Person, value: float | None, ends: tuple[float, float]) -> bool | None:
    """Return whether a time lies within its ends; a bot's says nothing, as it takes no time."""
    return None if value is None or person.row.is_bot else ends[0] <= value <= ends[1]


RULES: Mapping[str, Callable[[_Person, Thresholds], Result]] = {
    "attention": _attention, "catch": _catch, "too_fast": _fast, "same_side": _side, "practice_rounds": _practice,
    "total_time": _total, "instruction_time": _instructions,
}  # fmt: skip
"""Rules by the name that a design gives them."""


def instruction_s(pages: Sequence[PageTime]) -> float | None:
    """Return the seconds from the first page of the instructions to what came after the last one.

    Args:
        pages: of one participant, in their order.
    """
    begun = next((number for number, page in enumerate(pages) if page.page == INSTRUCTIONS), None)
    after = next((page for page in pages[begun or 0 :] if page.page != INSTRUCTIONS), None)
    return None if begun is None or after is None else after.at - pages[begun].at
