"""The evaluation of a study: from the database, or its long table of trials, to a result and a report.

The primary question is whether people agree with the reference more often with SPADE's visualization than with the
dense one. Saying "cannot tell" less often raises agreement without anybody knowing more: half of the guesses are right.
So the same difference is given with half credit for "cannot tell", which guessing does not move, and people "chose
better" only where both intervals lie above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from spade_core.errors import ConfigError
from spade_core.study.analysis import findings
from spade_core.study.analysis.attrition import attrition
from spade_core.study.analysis.coding import contrast, difference, finished, first_presentations, people_of
from spade_core.study.analysis.describe import alpha_within, baselines, class_neurons, repeats, table3, timeouts
from spade_core.study.analysis.estimators import odds_ratio
from spade_core.study.analysis.findings import Evaluation, Label, Look, NoResult, Note, StudyResult
from spade_core.study.analysis.report import DEMO, look_text, methods_text, sentence, verdict
from spade_core.study.analysis.secondary import (
    confidence,
    order_effects,
    ratings,
    reaction_times,
    secondary,
    side_effects,
)
from spade_core.study.analysis.sensitivity import fixed_effects, item_t_test, product_bootstrap
from spade_core.study.analysis.tables import PAPER, PAPER_NOTE, markdown_table, table3_rows, tables_text
from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened
from spade_core.study.design.design import Analysis
from spade_core.study.design.procedure import set_baselines
from spade_core.study.design.questions import Rating
from spade_core.study.export.export import trials_of
from spade_core.study.export.rows import Source, completed_by, read_source
from spade_core.study.vocabulary import COMPARED

UNPLANNED = Analysis.model_validate({"secondary": ()})  # the level and sides of a table without a design


def evaluate(store: Store, key: str) -> Evaluation:
    """Return the analysis of a study as its design has fixed it.

    A study with bots and nobody else is analysed with them, marked as simulated.

    Raises:
        ConfigError: the study is blind: people took part and nobody has unblinded it.
    """
    source = read_source(store, key)
    if source.blind:
        raise ConfigError(
            "This study is blind: conditions stay hidden until it is unblinded, which is logged; add --unblind, or "
            "press “Unblind” on the study page, once data collection is over."
        )
    study, table = source.study, trials_of(source)
    bots = table["is_bot"].astype(bool)
    people = table[~bots & ~table["is_preview"].astype(bool)]
    only_bots = people.empty and bool(bots.any())
    chosen = table[bots] if only_bots else people
    done = chosen[chosen["included"].astype(bool) & (chosen["status"] == "complete")]["participant_uid"].nunique()
    result = analyse(
        table,
        study.design.analysis,
        asked=study.design.questions.ratings,
        include_bots=only_bots,
        demo=study.row.demo,
        completed=int(done),
        look=None if only_bots else _look(source),
        lost=attrition(source, bots=only_bots),
    )
    return Evaluation(
        study=key,
        design_version=source.version,
        design_sha256=study.row.design_sha256,
        result=result,
        paper_table3=PAPER,
    )


def _look(source: Source) -> Look | None:
    """Return when conditions were first seen, and how far the study was then."""
    seen = source.unblinding
    if seen is None:
        return None
    later = (one for one in source.people if not (one.is_bot or one.is_preview) and one.started >= seen.at)
    return Look(
        at=f"{datetime.fromtimestamp(seen.at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        by=seen.by,
        reason=seen.interim,
        completed=completed_by(source, seen.at),
        target=source.study.design.analysis.target_participants,
        began_later=sum(one.consented is not None for one in later),
    )


def label_of(planned: Analysis | None, finished: int, look: Look | None) -> Label:
    """Return whether a result is confirmatory.

    It is exploratory without a plan, and where what was seen could steer what was collected: a look for a reason
    during collection, people who began after it, or a look before the target that was reached later.
    """
    if planned is None or (look is not None and _steered(look, finished)):
        return "exploratory"
    return "interim" if finished < planned.target_participants else "confirmatory"


def _steered(look: Look, finished: int) -> bool:
    return bool(look.reason) or look.began_later > 0 or look.completed < look.target <= finished


def report_text(store: Store, key: str, evaluation: Evaluation) -> str:
    """Return verdict, Table 3, methods, results and every other table of :func:`evaluate` as Markdown."""
    study, result = opened(store, key), evaluation.result
    parts = [f"**{result.verdict}**", *result.texts]
    if isinstance(result, NoResult):
        parts.append(set_baselines(study.stimuli))
    else:
        methods = methods_text(study.design, result, study.stimuli, evaluation.design_version)
        parts += [markdown_table(table3_rows(result)), PAPER_NOTE, methods, tables_text(result)]
    return "\n\n".join(parts)


def analyse(
    trials: pd.DataFrame,
    planned: Analysis | None,
    *,
    asked: Sequence[Rating] = (),
    include_bots: bool = False,
    demo: bool = False,
    completed: int | None = None,
    look: Look | None = None,
    lost: findings.Attrition | None = None,
) -> StudyResult | NoResult:
    """Return everything that a study shows; notes where there is too little to show.

    Args:
        trials: the long table, one row a trial.
        planned: what the frozen design says of the analysis, or None: then everything is exploratory.
        asked: the design's ratings; the table has a column of each, and they are among the secondary outcomes.
        include_bots: analyse bots as well; the result then is marked as simulated, and its texts begin with SIMULATED.
        demo: the study's stimuli only try the software; the verdict says so.
        completed: how many included participants finished, for whether the target is met; None: how many answered.
        look: when conditions were first seen, for whether it is confirmatory; None: not before all was collected.
        lost: who did not finish, by condition, which a table of answers cannot tell.

    Raises:
        ConfigError: the table lacks columns or has unknown values.
    """
    if trials.empty:
        return _nothing("There are no trials yet; collect some first.", include_bots, demo)
    available = people_of(trials, include_bots=include_bots)
    rows = finished(available) if planned is not None and planned.incomplete == "exclude" else available
    if first_presentations(rows).empty:
        who = "people or bots" if include_bots else "real people"
        who += "" if rows is available else " who finished"
        return _nothing(f"There are no main trials of included {who} yet; collect some first.", include_bots, demo)
    everybody = people_of(trials, include_bots=include_bots, excluded=True)
    return _result(rows, available, everybody, planned, asked, completed, look, lost, simulated=include_bots, demo=demo)


def _result(
    rows: pd.DataFrame,
    available: pd.DataFrame,
    everybody: pd.DataFrame,
    planned: Analysis | None,
    asked: Sequence[Rating],
    completed: int | None,
    look: Look | None,
    lost: findings.Attrition | None,
    *,
    simulated: bool,
    demo: bool,
) -> StudyResult:
    """Return what coded rows show.

    Args:
        available: those of people who did not finish as well; everybody: those of excluded people as well.
    """
    plan, asked = (UNPLANNED, ()) if planned is None else (planned, asked)
    main = first_presentations(rows)
    answered = main[main["choice"].notna() & main["condition"].isin(COMPARED)]
    people = answered["participant_uid"].nunique()
    done = people if completed is None else completed
    target = 0 if planned is None else plan.target_participants
    label = label_of(planned, done, look)
    primary, half = contrast(main, "agree", plan), contrast(main, "half", plan)
    others, mark = secondary(main, plan, asked, label), "SIMULATED: " if simulated else ""
    texts = [
        sentence("Agreement, SPADE - dense", primary, plan.alpha),
        sentence("With half credit for 'cannot tell'", half, plan.alpha),
        *([f"Interim: {done} of {target} planned participants."] if label == "interim" else []),
        *([DEMO] if demo else []),
        *others.notes,
        *([] if look is None else [look_text(look, label)]),
    ]
    return StudyResult(
        simulated=simulated,
        demo=demo,
        label=label,
        participants=people,
        completed=done,
        target_participants=target,
        look=look,
        alpha=plan.alpha,
        sidedness=plan.sidedness,
        primary=findings.Labelled(label=label, found=primary),
        half_credit=findings.Labelled(label=label, found=half),
        odds_ratio=findings.Labelled(label="exploratory", found=contrast(main, "agree", plan, method=odds_ratio)),
        table3=table3(main, plan.alpha),
        by_reference_source=_strata(main, plan),
        timeouts=timeouts(main, plan),
        attrition=lost,
        sensitivity=_sensitivity(main, first_presentations(available), first_presentations(everybody), plan),
        exclusions=_exclusions(everybody),
        secondary=others,
        reaction_time=reaction_times(main, plan),
        confidence=confidence(main, plan),
        ratings=ratings(main, asked),
        order=order_effects(main, plan),
        sides=side_effects(main, plan),
        krippendorff_alpha=alpha_within(main),
        repeats=repeats(rows, plan.alpha),
        baselines=baselines(main, plan.alpha),
        class_neurons=class_neurons(main),
        verdict=mark + verdict(primary, half, label, plan.alpha, simulated=simulated, demo=demo, look=look),
        texts=[mark + text for text in texts],
    )


def _nothing(reason: str, simulated: bool, demo: bool) -> NoResult:
    note, text = Note(note=reason), f"SIMULATED: {reason}" if simulated else reason
    return NoResult(simulated=simulated, demo=demo, primary=note, half_credit=note, verdict=text, texts=[text])


def _strata(rows: pd.DataFrame, plan: Analysis) -> dict[str, findings.Stratum]:
    """Return Table 3 and the difference by where the reference came from."""
    return {
        str(source): findings.Stratum(
            table3=table3(part, plan.alpha),
            difference=contrast(part, "agree", plan),
            half_credit=contrast(part, "half", plan),
        )
        for source, part in rows.groupby("reference_source")
    }


def _sensitivity(
    rows: pd.DataFrame, available: pd.DataFrame, everybody: pd.DataFrame, plan: Analysis
) -> findings.Differences:
    both = rows[rows["condition"].isin(COMPARED)]
    found = {
        method.__name__: difference(both, "agree", both["condition"] == "spade", method, alpha=plan.alpha)
        for method in (fixed_effects, item_t_test, product_bootstrap)
    }
    found["exclusions_off"] = contrast(everybody, "agree", plan)
    found["exclusions_off_half_credit"] = contrast(everybody, "half", plan)
    found["available_cases"] = contrast(available, "agree", plan)
    unknown = Note(note="The table does not say who finished.")
    found["complete_cases"] = contrast(finished(available), "agree", plan) if "status" in available else unknown
    found["trace_keeps_class"] = contrast(rows[rows["keeps_class"].astype(bool)], "agree", plan)
    return findings.Differences(found=found)


def _exclusions(everybody: pd.DataFrame) -> findings.Exclusions:
    people = everybody.drop_duplicates("participant_uid")
    out = people[~people["included"].astype(bool)]
    reasons = out["exclusion_reason"].fillna("").replace("", "no reason given").value_counts()
    return findings.Exclusions(people=len(people), excluded=len(out), reasons=reasons.to_dict())
