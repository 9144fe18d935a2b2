"""What a study does, in sentences with its numbers: exclusions, trials, order, limits, stimuli. For methods texts."""

from __future__ import annotations

from collections.abc import Sequence

from spade_core.study.design.design import LEAST_FOR_SIDE, Analysis, Design, Thresholds
from spade_core.study.stimuli.regions import rule_text
from spade_core.study.stimuli.stimulus_set import StimulusSet
from spade_core.study.vocabulary import BASELINES

_ORDER = {
    "interleaved": "conditions interleaved in random order",
    "blocked": "conditions in blocks, the order of blocks counterbalanced by cell",
}
_FAIL = {"leave": "the participation ends", "flag": "the person goes on, flagged"}


def fails_when(limits: Thresholds) -> dict[str, str]:
    """Return in words when each rule of ``checks`` fails."""
    return {
        "attention": "none of the attention checks followed",
        "catch": f"fewer than {limits.catch_right:.0%} of the catch trials right",
        "too_fast": f"median response time after practice, measured in the browser, below {limits.fast_ms:g} ms",
        "same_side": f"at least {limits.one_side:.0%} of the decided answers, of {LEAST_FOR_SIDE} or more, on one side",
        "practice_rounds": f"more than {limits.practice_rounds} rounds of practice, or practice never passed",
        "total_time": "not between {:g} and {:g} minutes from entry to the end".format(*limits.total_minutes),
        "instruction_time": "not between {:g} and {:g} seconds on the instructions".format(*limits.instruction_seconds),
    }


def excluded_when(rules: Sequence[str], limits: Thresholds) -> str:
    """Return the exclusion rules with their thresholds as one list, or ``none``."""
    words = fails_when(limits)
    return "; ".join(f"{name} ({words[name]})" for name in rules) or "none"


def incomplete_text(plan: Analysis) -> str:
    """Return what becomes of the answers of people who did not finish, and why, in sentences."""
    if plan.incomplete == "include":
        return (
            "People who did not finish (who left, stopped, or ran out of time) stay in the primary analysis with the "
            "answers that they gave (available cases): whether people go on may hang on what they were shown, so that "
            "leaving them out could select the answers. The analysis of complete cases is shown beside."
        )
    return (
        "People who did not finish (who left, stopped, or ran out of time) are left out of the primary analysis "
        "(complete cases), so that all people count with as many answers; should what was shown decide who goes on, "
        "this selects the answers. The analysis of all available cases is shown beside."
    )


def procedure(design: Design) -> str:
    """Return what one person does, in which order and within which limits."""
    limit = "no time limit" if design.time_limit_ms is None else f"a time limit of {design.time_limit_ms / 1000:g} s"
    practice = (
        f"Practice: {design.practice} trials with feedback a round, at most {design.practice_rounds} rounds, passed "
        f"with {design.practice_pass} right; otherwise {_FAIL[design.practice_fail]}."
        if design.practice
        else "There is no practice."
    )
    order = (
        f"{_ORDER[design.order]}; class neurons rotate through the conditions over cells"
        if design.arrangement == "within"
        else "one condition a person, given by the cell; trials in random order"
    )
    named, whole = "The class is not named. ", ""
    if design.show_class:
        named = "Variant with class names: the question names the class, so that people may ignore the visualization. "
    if design.minutes_limit is not None:
        ends = f"The study ends {design.minutes_limit:g} minutes after the consent"
        whole = f"{ends}; trials not answered then are missing. "
    return (
        f"Each person answers {design.trials} main trials of as many class neurons, {design.catch} catch trials, "
        f"{design.repeats} repeated trials and {design.attention} attention checks. {practice} "
        f"Order: {order}, the least filled cell is taken first, sides are random, and every order follows from a "
        "stored seed. "
        f"Windows of at least {design.min_width} px; phones and tablets are {design.mobile}. "
        f"Answers are taken from {design.min_view_ms} ms after the onset, with {limit}. "
        f"{named}{whole}Quota: {design.quota} completed participants."
    )


def stimuli_text(design: Design, stimuli: StimulusSet) -> str:
    """Return which stimuli are shown, how their regions were chosen, and both hashes."""
    main = stimuli.of("main")
    models = ", ".join(sorted({item.model_id for item in main}))
    sizes = ", ".join(f"{len(stimuli.of(role))} for {role}" for role in ("practice", "catch"))
    side = main[0].regions["reference"][2] if main else 0.0
    return (
        f"{len(main)} main stimuli of {len({item.class_neuron for item in main})} class neurons, {sizes}; model: "
        f"{models}. Regions are squares of {100 * side:.1f} % of the picture's side: {rule_text(stimuli.about)}. "
        f"SHA-256 of the design {design.sha256}, of the stimulus set {stimuli.sha256}."
    )


def set_baselines(stimuli: StimulusSet) -> str:
    """Return how often each baseline names the reference region over the main stimuli, as one sentence."""
    rates = []
    for name, baseline in BASELINES.items():
        found = [item.answers[name] == "reference" for item in stimuli.of("main") if name in item.answers]
        if found:
            rates.append(f"{baseline.who} {100 * sum(found) / len(found):.0f} % of {len(found)}")
    return f"Baselines that name the reference region, over all main stimuli: {', '.join(rates) or 'not known'}."
