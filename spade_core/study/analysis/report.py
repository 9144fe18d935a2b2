"""Sentences about a result, the methods paragraph and the pre-registration, as Markdown from the design."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spade_core.study.analysis.coding import fixed_outcomes
from spade_core.study.analysis.estimators import FEW_CLUSTERS
from spade_core.study.analysis.findings import (
    Attrition,
    BaselineShare,
    Estimate,
    Found,
    Label,
    Look,
    NoResult,
    Note,
    StudyResult,
)
from spade_core.study.analysis.tables import NAMES, markdown_table, table3_rows
from spade_core.study.design.design import Analysis, Design
from spade_core.study.design.procedure import (
    excluded_when,
    incomplete_text,
    procedure,
    set_baselines,
    stimuli_text,
)
from spade_core.study.design.questions import scale_of
from spade_core.study.export.codebook import rating_column
from spade_core.study.stimuli.stimulus_set import StimulusSet

DEMO = "This is a demo study: it tries the software, measures nothing."

VERDICTS: Mapping[tuple[int, int], str] = {
    (1, 1): "{who} chose better with SPADE: the {level} intervals of agreement and of half credit exclude 0.",
    (-1, -1): "{who} chose worse with SPADE: the {level} intervals of agreement and of half credit exclude 0.",
    (1, 0): "{who} agreed more often with SPADE, but with half credit for 'cannot tell' the interval holds 0: "
    "deciding more often may explain it, and better choices are not shown.",
    (-1, 0): "{who} agreed less often with SPADE, but with half credit for 'cannot tell' the interval holds 0: "
    "deciding less often may explain it, and worse choices are not shown.",
    (1, -1): "{who} agreed more often with SPADE, but with half credit for 'cannot tell' the interval lies below 0: "
    "they decided more often, and disagreed more often still. Better choices are not shown.",
    (-1, 1): "{who} agreed less often with SPADE, but with half credit for 'cannot tell' the interval lies above 0: "
    "they decided less often, and disagreed less often still. Worse choices are not shown.",
    (0, 1): "No difference in agreement is shown, though with half credit for 'cannot tell' the interval lies above "
    "0: better choices are not shown, since both intervals must lie above 0.",
    (0, -1): "No difference in agreement is shown, though with half credit for 'cannot tell' the interval lies below "
    "0: worse choices are not shown, since both intervals must lie below 0.",
    (0, 0): "No difference in agreement is shown; that is not evidence that there is none.",
}
"""What may be said by where two intervals lie, of agreement and of half credit: above 0 (1), below (-1), or around."""


def sentence(name: str, found: Found, alpha: float) -> str:
    """Return a difference as one sentence, in percentage points, with its warning."""
    if isinstance(found, Note):
        return f"{name}: not estimated. {found.note}"
    text = f"{name}: {100 * found.estimate:+.1f} percentage points"
    if found.low is not None and found.p is not None:
        low = f"{100 * found.low:+.1f}"
        ends = f"from {low}" if found.high is None else f"{low} to {100 * found.high:+.1f}"
        text += f", {_level(alpha)} interval {ends}, {_p(found.p)}"
    counted = f"{found.n} answers, {found.participants} participants, {found.class_neurons} class neurons"
    return " ".join([f"{text} ({counted}).", *([found.warning] if found.warning else [])])


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):g} %"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def verdict(
    primary: Found, half: Found, label: Label, alpha: float, *, simulated: bool, demo: bool, look: Look | None = None
) -> str:
    """Return the one sentence that the study may say; people chose better only where both intervals lie above 0.

    Args:
        look: when conditions were first seen, which may be why all is exploratory.
    """
    if isinstance(primary, Note) or isinstance(half, Note):
        return f"No verdict. {primary.note or half.note}"
    if primary.low is None or half.low is None:
        return f"No verdict. {primary.warning or half.warning}"
    if demo and not simulated:
        return f"{DEMO} No verdict about people is given."
    sides = _direction(primary.low, primary.high), _direction(half.low, half.high)
    text = VERDICTS[sides].format(who="Bots" if simulated else "People", level=_level(alpha))
    if label == "interim":
        text = f"Interim, before the planned number of participants: {text}"
    elif label == "exploratory":
        why = "without a frozen design" if look is None else "since conditions were seen while data were collected"
        text = f"Exploratory, {why}: {text}"
    return f"{DEMO} {text}" if demo else text


def _looked(result: StudyResult) -> list[str]:
    return [] if result.look is None else [look_text(result.look, result.label)]


def look_text(look: Look, label: Label) -> str:
    """Return when conditions were first seen, by whom and at which number of participants, in sentences."""
    who = f" by {look.by}" if look.by else ""
    when = f"{look.at[:10]} at {look.at[11:16]} UTC"
    early = "before" if look.completed < look.target else "after"
    text = (
        f"Conditions were first seen on {when}{who}, {early} the planned number of participants was reached: "
        f"{look.completed} of {look.target} had completed."
    )
    if look.reason:
        text += f" The reason given: “{look.reason}”."
    if look.began_later:
        text += f" People who began afterwards: {look.began_later}."
    return f"{text} All results are therefore exploratory." if label == "exploratory" else text


def _direction(low: float, high: float | None) -> int:
    return int(low > 0) - int(high is not None and high < 0)


def methods_text(
    design: Design, result: StudyResult | NoResult, stimuli: StimulusSet | None = None, version: int | None = None
) -> str:
    """Return the methods and results paragraph of a study as Markdown.

    Args:
        stimuli: the study's, to be described as well; version: number of the saved version that people agreed to.
    """
    plan, asked = design.analysis, design.questions.ratings
    parts = [f"## {design.name}, version {design.version}"]
    if result.simulated:
        parts.append("SIMULATED: the answers come from bots. Nothing here is about people.")
    if design.demo:
        parts.append(DEMO)
    parts += [_task(design) + _own_questions(design), *_described(design, stimuli).values()]
    if version is not None:
        parts.append(
            f"Every participant agreed to the same text before the first trial: saved version {version} of the design "
            f"(SHA-256 {design.sha256}), its consent page with SHA-256 {design.consent_sha256}."
        )
    parts += [
        f"Exclusions: {excluded_when(plan.exclusions, plan.thresholds)}.",
        incomplete_text(plan),
        _primary_method(plan),
        f"Secondary outcomes, two-sided, corrected together by Holm: {_listed(fixed_outcomes(plan, asked))}.",
    ]
    if isinstance(result, NoResult):
        parts.append(result.verdict)
    elif isinstance(result.primary.found, Note):
        parts += [result.verdict, *_looked(result), _baselines(result.baselines.values())]
    else:
        table = markdown_table(table3_rows(result, paper=False))
        note = "Shares with Wilson intervals, which treat answers as independent; the test above does not."
        people = "bots or people" if result.simulated else "people"
        out = result.exclusions
        counts = f"Of {out.people} {people} with trials {out.excluded} were excluded."
        parts += [counts, *result.texts, f"**{result.verdict}**", f"{table}\n\n{note}", *_beside(result)]
        parts += [_rating_found(name, result) for name in result.ratings]
    text = "\n\n".join(parts) + "\n"
    return f"SIMULATED\n\n{text}" if result.simulated else text


def preregistration(design: Design, stimuli: StimulusSet | None = None) -> str:
    """Return a pre-registration generated from the design, and from the stimuli where they are given, as Markdown."""
    plan = design.analysis
    better = "agree more often" if plan.sidedness == "greater" else "agree more or less often"
    fixed = _listed(fixed_outcomes(plan, design.questions.ratings))
    parts = [
        f"# Pre-registration: {design.name}, version {design.version}",
        *([DEMO] if design.demo else []),
        f"**Question.** Do people {better} with the reference region when they see SPADE's visualization of the class "
        "neuron instead of the dense one?",
        f"**Task.** {_task(design)}{_own_questions(design)}",
        f"**Sample.** {plan.target_participants} included participants. An analysis before is interim and labelled so.",
        "**Blinding.** Conditions stay hidden from the experimenters while participants are taken. When they are first "
        "seen, and how many had completed by then, stands in every report. A look during data collection, or people "
        "who begin after it, make all results exploratory.",
        *([f"**Stopping.** {plan.stopping}"] if plan.stopping else []),
        *(f"**{title}.** {text}" for title, text in _described(design, stimuli).items()),
        f"**Exclusions.** {excluded_when(plan.exclusions, plan.thresholds)}. "
        "The analysis without exclusions is shown beside.",
        f"**Primary analysis.** {_primary_method(plan)}",
        "**Decision.** 'People chose better' is written only if both intervals, of agreement and of half credit, lie "
        "above 0.",
        f"**Unfinished participations.** {incomplete_text(plan)} Attrition is told by condition and tested by Fisher's "
        "exact test.",
        "**Missing answers.** Timeouts are missing; they are counted by condition, and the difference is also "
        "given with all of them counted against and for SPADE.",
        f"**Secondary outcomes**, two-sided, corrected together by Holm: {fixed}.",
        "**Beside it, exploratory.** Participant and class-neuron fixed effects; a t-test over class neurons; a "
        "product bootstrap (conservative); exclusions off; traces that keep the class; by source of the "
        "reference; reaction times measured in the browser; confidence; first and second half; sides; "
        "Krippendorff's alpha within condition; repeated trials. Anything else is exploratory as well.",
    ]
    return "\n\n".join(parts) + "\n"


def _described(design: Design, stimuli: StimulusSet | None) -> dict[str, str]:
    """Return procedure, stimuli and baselines by title; only those that are known."""
    found = {"Procedure": procedure(design)}
    if stimuli is not None:
        found |= {"Stimuli": stimuli_text(design, stimuli), "Baselines": set_baselines(stimuli)}
    return found


def _task(design: Design) -> str:
    named = _listed([NAMES[name] for name in design.conditions])
    met = f"Every participant meets {'all' if design.arrangement == 'within' else 'one'} of them."
    once = "" if design.demo else " Nobody meets a class neuron in more than one condition."
    return (
        "Participants see a picture with two marked regions of equal size and say which of them made the network "
        "decide as it did, or that they cannot tell. One region is the reference (the trigger where one was "
        f"pasted, otherwise a region of the highest Score-CAM values on the dense model). Conditions: {named}. "
        f"{met}{once}"
    )


def _own_questions(design: Design) -> str:
    """Return the design's own questions as sentences, or nothing."""
    asked = [f"“{one.text}” ({one.method})" for one in design.questions.listed]
    return f" After each choice, except in practice, they are also asked: {_listed(asked)}." if asked else ""


def _rating_found(name: str, result: StudyResult) -> str:
    """Return a rating's means by condition and its difference as one sentence, in steps of its scale."""
    asked, outcome = result.ratings[name], result.secondary.outcomes[rating_column(name)]
    found, p = outcome.found, outcome.p_holm
    means = [
        f"{NAMES[place]} {one.mean:.2f} (n = {one.n})"
        for place, one in asked.by_condition.items()
        if one.mean is not None
    ]
    text = f"“{asked.what}” ({scale_of(asked.low, asked.high, asked.labels)}), mean: {_listed(means)}"
    if isinstance(found, Note) or found.low is None:
        why = found.note if isinstance(found, Note) else found.warning
        return f"{text}; the difference is not tested. {why or ''}".rstrip()
    corrected = "" if p is None else f", {_p(p)} after Holm's correction"
    return f"{text}; SPADE - dense {found.estimate:+.2f} [{found.low:+.2f}, {found.high:+.2f}]{corrected}."


def _primary_method(plan: Analysis) -> str:
    tail = "one-sided (greater)" if plan.sidedness == "greater" else "two-sided"
    return (
        "First presentations of the main trials of included participants are analysed; agreement with the "
        "reference counts 1, disagreement and 'cannot tell' 0. The risk difference SPADE - dense is estimated by "
        "ordinary least squares with two-way cluster-robust errors over participant and class neuron (the largest "
        f"of the three variances where the two-way one is smaller or negative), {tail}, alpha = {plan.alpha:g}, t "
        f"with the smaller cluster count - 1 degrees of freedom; fewer than {FEW_CLUSTERS} clusters on a side are "
        "warned of. The same analysis with half credit (0.5) for 'cannot tell', which guessing does not move, "
        "stands beside it."
    )


def _listed(names: Sequence[str], nothing: str = "none") -> str:
    return ", ".join(names) if names else nothing


def _beside(result: StudyResult) -> list[str]:
    """Return the odds ratio, the timeouts and the baselines as sentences."""
    ratio = result.odds_ratio.found
    odds = f"Odds ratio: {ratio.note}"
    if isinstance(ratio, Estimate) and ratio.low is not None:
        ends = f"from {ratio.low:.2f}" if ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
        odds = f"Odds ratio {ratio.estimate:.2f}, {ends}. {ratio.note}"
    late = [f"{NAMES[name]} {found.count} of {found.n}" for name, found in result.timeouts.by_condition.items()]
    timeouts = f"Timeouts: {_listed(late)}"
    found = result.timeouts.bounds.values()
    bounds = [f"{100 * bound.estimate:+.1f}" for bound in found if isinstance(bound, Estimate)]
    if bounds:
        timeouts += f"; with all missing answers against or for SPADE the difference is {' or '.join(bounds)} points"
    lost = [] if result.attrition is None else [attrition_text(result.attrition)]
    return [odds, f"{timeouts}.", *lost, _baselines(result.baselines.values())]


def attrition_text(lost: Attrition) -> str:
    """Return who did not finish, by condition, with the test, in sentences."""
    who = "people who did not finish" if lost.between else "main trials at which people left for good"
    counts = _listed([f"{NAMES[name]} {one.count} of {one.n}" for name, one in lost.by_condition.items()])
    test = (
        "there is nothing to test" if lost.p is None else f"Fisher's exact test that it is alike in all: {_p(lost.p)}"
    )
    return f"Attrition, {who}: {counts}; {test}."


def _baselines(found: Iterable[BaselineShare]) -> str:
    known = [(one.name, one.found) for one in found]
    rates = [f"{name} {100 * one.share:.0f} % of {one.n} stimuli" for name, one in known if one.share is not None]
    return f"Baselines that name the reference region: {_listed(rates, 'not known')}."
