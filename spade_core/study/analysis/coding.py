"""From the long table of trials to numbers: which rows are analysed, and what an answer counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from spade_core.errors import ConfigError
from spade_core.study.analysis.estimators import Estimate, Sidedness, risk_difference
from spade_core.study.design.design import Thresholds
from spade_core.study.design.questions import Rating
from spade_core.study.export.codebook import rating_column

CONDITIONS = ("dense", "spade", "none", "reference")
CHOICES = ("region_1", "region_2", "cannot_tell")
NEEDED = (
    "participant_uid", "is_bot", "is_preview", "included", "exclusion_reason", "trial_id", "trial_index", "trial_type",
    "stimulus_id", "class_neuron", "condition", "reference_source", "keeps_class", "reference_side", "central_side",
    "contrast_side", "rater_side_dense", "rater_side_spade", "choice", "confidence", "rt_ms", "rt_source", "timed_out",
    "repeat_of",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What the frozen design says about the analysis.

    Attributes:
        sidedness, alpha: of the primary test. target_participants: fewer are an interim analysis.
        exclusions: rules that the design names; thresholds: of all rules.
        secondary: outcomes that were fixed, corrected by Holm, the design's ratings among them; ratings: the design's.
        frozen: False without a design; then everything is exploratory.
    """

    sidedness: Sidedness = "two-sided"
    alpha: float = 0.05
    target_participants: int = 0
    exclusions: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()
    ratings: tuple[Rating, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)  # type: ignore[arg-type]
    frozen: bool = False

    @classmethod
    def of(cls, analysis: Any, ratings: Sequence[Rating] = ()) -> Plan:
        """Read the analysis part of a design, or None, and its ratings, each of which is a secondary outcome.

        Raises:
            ConfigError: an outcome, sidedness or alpha that this analysis does not have.
        """
        if analysis is None:
            return cls()
        outcome = getattr(analysis, "outcome", "agree")
        if outcome != "agree":
            raise ConfigError(f"The primary outcome is 'agree', not {outcome!r}; change analysis.outcome.")
        sidedness = getattr(analysis, "sidedness", "two-sided")
        if sidedness not in ("two-sided", "greater"):
            raise ConfigError(f"analysis.sidedness is 'two-sided' or 'greater', not {sidedness!r}.")
        alpha = float(getattr(analysis, "alpha", 0.05))
        if not 0 < alpha < 0.5:
            raise ConfigError(f"analysis.alpha lies between 0 and 0.5; {alpha} does not.")
        target = int(getattr(analysis, "target_participants", 0) or 0)
        named = (tuple(getattr(analysis, part, None) or ()) for part in ("exclusions", "secondary"))
        exclusions, secondary = named
        fixed = tuple(dict.fromkeys([*secondary, *(rating_column(one.name) for one in ratings)]))
        limits = getattr(analysis, "thresholds", None) or Plan().thresholds
        return cls(cast(Sidedness, sidedness), alpha, target, exclusions, fixed, tuple(ratings), limits, frozen=True)

    @classmethod
    def of_design(cls, design: Any) -> Plan:
        """Read the analysis part and the ratings of a design."""
        questions = getattr(design, "questions", None)
        return cls.of(design.analysis, questions.ratings if questions is not None else ())

    @property
    def level(self) -> str:
        """Level of the intervals for a sentence, such as ``95 %``."""
        return f"{100 * (1 - self.alpha):g} %"


def people_of(trials: pd.DataFrame, *, include_bots: bool, excluded: bool = False) -> pd.DataFrame:
    """Return the rows of people who are analysed, with codes.

    Args:
        trials: the long table.
        include_bots: keep bots beside people; previews stay out unless a bot made them.
        excluded: keep also those who were excluded.

    Raises:
        ConfigError: columns are missing, or a choice or condition is unknown.
    """
    missing = [column for column in NEEDED if column not in trials.columns]
    if missing:
        raise ConfigError(f"The table of trials lacks {', '.join(missing)}; export it again, unblinded.")
    for column, known in (("choice", CHOICES), ("condition", CONDITIONS)):
        strange = set(trials[column].dropna()) - set(known)
        if strange:
            raise ConfigError(f"The column {column} has unknown values: {', '.join(sorted(map(str, strange)))}.")
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
    undecided = (rows["choice"] == "cannot_tell").fillna(False).astype(bool)
    agree = (rows["choice"] == rows["reference_side"]).fillna(False).astype(bool) & ~undecided & ~missing
    disagree = ~agree & ~undecided & ~missing
    for name, values in (("agree", agree), ("undecided", undecided), ("disagree", disagree)):
        rows[name] = values.astype(float).where(~missing)
    rows["half"] = rows["agree"] + 0.5 * rows["undecided"]
    rows["decided"] = rows["agree"].where(~undecided)
    rows["left"] = (rows["choice"] == "region_1").fillna(False).astype(float).where(~undecided & ~missing)
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
    rows: pd.DataFrame, outcome: str, plan: Plan, *, treated: str = "spade", control: str = "dense",
    method: Callable[..., Estimate] | None = None, two_sided: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return the difference of a coded outcome between two conditions as a dictionary, or why there is none.

    Args:
        rows: coded main trials; outcome: a column of :func:`with_codes`.
        treated, control: conditions.
        method: another estimator than the primary one, which then is two-sided.
        two_sided: also where the design says otherwise, for all but the primary outcome.
    """
    both = rows[rows["condition"].isin([treated, control])]
    columns = (both[outcome], both["condition"] == treated, both["participant_uid"], both["class_neuron"])
    try:
        if method is not None:
            found = method(*columns, alpha=plan.alpha)
        else:
            sidedness: Sidedness = "two-sided" if two_sided else plan.sidedness
            found = risk_difference(*columns, alpha=plan.alpha, sidedness=sidedness)
    except ConfigError as problem:
        return {"estimate": None, "note": str(problem)}
    return found.to_dict()
