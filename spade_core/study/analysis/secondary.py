"""Secondary outcomes with Holm's correction, and what else may have moved the answers: time, order and sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spade_core.errors import ConfigError
from spade_core.study.analysis.coding import Plan, contrast
from spade_core.study.analysis.describe import conditions_of, share
from spade_core.study.analysis.estimators import Estimate, risk_difference
from spade_core.study.analysis.sensitivity import holm, interaction
from spade_core.study.design.questions import Rating
from spade_core.study.export.codebook import rating_column

RT_QUANTILES = {
    "median_ms": 50, "quartile_1_ms": 25, "quartile_3_ms": 75, "percentile_5_ms": 5, "percentile_95_ms": 95,
}  # fmt: skip


def secondary(rows: pd.DataFrame, plan: Plan, label: str) -> dict[str, Any]:
    """Return all secondary outcomes, two-sided; those that the design fixed are corrected by Holm, together.

    Args:
        rows: coded main trials.
        label: of the fixed ones, ``confirmatory`` or ``interim``; the others are exploratory, and their p values are
            not corrected.
    """
    wanted = plan.secondary
    present = set(rows["condition"])
    known, outcomes = {**SECONDARY, **of_ratings(plan.ratings)}, {}
    for name, one in known.items():
        if name not in wanted and not {one.treated, one.control} <= present:
            continue
        found = contrast(rows, one.column, plan, treated=one.treated, control=one.control, two_sided=True)
        outcomes[name] = {"what": one.what, "label": label if name in wanted else "exploratory", **found}
    fixed = {name: outcomes[name]["p"] for name in outcomes if name in wanted and outcomes[name].get("p") is not None}
    for name, p in holm(fixed).items():
        outcomes[name]["p_holm"] = p
    notes = [
        f"The design names the secondary outcome {name!r}, which this analysis does not have; it has "
        f"{', '.join(known)}."
        for name in wanted
        if name not in known
    ]
    return {"outcomes": outcomes, "holm_over": sorted(fixed), "notes": notes}


def reaction_times(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """Return quantiles by condition (ms) and the ratio SPADE / dense from log times; times of the server stay out."""
    answered = rows[rows["choice"].notna()]
    by_condition = {}
    for condition in conditions_of(rows):
        times = answered.loc[answered["condition"] == condition, "browser_rt"].dropna()
        shown: dict[str, float | None] = dict.fromkeys(RT_QUANTILES)
        if len(times):
            values = np.percentile(times, list(RT_QUANTILES.values()))
            shown = {name: float(value) for name, value in zip(RT_QUANTILES, values, strict=True)}
        by_condition[condition] = {"n": len(times), **shown}
    found = contrast(rows, "log_rt", plan, two_sided=True)
    ratio = {
        key: None if found.get(field) is None else float(np.exp(found[field]))
        for key, field in (("ratio", "estimate"), ("low", "low"), ("high", "high"))
    }
    left_out = int((answered["rt_source"] != "browser").sum())
    return {"by_condition": by_condition, "log_difference": found, "spade_over_dense": ratio, "not_browser": left_out}


def confidence(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """Return mean confidence (1 to 3) by condition and its difference."""
    return {
        "by_condition": _means(rows, "confidence"),
        "difference": contrast(rows, "confidence", plan, two_sided=True),
    }


def ratings(rows: pd.DataFrame, plan: Plan) -> dict[str, dict[str, Any]]:
    """Return for each rating of the design its scale and its mean by condition."""
    return {
        one.name: {
            "what": one.text, "low": one.low, "high": one.high, "labels": list(one.labels),
            "by_condition": _means(rows, rating_column(one.name)),
        }
        for one in plan.ratings
    }  # fmt: skip


def _means(rows: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    means = {}
    for condition in conditions_of(rows):
        values = rows.loc[rows["condition"] == condition, column].dropna()
        means[condition] = {"n": len(values), "mean": float(values.mean()) if len(values) else None}
    return means


def order_effects(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """Return the difference SPADE - dense in the first and second half of each person's trials, and second - first.

    ``change_of_difference`` is the difference in the second half minus that in the first.
    """
    rank = rows.groupby("participant_uid")["trial_index"].rank(method="first")
    total = rows.groupby("participant_uid")["trial_index"].transform("size")
    later = rank > total / 2
    both = rows[rows["condition"].isin(["dense", "spade"])]
    try:
        change = interaction(
            both["agree"], both["condition"] == "spade", later[both.index], both["participant_uid"],
            both["class_neuron"], alpha=plan.alpha,
        ).to_dict()  # fmt: skip
    except ConfigError as problem:
        change = {"estimate": None, "note": str(problem)}
    return {
        "first_half": contrast(rows[~later], "agree", plan, two_sided=True),
        "second_half": contrast(rows[later], "agree", plan, two_sided=True),
        "second_minus_first": _between(rows, "agree", later, plan),
        "change_of_difference": change,
    }


def side_effects(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """Return how often decided answers were the left region, and agreement with the reference left minus right."""
    left = {}
    for condition in conditions_of(rows):
        values = rows.loc[rows["condition"] == condition, "left"].dropna()
        left[condition] = share(int(values.sum()), len(values), plan)
    on_left = rows["reference_side"] == "region_1"
    return {"left_when_decided": left, "agree_left_minus_right": _between(rows, "agree", on_left, plan)}


def _between(rows: pd.DataFrame, outcome: str, treated: pd.Series, plan: Plan) -> dict[str, Any]:
    """Return the difference of an outcome between two kinds of trials, or why there is none."""
    try:
        found: Estimate = risk_difference(
            rows[outcome], treated, rows["participant_uid"], rows["class_neuron"], alpha=plan.alpha
        )
    except ConfigError as problem:
        return {"estimate": None, "note": str(problem)}
    return found.to_dict()


@dataclass(frozen=True)
class Outcome:
    """A difference that is tested.

    Attributes:
        column: of the coded rows; treated, control: conditions; what: in words.
    """

    column: str
    treated: str
    control: str
    what: str


SECONDARY: dict[str, Outcome] = {
    "half_credit": Outcome("half", "spade", "dense", "agreement with half credit, SPADE - dense"),
    "cannot_tell": Outcome("undecided", "spade", "dense", "cannot tell, SPADE - dense"),
    "disagree": Outcome("disagree", "spade", "dense", "disagreement, SPADE - dense"),
    "confidence": Outcome("confidence", "spade", "dense", "confidence (1 to 3), SPADE - dense"),
    "rt": Outcome("log_rt", "spade", "dense", "log reaction time (browser), SPADE - dense"),
    "spade_vs_none": Outcome("agree", "spade", "none", "agreement, SPADE - no visualization"),
    "dense_vs_none": Outcome("agree", "dense", "none", "agreement, dense - no visualization"),
    "spade_vs_reference": Outcome("agree", "spade", "reference", "agreement, SPADE - reference crops"),
}


def of_ratings(ratings: Sequence[Rating]) -> dict[str, Outcome]:
    """Return an outcome for each rating, under the name of its column."""
    return {
        rating_column(one.name): Outcome(
            rating_column(one.name), "spade", "dense", f"“{one.text}” ({one.low} to {one.high}), SPADE - dense"
        )
        for one in ratings
    }
