"""Secondary outcomes with Holm's correction, and what else may have moved the answers: times, order and sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import pandas as pd

from spade_core.study.analysis import findings
from spade_core.study.analysis.coding import contrast, difference, fixed_outcomes
from spade_core.study.analysis.describe import by_condition, share_of
from spade_core.study.analysis.findings import Label, Note
from spade_core.study.analysis.sensitivity import interaction
from spade_core.study.design.design import Analysis
from spade_core.study.design.questions import Rating
from spade_core.study.vocabulary import COMPARED, REGIONS, confidence_scale

Tested = tuple[str, str, str, str]  # column of the coded rows, the two conditions, and what it is in words

SECONDARY: dict[str, Tested] = {
    "half_credit": ("half", "spade", "dense", "agreement with half credit, SPADE - dense"),
    "cannot_tell": ("undecided", "spade", "dense", "cannot tell, SPADE - dense"),
    "disagree": ("disagree", "spade", "dense", "disagreement, SPADE - dense"),
    "confidence": ("confidence", "spade", "dense", f"confidence ({confidence_scale()}), SPADE - dense"),
    "rt": ("log_rt", "spade", "dense", "log reaction time (browser), SPADE - dense"),
    "spade_vs_none": ("agree", "spade", "none", "agreement, SPADE - no visualization"),
    "dense_vs_none": ("agree", "dense", "none", "agreement, dense - no visualization"),
    "spade_vs_reference": ("agree", "spade", "reference", "agreement, SPADE - reference crops"),
}
RT_QUANTILES = {"median_ms": 50, "quartile_1_ms": 25, "quartile_3_ms": 75, "percentile_5_ms": 5, "percentile_95_ms": 95}


def secondary(rows: pd.DataFrame, plan: Analysis, asked: Sequence[Rating], label: Label) -> findings.Secondary:
    """Return all secondary outcomes, two-sided; those that the design fixed are corrected by Holm, together.

    Args:
        rows: coded main trials.
        asked: the design's ratings, each of which is an outcome under the name of its column.
        label: of the fixed ones, ``confirmatory`` or ``interim``; the others are exploratory, and their p values are
            not corrected.
    """
    fixed, present = fixed_outcomes(plan, asked), set(rows["condition"])
    known = SECONDARY | {
        one.column: (one.column, "spade", "dense", f"“{one.text}” ({one.low} to {one.high}), SPADE - dense")
        for one in asked
    }
    found = {
        name: (what, contrast(rows, column, plan, treated=treated, control=control, two_sided=True))
        for name, (column, treated, control, what) in known.items()
        if name in fixed or {treated, control} <= present
    }
    raw = {
        name: one.p
        for name, (_, one) in found.items()
        if name in fixed and not isinstance(one, Note) and one.p is not None
    }
    adjusted, labels = holm(raw), dict.fromkeys(fixed, label)
    outcomes = {
        name: findings.Outcome(what=what, label=labels.get(name, "exploratory"), found=one, p_holm=adjusted.get(name))
        for name, (what, one) in found.items()
    }
    notes = [
        f"The design names the secondary outcome {name!r}, which this analysis does not have; it has "
        f"{', '.join(known)}."
        for name in fixed
        if name not in known
    ]
    return findings.Secondary(outcomes=outcomes, holm_over=sorted(raw), notes=notes)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p values by name, not above 1 and in the order of the raw ones.

    ``statsmodels`` has the same, and collects all garbage of the process at each call: 0.3 s of 0.5 that an analysis
    takes.
    """
    names = sorted(p_values, key=lambda name: p_values[name])
    raised = [min(1.0, (len(names) - rank) * p_values[name]) for rank, name in enumerate(names)]
    adjusted = dict(zip(names, accumulate(raised, max), strict=True))
    return {name: adjusted[name] for name in p_values}


def reaction_times(rows: pd.DataFrame, plan: Analysis) -> findings.ReactionTime:
    """Return quantiles by condition (ms) and the ratio SPADE / dense from log times; times of the server stay out."""
    quantiles = {}
    for condition, here in by_condition(rows):
        times = here.loc[here["choice"].notna(), "browser_rt"].dropna()
        values = np.percentile(times, list(RT_QUANTILES.values())) if len(times) else [None] * len(RT_QUANTILES)
        quantiles[condition] = findings.Quantiles(n=len(times), ms=dict(zip(RT_QUANTILES, values, strict=True)))
    found = contrast(rows, "log_rt", plan, two_sided=True)
    ends = (None, None, None) if isinstance(found, Note) else (found.estimate, found.low, found.high)
    ratio, low, high = (None if end is None else np.exp(end) for end in ends)
    return findings.ReactionTime(
        by_condition=quantiles,
        log_difference=found,
        spade_over_dense=findings.Ratio(ratio=ratio, low=low, high=high),
        not_browser=int((rows["choice"].notna() & (rows["rt_source"] != "browser")).sum()),
    )


def confidence(rows: pd.DataFrame, plan: Analysis) -> findings.Confidence:
    """Return mean confidence by condition and its difference."""
    found = contrast(rows, "confidence", plan, two_sided=True)
    return findings.Confidence(by_condition=_means(rows, "confidence"), difference=found)


def ratings(rows: pd.DataFrame, asked: Sequence[Rating]) -> dict[str, findings.Rated]:
    """Return for each rating of the design its scale and its mean by condition."""
    return {
        one.name: findings.Rated(
            what=one.text,
            low=one.low,
            high=one.high,
            labels=one.labels,
            by_condition=_means(rows, one.column),
        )
        for one in asked
    }


def _means(rows: pd.DataFrame, column: str) -> dict[str, findings.Mean]:
    known = {condition: here[column].dropna() for condition, here in by_condition(rows)}
    return {name: findings.Mean(n=len(one), mean=one.mean() if len(one) else None) for name, one in known.items()}


def order_effects(rows: pd.DataFrame, plan: Analysis) -> findings.Differences:
    """Return the difference SPADE - dense in the first and second half of each person's trials, and second - first.

    ``change_of_difference`` is the difference in the second half minus that in the first.
    """
    trials = rows.groupby("participant_uid")["trial_index"]
    later = trials.rank(method="first") > trials.transform("size") / 2
    both = rows[rows["condition"].isin(COMPARED)]
    spade, options = both["condition"] == "spade", {"later": later[both.index], "alpha": plan.alpha}
    return findings.Differences(
        found={
            "first_half": contrast(rows[~later], "agree", plan, two_sided=True),
            "second_half": contrast(rows[later], "agree", plan, two_sided=True),
            "second_minus_first": difference(rows, "agree", later, alpha=plan.alpha),
            "change_of_difference": difference(both, "agree", spade, interaction, **options),
        }
    )


def side_effects(rows: pd.DataFrame, plan: Analysis) -> findings.Sides:
    """Return how often decided answers were the left region, and agreement with the reference left minus right."""
    left = {condition: share_of(here["left"].dropna(), plan.alpha) for condition, here in by_condition(rows)}
    gap = difference(rows, "agree", rows["reference_side"] == REGIONS[0], alpha=plan.alpha)
    return findings.Sides(left_when_decided=left, agree_left_minus_right=gap)
