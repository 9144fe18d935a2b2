"""What people answered, described: Table 3 of the paper, timeouts, consistency and baselines.

Intervals of shares are Wilson's and treat answers as independent, which answers of one person are not: they describe,
the primary analysis tests.
"""

from __future__ import annotations

import logging
from typing import Any

import krippendorff
import numpy as np
import pandas as pd

from spade_core.study.analysis.coding import CONDITIONS, Plan, contrast
from spade_core.study.analysis.sensitivity import wilson

_log = logging.getLogger(__name__)

ANSWERS = ["agree", "disagree", "cannot_tell"]
BASELINES = {
    "central_side": "most central patch",
    "contrast_side": "most contrasted patch",
    "rater_side_dense": "model rater on the dense visualization",
    "rater_side_spade": "model rater on the SPADE visualization",
    "rater_side_reference": "model rater on the reference crops",
}


def share(count: int, n: int, plan: Plan) -> dict[str, Any]:
    """Return a count as a share with its Wilson interval; share and ends are None of nothing."""
    low, high = wilson(count, n, alpha=plan.alpha) or (None, None)
    return {"count": count, "n": n, "share": count / n if n else None, "low": low, "high": high}


def conditions_of(rows: pd.DataFrame) -> list[str]:
    """Return the conditions in the rows, dense and SPADE always and first."""
    present = set(rows["condition"].dropna())
    return [name for name in CONDITIONS if name in present or name in ("dense", "spade")]


def table3(rows: pd.DataFrame, plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the paper's Table 3 by condition: five rows of shares, and how many answers and people there were."""
    table = {}
    for condition in conditions_of(rows):
        answered = rows[(rows["condition"] == condition) & rows["choice"].notna()]
        n, decided = len(answered), int(answered["decided"].notna().sum())
        agree, disagree = int(answered["agree"].sum()), int(answered["disagree"].sum())
        table[condition] = {
            "undecided": share(n - decided, n, plan),
            "disagree": share(disagree, n, plan),
            "agree": share(agree, n, plan),
            "agree_when_decided": share(agree, decided, plan),
            "disagree_when_decided": share(disagree, decided, plan),
            "answers": n,
            "participants": int(answered["participant_uid"].nunique()),
            "class_neurons": int(answered["class_neuron"].nunique()),
        }
    return table


def class_neurons(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each class neuron agreement under dense and SPADE, and SPADE - dense in ``agree`` and ``half``.

    Sorted by the difference in agreement; class neurons without answers under one of the two come last, without one.
    """
    answered = rows[rows["choice"].notna() & rows["condition"].isin(["dense", "spade"])]
    grouped = answered.groupby(["class_neuron", "condition"])[["agree", "half"]].agg(["sum", "mean", "size"])
    found = []
    for neuron in sorted(set(answered["class_neuron"])):
        entry: dict[str, Any] = {"class_neuron": str(neuron), "agree": None, "half": None}
        for condition in ("dense", "spade"):
            here = grouped.loc[(neuron, condition)] if (neuron, condition) in grouped.index else None
            count, n = (0, 0) if here is None else (int(here["agree", "sum"]), int(here["agree", "size"]))
            entry[condition] = {"count": count, "n": n, "share": count / n if n else None}
        if entry["dense"]["n"] and entry["spade"]["n"]:
            for outcome in ("agree", "half"):
                dense, spade = (grouped.loc[(neuron, name), (outcome, "mean")] for name in ("dense", "spade"))
                entry[outcome] = float(spade - dense)
        found.append(entry)
    return sorted(found, key=lambda entry: (entry["agree"] is None, entry["agree"] or 0.0))


def timeouts(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """Return timeouts and other missing answers by condition, and the difference if they all were as bad as can be.

    ``worst_case``: missing answers under SPADE count 0 and under dense 1; ``best_case``: the other way round.
    """
    by_condition = {}
    for condition in conditions_of(rows):
        here = rows[rows["condition"] == condition]
        late = here["timed_out"]
        by_condition[condition] = share(int(late.sum()), len(here), plan) | {
            "missing_otherwise": int((here["choice"].isna() & ~late).sum())
        }
    bounds = {}
    for name, spade_value in (("worst_case", 0.0), ("best_case", 1.0)):
        value = np.where(rows["condition"] == "spade", spade_value, 1 - spade_value)
        bounds[name] = contrast(rows.assign(filled=rows["agree"].where(rows["agree"].notna(), value)), "filled", plan)
    return {"by_condition": by_condition, **bounds}


def alpha_within(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return Krippendorff's nominal alpha by condition: do people answer alike about one stimulus?

    Answers are coded as agree, disagree or cannot tell, since sides are random; people are the coders.
    """
    found = {}
    for condition in conditions_of(rows):
        answered = rows[(rows["condition"] == condition) & (rows["answer"] != "")]
        answered = answered.drop_duplicates(["participant_uid", "stimulus_id"])
        people, names = pd.factorize(answered["participant_uid"])
        items, stimuli = pd.factorize(answered["stimulus_id"])
        values = np.full((len(names), len(stimuli)), np.nan)
        values[people, items] = pd.Categorical(answered["answer"], ANSWERS).codes
        seen = (~np.isnan(values)).sum(0)
        shared = values[:, seen >= 2]
        entry: dict[str, Any] = {"alpha": None, "stimuli": int((seen >= 2).sum()), "participants": len(names)}
        if not shared.size:
            entry["note"] = "No stimulus was answered by two people, so that there is nothing to compare."
        elif len(np.unique(shared[~np.isnan(shared)])) < 2:
            entry["note"] = "All answers are the same, so that alpha is not defined."
        else:
            entry["alpha"] = float(krippendorff.alpha(reliability_data=shared, level_of_measurement="nominal"))
        found[condition] = entry
    return found


def repeats(rows: pd.DataFrame, plan: Plan) -> dict[str, dict[str, Any]]:
    """Return by condition how often people answered a repeated trial as the first time (sides may have changed)."""
    again = rows[(rows["trial_type"] == "repeat") & rows["repeat_of"].notna()]
    first = rows.drop_duplicates("trial_id").set_index("trial_id")["answer"]
    before = again["repeat_of"].map(first).fillna("").astype(str)
    usable = (before != "") & (again["answer"] != "")
    if not usable.all():
        _log.info("%d repeated trials lack one of their answers and are left out", int((~usable).sum()))
    again = again[usable]
    same = again["answer"] == before[usable]
    return {
        condition: share(int(same[again["condition"] == condition].sum()), int((again["condition"] == condition).sum()),
                         plan)
        for condition in conditions_of(again)
    }  # fmt: skip


def baselines(rows: pd.DataFrame, plan: Plan) -> dict[str, dict[str, Any]]:
    """Return how often each baseline names the reference region, over the stimuli that were shown."""
    stimuli = rows[rows["reference_side"].notna()].drop_duplicates("stimulus_id")
    found = {}
    for column, name in BASELINES.items():
        if column == "rater_side_reference" and (column not in stimuli or stimuli[column].isna().all()):
            continue  # only sets with reference crops have it
        known = stimuli[stimuli[column].notna()]
        agreed = int((known[column] == known["reference_side"]).sum())
        found[column] = {"name": name} | share(agreed, len(known), plan)
    return found
