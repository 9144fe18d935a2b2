"""A result as tables of words: every figure that an analysis gives, for the page and for the report in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from spade_core.study.analysis.estimators import FEW_CLUSTERS
from spade_core.study.analysis.findings import Counted, Found, Note, Share, StudyResult
from spade_core.study.export.codebook import rating_column
from spade_core.study.vocabulary import CONDITIONS, confidence_scale

Row = dict[str, str]

NAMES = {name: shown.title for name, shown in CONDITIONS.items()}
SENSITIVITY = {
    "fixed_effects": "participant and class-neuron fixed effects",
    "item_t_test": "t-test over class neurons",
    "product_bootstrap": "product bootstrap (conservative)",
    "exclusions_off": "exclusions off",
    "exclusions_off_half_credit": "exclusions off, half credit",
    "available_cases": "answers of people who did not finish included (available cases)",
    "complete_cases": "only people who finished (complete cases)",
    "trace_keeps_class": "traces that keep the class",
}
BOUNDS = {"worst_case": "missing answers all against SPADE", "best_case": "missing answers all for SPADE"}
ORDER = {
    "first_half": "SPADE - dense, first half of the trials",
    "second_half": "SPADE - dense, second half",
    "change_of_difference": "change of that difference",
    "second_minus_first": "agreement, second half - first",
}
ROWS = {
    "undecided": "undecided",
    "disagree": "disagree with the reference",
    "agree": "agree with the reference",
    "agree_when_decided": "agreement when decided",
    "disagree_when_decided": "disagreement when decided",
}
# Table 3 of the paper's README: shares of people's answers, for comparison of layout with bots' only.
PAPER = {
    "dense": {"undecided": 22.9, "disagree": 20.4, "agree": 56.7, "agree_decided": 73.6, "disagree_decided": 26.4},
    "spade": {"undecided": 12.6, "disagree": 17.8, "agree": 69.8, "agree_decided": 79.9, "disagree_decided": 20.1},
}
PAPER_NOTE = (
    "The paper's columns are its people's answers (Table 3), published without counts or intervals; its SPADE column "
    "adds to 100.2 %."
)
_IN_PAPER = {"agree_when_decided": "agree_decided", "disagree_when_decided": "disagree_decided"}


def table3_rows(result: StudyResult, *, paper: bool = True) -> list[Row]:
    """Return Table 3 with counts and intervals, a column a condition, on request with the paper's figures beside."""
    mark = "SIMULATED " if result.simulated else ""
    return [
        {"response": title}
        | {f"{mark}{NAMES[place]}": _percent(answers.shares[name]) for place, answers in result.table3.items()}
        | {
            f"paper, {NAMES[place]}": f"{figures[_IN_PAPER.get(name, name)]} %"
            for place, figures in PAPER.items()
            if paper
        }
        for name, title in ROWS.items()
    ]


def differences(result: StudyResult) -> Iterator[tuple[str, str, Found]]:
    """Yield name, label and estimate of every difference SPADE - dense in agreement, the primary one first."""
    yield "agreement (primary)", result.primary.label, result.primary.found
    yield "half credit", result.half_credit.label, result.half_credit.found
    for name, title in SENSITIVITY.items():
        yield title, "exploratory", result.sensitivity.found[name]
    for name, title in BOUNDS.items():
        yield title, "bound", result.timeouts.bounds[name]
    for source, part in result.by_reference_source.items():
        yield f"reference from {source}", "exploratory", part.difference
        yield f"reference from {source}, half credit", "exploratory", part.half_credit


def _difference_rows(result: StudyResult) -> list[Row]:
    return [{"SPADE - dense": name, "label": label, **_estimate(found)} for name, label, found in differences(result)]


def _secondary_rows(result: StudyResult) -> list[Row]:
    """Return log times and steps as they are, all other outcomes in percentage points."""
    units = {"confidence": "steps", "rt": "log ms"} | {rating_column(name): "steps" for name in result.ratings}
    return [
        {"outcome": one.what, "label": one.label, "p (Holm)": _p(one.p_holm), **_estimate(one.found, units.get(name))}
        for name, one in result.secondary.outcomes.items()
    ]


def _rating_rows(result: StudyResult) -> list[Row]:
    return [
        {
            "question": one.what,
            "scale": f"{one.low} to {one.high}",
            "condition": NAMES[condition],
            "ratings": str(found.n),
            "mean": _number(found.mean),
        }
        for one in result.ratings.values()
        for condition, found in one.by_condition.items()
    ]


def _missing_rows(result: StudyResult) -> list[Row]:
    return [
        {"condition": NAMES[name], "timeouts": _share(found), "missing otherwise": str(found.missing_otherwise)}
        for name, found in result.timeouts.by_condition.items()
    ]


def _attrition_rows(result: StudyResult) -> list[Row]:
    lost = result.attrition
    if lost is None:
        return [{"attrition": "A table of answers does not say who left."}]
    what = "people who did not finish" if lost.between else "main trials at which people left"
    p = "nothing to test" if lost.p is None else _p(lost.p)
    return [
        {"condition": NAMES[name], what: _share(one), "p (Fisher, all alike)": p}
        for name, one in lost.by_condition.items()
    ]


def _time_rows(result: StudyResult) -> list[Row]:
    rows = []
    for name, found in result.reaction_time.by_condition.items():
        ms = {key: "" if value is None else f"{value:.0f} ms" for key, value in found.ms.items()}
        rows.append(
            {
                "condition": NAMES[name],
                "answers timed in the browser": str(found.n),
                "median": ms["median_ms"],
                "quartiles": f"{ms['quartile_1_ms']} to {ms['quartile_3_ms']}",
                f"mean confidence ({confidence_scale()})": _number(result.confidence.by_condition[name].mean),
            }
        )
    return rows


def _order_rows(result: StudyResult) -> list[Row]:
    named = {title: result.order.found[name] for name, title in ORDER.items()}
    named["agreement, reference on the left - right"] = result.sides.agree_left_minus_right
    return [{"order and sides": name, **_estimate(found)} for name, found in named.items()]


def _consistency_rows(result: StudyResult) -> list[Row]:
    """Return agreement between people and of people with themselves, by condition."""
    again = result.repeats.by_condition
    return [
        {
            "condition": NAMES[name],
            "Krippendorff's alpha": f"{found.note}" if found.alpha is None else f"{found.alpha:.3f}",
            "stimuli of two or more": str(found.stimuli),
            "repeated trials answered alike": _share(again[name]) if name in again else "no answers",
            "left when decided": _share(result.sides.left_when_decided[name]),
        }
        for name, found in result.krippendorff_alpha.by_condition.items()
    ]


def _baseline_rows(result: StudyResult) -> list[Row]:
    return [
        {"baseline": one.name, "names the reference region, of the stimuli shown": _share(one.found)}
        for one in result.baselines.values()
    ]


def _neuron_rows(result: StudyResult) -> list[Row]:
    return [
        {
            "class neuron": row.class_neuron,
            "dense": f"{row.dense.count}/{row.dense.n}" if row.dense.n else "no answers",
            "SPADE": f"{row.spade.count}/{row.spade.n}" if row.spade.n else "no answers",
            "agreement": "" if row.agree is None else f"{100 * row.agree:+.1f}",
            "half credit": "" if row.half is None else f"{100 * row.half:+.1f}",
        }
        for row in result.class_neurons
    ]


TABLES: Mapping[str, Callable[[StudyResult], list[Row]]] = {
    "Difference in agreement": _difference_rows,
    "Secondary outcomes": _secondary_rows,
    "Ratings": _rating_rows,
    "Missing answers": _missing_rows,
    "Attrition": _attrition_rows,
    "Baselines": _baseline_rows,
    "Agreement between people, and with themselves": _consistency_rows,
    "Times and confidence": _time_rows,
    "Order and sides": _order_rows,
    "Class neurons": _neuron_rows,
}
"""What stands beside Table 3, by title."""


def tables_text(result: StudyResult) -> str:
    """Return all tables beside Table 3 as Markdown."""
    mark = "SIMULATED: " if result.simulated else ""
    return "\n\n".join(
        f"### {mark}{title}\n\n{markdown_table(rows)}" for title, make in TABLES.items() if (rows := make(result))
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows of equal keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _estimate(found: Found, unit: str | None = None) -> Row:
    """Return an estimate with its interval and ``n``, answers, people x class neurons; where there is none, why.

    Args:
        unit: None: percentage points.
    """
    if isinstance(found, Note):
        return {"difference": "not estimated", "interval": "", "p": "", "n": "", "note": found.note}
    # In short what nearly every row of a small study would carry.
    few = min(found.participants, found.class_neurons) < FEW_CLUSTERS and str(found.warning).startswith("Only")
    scale, digits = (100.0, 1) if unit is None else (1.0, 2)
    value, low, high = (
        "" if one is None else f"{scale * one:+.{digits}f}" for one in (found.estimate, found.low, found.high)
    )
    return {
        "difference": f"{value} {unit or 'points'}",
        "interval": f"{low} to {high}" if high else f"from {low}" if low else "",
        "p": _p(found.p),
        "n": f"{found.n} answers, {found.participants} x {found.class_neurons}",
        "note": "few clusters" if few else found.warning or "",
    }


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(found: Counted) -> str:
    return "no answers" if found.share is None else f"{100 * found.share:.1f} % ({found.count}/{found.n})"


def _percent(found: Share) -> str:
    """Return a share with its interval and counts."""
    if found.share is None or found.low is None or found.high is None:
        return "no answers"
    ends = f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return f"{100 * found.share:.1f} % {ends} ({found.count}/{found.n})"
