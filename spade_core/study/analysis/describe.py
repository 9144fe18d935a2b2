"""What people answered, described: Table 3 of the paper, class neurons, timeouts, consistency and baselines.

Intervals of shares are Wilson's and treat answers as independent, which answers of one person are not: they describe,
the primary analysis tests.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import krippendorff
import numpy as np
import pandas as pd

from spade_core.study.analysis import findings
from spade_core.study.analysis.coding import contrast
from spade_core.study.analysis.findings import Share
from spade_core.study.design.design import Analysis
from spade_core.study.vocabulary import BASELINES, COMPARED, CONDITIONS

_log = logging.getLogger(__name__)

ANSWERS = ["agree", "disagree", "cannot_tell"]


def share(count: int, n: int, alpha: float) -> Share:
    """Return a count as a share with its Wilson interval."""
    if not n:
        return Share(count=count, n=n, share=None, low=None, high=None)
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha, "wilson")
    return Share(count=count, n=n, share=count / n, low=max(0.0, low), high=min(1.0, high))


def share_of(hits: pd.Series, alpha: float) -> Share:
    """Return how many of the values are true, or 1, as such a share."""
    return share(int(hits.sum()), len(hits), alpha)


def by_condition(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each condition with its rows, dense and SPADE first and even without any."""
    present = {*rows["condition"].dropna(), *COMPARED}
    return ((name, rows[rows["condition"] == name]) for name in CONDITIONS if name in present)


def table3(rows: pd.DataFrame, alpha: float) -> dict[str, findings.Answers]:
    """Return the paper's Table 3 by condition: five rows of shares, and how many answers and people there were."""
    table = {}
    for condition, here in by_condition(rows):
        answered = here[here["choice"].notna()]
        n, decided = len(answered), int(answered["decided"].notna().sum())
        agree, disagree = int(answered["agree"].sum()), int(answered["disagree"].sum())
        counts = {
            "undecided": (n - decided, n),
            "disagree": (disagree, n),
            "agree": (agree, n),
            "agree_when_decided": (agree, decided),
            "disagree_when_decided": (disagree, decided),
        }
        table[condition] = findings.Answers(
            shares={name: share(*pair, alpha) for name, pair in counts.items()},
            answers=n,
            participants=answered["participant_uid"].nunique(),
            class_neurons=answered["class_neuron"].nunique(),
        )
    return table


def class_neurons(rows: pd.DataFrame) -> list[findings.ClassNeuron]:
    """Return agreement about each class neuron, sorted by its difference; those without one come last."""
    answered = rows[rows["choice"].notna() & rows["condition"].isin(COMPARED)]
    found = []
    for neuron, here in answered.groupby("class_neuron"):
        parts = {name: here[here["condition"] == name] for name in COMPARED}
        dense, spade = (
            findings.Counted(count=int(one["agree"].sum()), n=len(one), share=one["agree"].mean() if len(one) else None)
            for one in parts.values()
        )
        gaps = {
            outcome: parts["spade"][outcome].mean() - parts["dense"][outcome].mean() if dense.n and spade.n else None
            for outcome in ("agree", "half")
        }
        found.append(findings.ClassNeuron(class_neuron=str(neuron), **gaps, dense=dense, spade=spade))
    return sorted(found, key=lambda row: (row.agree is None, row.agree or 0.0))


def timeouts(rows: pd.DataFrame, plan: Analysis) -> findings.Timeouts:
    """Return timeouts and other missing answers by condition, and the difference if they all were as bad as can be.

    ``worst_case``: missing answers under SPADE count 0 and under dense 1; ``best_case``: the other way round.
    """
    found, bounds = {}, {}
    for condition, here in by_condition(rows):
        late, missing = here["timed_out"], here["choice"].isna()
        counted = vars(share_of(late, plan.alpha))
        found[condition] = findings.Missing(**counted, missing_otherwise=int((missing & ~late).sum()))
    for name, spade_value in (("worst_case", 0.0), ("best_case", 1.0)):
        value = np.where(rows["condition"] == "spade", spade_value, 1 - spade_value)
        bounds[name] = contrast(rows.assign(filled=rows["agree"].fillna(pd.Series(value, rows.index))), "filled", plan)
    return findings.Timeouts(by_condition=found, bounds=bounds)


def alpha_within(rows: pd.DataFrame) -> findings.ByCondition[findings.Alpha]:
    """Return Krippendorff's nominal alpha by condition: do people answer alike about one stimulus?

    Answers are coded as agree, disagree or cannot tell, since sides are random; people are the coders.
    """
    found = {}
    for condition, here in by_condition(rows):
        answered = here[here["answer"] != ""].drop_duplicates(["participant_uid", "stimulus_id"])
        people, names = pd.factorize(answered["participant_uid"])
        items, stimuli = pd.factorize(answered["stimulus_id"])
        values = np.full((len(names), len(stimuli)), np.nan)
        values[people, items] = pd.Categorical(answered["answer"], ANSWERS).codes
        shared = values[:, (~np.isnan(values)).sum(0) >= 2]
        alpha, note = None, None
        if not shared.size:
            note = "No stimulus was answered by two people, so that there is nothing to compare."
        elif len(np.unique(shared[~np.isnan(shared)])) < 2:
            note = "All answers are the same, so that alpha is not defined."
        else:
            alpha = krippendorff.alpha(reliability_data=shared, level_of_measurement="nominal")
        found[condition] = findings.Alpha(alpha=alpha, stimuli=shared.shape[1], participants=len(names), note=note)
    return findings.ByCondition(by_condition=found)


def repeats(rows: pd.DataFrame, alpha: float) -> findings.ByCondition[Share]:
    """Return by condition how often people answered a repeated trial as the first time (sides may have changed)."""
    again = rows[(rows["trial_type"] == "repeat") & rows["repeat_of"].notna()]
    first = rows.drop_duplicates("trial_id").set_index("trial_id")["answer"]
    before = again["repeat_of"].map(first).fillna("").astype(str)
    usable = (before != "") & (again["answer"] != "")
    if not usable.all():
        _log.info("%d repeated trials lack one of their answers and are left out", int((~usable).sum()))
    told = again.assign(same=again["answer"] == before)[usable]
    return findings.ByCondition(
        by_condition={condition: share_of(here["same"], alpha) for condition, here in by_condition(told)}
    )


def baselines(rows: pd.DataFrame, alpha: float) -> dict[str, findings.BaselineShare]:
    """Return how often each baseline names the reference region, over the stimuli that were shown."""
    stimuli = rows[rows["reference_side"].notna()].drop_duplicates("stimulus_id")
    found = {}
    for baseline in BASELINES.values():
        column = baseline.column
        if not baseline.always and (column not in stimuli or stimuli[column].isna().all()):
            continue
        known = stimuli[stimuli[column].notna()]
        agreed = share_of(known[column] == known["reference_side"], alpha)
        found[column] = findings.BaselineShare(name=baseline.title, found=agreed)
    return found
