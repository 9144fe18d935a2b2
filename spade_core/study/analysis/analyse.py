"""The analysis of a study, from the long table of trials to a dictionary that can be written as JSON.

The primary question is whether people agree with the reference more often with SPADE's visualization than with the
dense one. Saying "cannot tell" less often raises agreement without anybody knowing more: half of the guesses are right.
So the same difference is given with half credit for "cannot tell", which guessing does not move, and people "chose
better" only where both intervals lie above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from spade_core.errors import ConfigError
from spade_core.study.analysis.coding import Plan, contrast, first_presentations, people_of
from spade_core.study.analysis.describe import alpha_within, baselines, class_neurons, repeats, table3, timeouts
from spade_core.study.analysis.estimators import Estimate, odds_ratio
from spade_core.study.analysis.report import DEMO, sentence, verdict
from spade_core.study.analysis.secondary import (
    confidence,
    order_effects,
    ratings,
    reaction_times,
    secondary,
    side_effects,
)
from spade_core.study.analysis.sensitivity import fixed_effects, item_t_test, product_bootstrap
from spade_core.study.design.questions import Rating


def analyse(
    trials: pd.DataFrame, design_analysis: Any, *,
    asked: Sequence[Rating] = (), include_bots: bool = False, demo: bool = False, completed: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return everything that a study shows, JSON-able; sentences where there is too little to show.

    Args:
        trials: the long table, one row a trial.
        design_analysis: the frozen design's ``analysis`` (outcome, sidedness, target_participants, alpha, exclusions,
            secondary), or None: then everything is exploratory.
        asked: the design's ratings; the table has a column of each, and they are among the secondary outcomes.
        include_bots: analyse bots as well; the result then is marked as simulated, and its texts begin with SIMULATED.
        demo: the study's stimuli only try the software; the verdict says so.
        completed: how many included participants finished, for whether the target is met; None: how many answered.

    Raises:
        ConfigError: the table lacks columns or has unknown values, or the design asks for what there is not.
    """
    plan = Plan.of(design_analysis, asked)
    if trials.empty:
        return _empty("There are no trials yet; collect some first.", include_bots, demo)
    rows = people_of(trials, include_bots=include_bots)
    main = first_presentations(rows)
    if main.empty:
        who = "people or bots" if include_bots else "real people"
        return _empty(f"There are no main trials of included {who} yet; collect some first.", include_bots, demo)
    answered = main[main["choice"].notna() & main["condition"].isin(["dense", "spade"])]
    people = int(answered["participant_uid"].nunique())
    finished = people if completed is None else completed
    label = "exploratory" if not plan.frozen else "interim" if finished < plan.target_participants else "confirmatory"
    primary, half = contrast(main, "agree", plan), contrast(main, "half", plan)
    everybody = first_presentations(people_of(trials, include_bots=include_bots, excluded=True))
    result: dict[str, Any] = {
        "simulated": include_bots,
        "demo": demo,
        "label": label,
        "participants": people,
        "completed": finished,
        "target_participants": plan.target_participants,
        "alpha": plan.alpha,
        "sidedness": plan.sidedness,
        "primary": {"label": label, **primary},
        "half_credit": {"label": label, **half},
        "odds_ratio": {"label": "exploratory", **_odds_ratio(main, plan)},
        "table3": table3(main, plan),
        "by_reference_source": _strata(main, plan),
        "timeouts": timeouts(main, plan),
        "sensitivity": {"label": "exploratory", **_sensitivity(main, everybody, plan)},
        "exclusions": _exclusions(trials, include_bots),
        "secondary": secondary(main, plan, label),
        "reaction_time": {"label": "exploratory", **reaction_times(main, plan)},
        "confidence": {"label": "exploratory", **confidence(main, plan)},
        "ratings": ratings(main, plan),
        "order": {"label": "exploratory", **order_effects(main, plan)},
        "sides": {"label": "exploratory", **side_effects(main, plan)},
        "krippendorff_alpha": {"label": "exploratory", "by_condition": alpha_within(main)},
        "repeats": {"label": "exploratory", "by_condition": repeats(rows, plan)},
        "baselines": baselines(main, plan),
        "class_neurons": class_neurons(main),
    }
    mark = "SIMULATED: " if include_bots else ""
    result["verdict"] = mark + verdict(primary, half, label, plan, simulated=include_bots, demo=demo)
    result["texts"] = [mark + text for text in _texts(result, plan)]
    return result


def _empty(reason: str, simulated: bool, demo: bool) -> dict[str, Any]:
    text = f"SIMULATED: {reason}" if simulated else reason
    nothing = {"estimate": None, "note": reason}
    return {
        "simulated": simulated, "demo": demo, "label": "none", "participants": 0, "completed": 0,
        "primary": nothing, "half_credit": dict(nothing), "table3": {}, "verdict": text, "texts": [text],
    }  # fmt: skip


def _texts(result: dict[str, Any], plan: Plan) -> list[str]:
    texts = [
        sentence("Agreement, SPADE - dense", result["primary"], plan),
        sentence("With half credit for 'cannot tell'", result["half_credit"], plan),
    ]
    if result["label"] == "interim":
        texts.append(f"Interim: {result['completed']} of {plan.target_participants} planned participants.")
    if result["demo"]:
        texts.append(DEMO)
    return texts + result["secondary"]["notes"]


def _odds_ratio(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    both = rows[rows["condition"].isin(["dense", "spade"])]
    try:
        found, note = odds_ratio(
            both["agree"], both["condition"] == "spade", both["participant_uid"], both["class_neuron"],
            alpha=plan.alpha, sidedness=plan.sidedness,
        )  # fmt: skip
    except ConfigError as problem:
        return {"estimate": None, "note": str(problem)}
    return {"estimate": None, "note": note} if found is None else {**found.to_dict(), "note": note}


def _strata(rows: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    """Return Table 3 and the difference by where the reference came from; a stratum is exploratory."""
    return {
        str(source): {
            "label": "exploratory",
            "table3": table3(part, plan),
            "difference": contrast(part, "agree", plan),
            "half_credit": contrast(part, "half", plan),
        }
        for source, part in rows.groupby("reference_source")
    }


def _sensitivity(rows: pd.DataFrame, everybody: pd.DataFrame, plan: Plan) -> dict[str, Any]:
    keeps = rows[rows["keeps_class"].astype(bool)]
    return {
        "fixed_effects": contrast(rows, "agree", plan, method=fixed_effects),
        "item_t_test": contrast(rows, "agree", plan, method=item_t_test),
        "product_bootstrap": contrast(rows, "agree", plan, method=_bootstrap),
        "exclusions_off": contrast(everybody, "agree", plan),
        "exclusions_off_half_credit": contrast(everybody, "half", plan),
        "trace_keeps_class": contrast(keeps, "agree", plan),
    }


def _bootstrap(*columns: pd.Series, alpha: float) -> Estimate:
    return product_bootstrap(*columns, alpha=alpha)


def _exclusions(trials: pd.DataFrame, include_bots: bool) -> dict[str, Any]:
    """Return how many people were excluded, by reason."""
    people = people_of(trials, include_bots=include_bots, excluded=True).drop_duplicates("participant_uid")
    out = people[~people["included"].astype(bool)]
    reasons = out["exclusion_reason"].fillna("no reason given").replace("", "no reason given").value_counts()
    return {"people": len(people), "excluded": len(out), "reasons": {str(k): int(v) for k, v in reasons.items()}}
