"""From the long table of trials to numbers: which rows are analysed, what an answer counts, what a difference is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from spade_core.errors import ConfigError
from spade_core.study.analysis.estimators import risk_difference
from spade_core.study.analysis.findings import Found, Note
from spade_core.study.design.design import Analysis
from spade_core.study.design.questions import Rating
from spade_core.study.export.codebook import rating_column
from spade_core.study.vocabulary import CANNOT_TELL, CHOICES, CONDITIONS, FINISHED, REGIONS

NEEDED = (
    *("participant_uid", "is_bot", "is_preview", "included", "exclusion_reason", "trial_id", "trial_index"),
    *("trial_type", "stimulus_id", "class_neuron", "condition", "reference_source", "keeps_class", "reference_side"),
    *("central_side", "contrast_side", "rater_side_dense", "rater_side_spade", "choice", "confidence", "rt_ms"),
    *("rt_source", "timed_out", "repeat_of"),
)


def fixed_outcomes(plan: Analysis, asked: Sequence[Rating]) -> list[str]:
    """Return the secondary outcomes that a design fixes: those it names, and each of its ratings."""
    return list(dict.fromkeys([*plan.secondary, *(one.column for one in asked)]))


def finished(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of people who answered all of their trials.

    Raises:
        ConfigError: the table has no column ``status``.
    """
    if "status" not in trials:
        raise ConfigError("The table of trials lacks status, which says who finished; export it again.")
    return trials[trials["status"].isin(FINISHED)]


def people_of(trials: pd.DataFrame, *, include_bots: bool, excluded: bool = False) -> pd.DataFrame:
    """Return the rows of people who are analysed, with codes.

    Args:
        trials: the long table.
        include_bots: keep bots beside people; previews stay out unless a bot made them.
        excluded: keep also those who were excluded.

    Raises:
        ConfigError: columns are missing, or a choice or condition is unknown.
    """
    if missing := [column for column in NEEDED if column not in trials]:
        raise ConfigError(f"The table of trials lacks {', '.join(missing)}; export it again, unblinded.")
    for column, known in (("choice", CHOICES), ("condition", CONDITIONS)):
        strange = set(trials[column].dropna()) - set(known)
        if strange:
            values = ", ".join(sorted(map(str, strange)))
            raise ConfigError(f"The column {column} has unknown values: {values}; take the export as it was written.")
    bot, preview = trials["is_bot"].astype(bool), trials["is_preview"].astype(bool)
    keep = bot | ~preview if include_bots else ~bot & ~preview
    if not excluded:
        keep &= trials["included"].astype(bool)
    return with_codes(trials[keep])


def with_codes(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with what each answer counts, NaN where missing.

    ``agree`` (1; 0 for disagree and cannot tell), ``half`` (cannot tell is 0.5), ``undecided`` and ``disagree`` (0 or
    1), ``decided`` (agree, NaN where cannot tell), ``left`` (decided for the left region), ``log_rt`` (browser times of
    answers only) and ``answer`` (``agree``, ``disagree``, ``cannot_tell`` or None).
    """
    rows = trials.copy()
    missing = rows["choice"].isna()
    undecided = (rows["choice"] == CANNOT_TELL).fillna(False).astype(bool)
    agree = (rows["choice"] == rows["reference_side"]).fillna(False).astype(bool) & ~undecided & ~missing
    disagree = ~agree & ~undecided & ~missing
    for name, values in (("agree", agree), ("undecided", undecided), ("disagree", disagree)):
        rows[name] = values.astype(float).where(~missing)
    rows["half"] = rows["agree"] + 0.5 * rows["undecided"]
    rows["decided"] = rows["agree"].where(~undecided)
    rows["left"] = (rows["choice"] == REGIONS[0]).fillna(False).astype(float).where(~undecided & ~missing)
    for name in ("confidence", *(name for name in rows.columns if str(name).startswith(rating_column("")))):
        rows[name] = pd.to_numeric(rows[name]).astype(float)
    times = pd.to_numeric(rows["rt_ms"]).astype(float)
    rows["browser_rt"] = times.where((rows["rt_source"] == "browser") & ~missing & (times > 0))
    rows["log_rt"] = np.log(rows["browser_rt"])
    rows["answer"] = np.select([agree, disagree, undecided], ["agree", "disagree", "cannot_tell"], default="")
    rows["timed_out"] = rows["timed_out"].astype(bool)
    return rows


def first_presentations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the main trials that repeat nothing."""
    return rows[(rows["trial_type"] == "main") & rows["repeat_of"].isna()]


def contrast(
    rows: pd.DataFrame,
    outcome: str,
    plan: Analysis,
    *,
    treated: str = "spade",
    control: str = "dense",
    two_sided: bool = False,
    method: Callable[..., Found] = risk_difference,
) -> Found:
    """Return the difference of a coded outcome between two conditions.

    Args:
        rows: coded main trials; outcome: a column of :func:`with_codes`.
        plan: for the level, and for the side of the test unless it is to be ``two_sided``.
        treated, control: conditions.
        method: see :func:`difference`.
    """
    both = rows[rows["condition"].isin([treated, control])]
    test = {"alpha": plan.alpha} | ({} if two_sided else {"sidedness": plan.sidedness})
    return difference(both, outcome, both["condition"] == treated, method, **test)


def difference(
    rows: pd.DataFrame, outcome: str, treated: pd.Series, method: Callable[..., Found] = risk_difference, **test: object
) -> Found:
    """Return the difference of an outcome between the ``treated`` rows and the others, or a note on why there is none.

    Args:
        method: takes outcome, treatment, participants and class neurons as columns, and ``test`` by name.
    """
    try:
        return method(rows[outcome], treated, rows["participant_uid"], rows["class_neuron"], **test)
    except ConfigError as problem:
        return Note(note=str(problem))
