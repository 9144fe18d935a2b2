"""Data quality of one participation, by the design's rules and thresholds; no matter of payment.

Every rule is judged for everybody and told with its details; those that the design names exclude from the analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from spade_core.study.data.tables import PageTime, Participant, Trial
from spade_core.study.design.design import LEAST_FOR_SIDE, Design, Thresholds
from spade_core.study.running.phases import never_shown
from spade_core.study.vocabulary import BROWSER, COMPLETE, INSTRUCTIONS, PRACTICE, REGIONS

EXPERIMENTER = "experimenter"
Number: TypeAlias = int | float | None


@dataclass(frozen=True)
class Result:
    """What a rule found.

    Attributes:
        passed: None: there was nothing to judge, or not yet.
        details: the numbers that it was judged by.
    """

    passed: bool | None
    details: Mapping[str, Number]


@dataclass(frozen=True)
class Verdict:
    """What all rules found, by name, and whether the person stays in the analysis."""

    results: Mapping[str, Result]
    included: bool = True
    reason: str = ""

    @property
    def failed(self) -> dict[str, Mapping[str, Number]]:
        """Return the details of the rules that were not met."""
        return {name: one.details for name, one in self.results.items() if one.passed is False}

    @property
    def noticed(self) -> str:
        """Return the failed rules in words, such as ``catch: 0 of 2 right``."""
        return "; ".join(RULES[name](details) for name, details in self.failed.items())

    def told(self) -> dict[str, dict[str, Number]]:
        """Return every rule's result with its details, JSON-able."""
        return {name: {"passed": one.passed, **one.details} for name, one in self.results.items()}


@dataclass(frozen=True)
class Judged:
    """What the rules look at; ``trials``: answered ones after practice that the person has seen."""

    row: Participant
    trials: Sequence[Trial]
    pages: Sequence[PageTime]

    def of(self, kind: str) -> list[Trial]:
        """Return the trials of one type."""
        return [trial for trial in self.trials if trial.type == kind]

    @property
    def browser_times_ms(self) -> list[float]:
        """Return the response times that the browser measured."""
        return [one.rt_ms for one in self.trials if one.rt_ms is not None and one.rt_source == BROWSER]

    @property
    def sides(self) -> list[str]:
        """Return the decided answers, those to attention checks left out."""
        return [one.choice for one in self.trials if one.choice in REGIONS and one.type != "attention"]

    @property
    def one_side(self) -> float | None:
        """Return the share of the decided answers on the side that has most of them."""
        return max(map(self.sides.count, REGIONS)) / len(self.sides) if self.sides else None

    @property
    def caught(self) -> list[bool]:
        """Return of each catch trial whether it was answered right."""
        return [one.choice == one.reference_side for one in self.of("catch")]


def judged(row: Participant, trials: Sequence[Trial], pages: Sequence[PageTime]) -> Judged:
    """Return what of a participation's answered trials and page times is judged."""
    return Judged(row, [one for one in trials if one.type != PRACTICE and not never_shown(one)], pages)


def check_person(row: Participant, trials: Sequence[Trial], design: Design, pages: Sequence[PageTime] = ()) -> Verdict:
    """Judge one participation; only the rules that the design names exclude, and so does the experimenter.

    Args:
        trials: the answered ones; pages: the person's page times, in their order.
    """
    person = judged(row, trials, pages)
    results = _results(person, design.analysis.thresholds)
    reasons: list[str] = [name for name in design.analysis.exclusions if results[name].passed is False]
    if row.excluded:
        reasons.append(f"{EXPERIMENTER}: {row.excluded}")
    return Verdict(results, not reasons, "; ".join(reasons))


def rules_only(reason: str) -> str:
    """Return a reason without the words that the experimenter typed, which stand last: they may be about a person."""
    rules, typed, _ = reason.partition(f"{EXPERIMENTER}: ")
    return rules + EXPERIMENTER if typed else rules


def _results(person: Judged, limits: Thresholds) -> dict[str, Result]:
    """Return what every rule finds; a bot's times say nothing, as it takes none."""
    followed = [trial.choice == trial.required for trial in person.of("attention")]
    right, caught = sum(person.caught), len(person.caught)
    middle = median(person.browser_times_ms) if person.browser_times_ms else None
    share, sides = person.one_side, len(person.sides)
    balanced = None if share is None or sides < LEAST_FOR_SIDE else share < limits.one_side
    rounds, flagged = person.row.practice_round, person.row.practice_flagged
    learnt = rounds <= limits.practice_rounds and not flagged
    whole, reading = person.row.total_s if person.row.status == COMPLETE else None, instruction_s(person.pages)
    minutes = None if whole is None else whole / 60

    def within(value: float | None, ends: tuple[float, float]) -> bool | None:
        return None if value is None or person.row.is_bot else ends[0] <= value <= ends[1]

    return {
        "attention": Result(any(followed) if followed else None, {"followed": sum(followed), "of": len(followed)}),
        "catch": Result(right / caught >= limits.catch_right if caught else None, {"right": right, "of": caught}),
        "too_fast": Result(None if middle is None else middle >= limits.fast_ms, {"median_ms": middle}),
        "same_side": Result(balanced, {"share": share, "of": sides}),
        "practice_rounds": Result(learnt if rounds else None, {"rounds": rounds, "never_passed": flagged}),
        "total_time": Result(within(minutes, limits.total_minutes), {"minutes": minutes}),
        "instruction_time": Result(within(reading, limits.instruction_seconds), {"seconds": reading}),
    }


RULES: Mapping[str, Callable[[Mapping[str, Number]], str]] = {
    "attention": "attention: {followed} of {of} followed".format_map,
    "catch": "catch: {right} of {of} right".format_map,
    "too_fast": "too fast: median {median_ms:.0f} ms".format_map,
    "same_side": "same side: {share:.0%} of the decided answers".format_map,
    "practice_rounds": lambda by: f"practice: {by['rounds']} rounds{', never passed' if by['never_passed'] else ''}",
    "total_time": "total time: {minutes:.1f} minutes".format_map,
    "instruction_time": "instructions: {seconds:.0f} s".format_map,
}
"""Rules by the name that a design gives them, and what a failed one is told as, from its details."""


def instruction_s(pages: Sequence[PageTime]) -> float | None:
    """Return the seconds from the first page of the instructions to what came after the last one.

    Args:
        pages: of one participant, in their order.
    """
    begun = next((number for number, page in enumerate(pages) if page.page == INSTRUCTIONS), None)
    after = next((page for page in pages[begun or 0 :] if page.page != INSTRUCTIONS), None)
    return None if begun is None or after is None else after.at - pages[begun].at
