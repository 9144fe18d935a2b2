"""A result as tables of words: every figure that an analysis gives, for the page and for the report in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from spade_core.study.analysis.estimators import FEW_CLUSTERS

Found = Mapping[str, Any]

SENSITIVITY = {
    "fixed_effects": "participant and class-neuron fixed effects",
    "item_t_test": "t-test over class neurons",
    "product_bootstrap": "product bootstrap (conservative)",
    "exclusions_off": "exclusions off",
    "exclusions_off_half_credit": "exclusions off, half credit",
    "trace_keeps_class": "traces that keep the class",
}
BOUNDS = {"worst_case": "missing answers all against SPADE", "best_case": "missing answers all for SPADE"}
UNITS = {"confidence": (1.0, "steps"), "rt": (1.0, "log ms")}  # ratings: steps; all others: percentage points


def differences(result: Found) -> Iterator[tuple[str, str, Found]]:
    """Yield name, label and estimate of every difference SPADE - dense in agreement, the primary one first."""
    yield "agreement (primary)", result["primary"]["label"], result["primary"]
    yield "half credit", result["half_credit"]["label"], result["half_credit"]
    for name, title in SENSITIVITY.items():
        yield title, "exploratory", result["sensitivity"][name]
    for name, title in BOUNDS.items():
        yield title, "bound", result["timeouts"][name]
    for source, part in result["by_reference_source"].items():
        yield f"reference from {source}", "exploratory", part["difference"]
        yield f"reference from {source}, half credit", "exploratory", part["half_credit"]


def _difference_rows(result: Found) -> list[Row]:
    return [{"SPADE - dense": name, "label": label, **_estimate(found)} for name, label, found in differences(result)]


def _secondary_rows(result: Found) -> list[Row]:
    return [
        {
            "outcome": found["what"], "label": found["label"], "p (Holm)": _p(found.get("p_holm")),
            **_estimate(found, *_unit(name)),
        }
        for name, found in result["secondary"]["outcomes"].items()
    ]  # fmt: skip


def _unit(name: str) -> tuple[float, str]:
    return UNITS["confidence"] if name.startswith("rating_") else UNITS.get(name, (100.0, "points"))


def _rating_rows(result: Found) -> list[Row]:
    return [
        {
            "question": one["what"], "scale": f"{one['low']} to {one['high']}", "condition": NAMES[condition],
            "ratings": str(found["n"]), "mean": _number(found["mean"]),
        }
        for one in result["ratings"].values()
        for condition, found in one["by_condition"].items()
    ]  # fmt: skip


def _missing_rows(result: Found) -> list[Row]:
    return [
        {"condition": NAMES[name], "timeouts": _share(found), "missing otherwise": str(found["missing_otherwise"])}
        for name, found in result["timeouts"]["by_condition"].items()
    ]


def _time_rows(result: Found) -> list[Row]:
    means = result["confidence"]["by_condition"]
    return [
        {
            "condition": NAMES[name], "answers timed in the browser": str(found["n"]),
            "median": _ms(found["median_ms"]), "quartiles": f"{_ms(found['quartile_1_ms'])} to "
            f"{_ms(found['quartile_3_ms'])}", "mean confidence (1 to 3)": _number(means[name]["mean"]),
        }
        for name, found in result["reaction_time"]["by_condition"].items()
    ]  # fmt: skip


def _order_rows(result: Found) -> list[Row]:
    order, sides = result["order"], result["sides"]
    named = {
        "SPADE - dense, first half of the trials": order["first_half"],
        "SPADE - dense, second half": order["second_half"],
        "change of that difference": order["change_of_difference"],
        "agreement, second half - first": order["second_minus_first"],
        "agreement, reference on the left - right": sides["agree_left_minus_right"],
    }
    return [{"order and sides": name, **_estimate(found)} for name, found in named.items()]


def _consistency_rows(result: Found) -> list[Row]:
    """Return agreement between people and of people with themselves, by condition."""
    again = result["repeats"]["by_condition"]
    return [
        {
            "condition": NAMES[name],
            "Krippendorff's alpha": found.get("note") or f"{found['alpha']:.3f}",
            "stimuli of two or more": str(found["stimuli"]),
            "repeated trials answered alike": _share(again[name]) if name in again else "no answers",
            "left when decided": _share(result["sides"]["left_when_decided"][name]),
        }
        for name, found in result["krippendorff_alpha"]["by_condition"].items()
    ]


def _baseline_rows(result: Found) -> list[Row]:
    return [
        {"baseline": found["name"], "names the reference region, of the stimuli shown": _share(found)}
        for found in result["baselines"].values()
    ]


def _neuron_rows(result: Found) -> list[Row]:
    return [
        {
            "class neuron": row["class_neuron"], "dense": _of(row["dense"]), "SPADE": _of(row["spade"]),
            "agreement": _points(row["agree"]), "half credit": _points(row["half"]),
        }
        for row in result["class_neurons"]
    ]  # fmt: skip


TABLES: Mapping[str, Callable[[Found], list[Row]]] = {
    "Difference in agreement": _difference_rows,
    "Secondary outcomes": _secondary_rows,
    "Ratings": _rating_rows,
    "Missing answers": _missing_rows,
    "Baselines": _baseline_rows,
    "Agreement between people, and with themselves": _consistency_rows,
    "Times and confidence": _time_rows,
    "Order and sides": _order_rows,
    "Class neurons": _neuron_rows,
}
"""What stands beside Table 3, by title."""


def tables_text(result: Found) -> str:
    """Return all tables of a result that has a Table 3, as Markdown."""
    mark = "SIMULATED: " if result["simulated"] else ""
    return "\n\n".join(
        f"### {mark}{title}\n\n{markdown_table(rows)}" for title, make in TABLES.items() if (rows := make(result))
    )


def _estimate(found: Found, scale: float = 100.0, unit: str = "points") -> Row:
    """Return an estimate with its interval and ``n``, answers, people x class neurons; where there is none, why."""
    if found["estimate"] is None:
        return {"difference": "not estimated", "interval": "", "p": "", "n": "", "note": str(found["note"])}
    digits = 1 if scale == 100 else 2
    ends = ""
    if found["low"] is not None:
        high = "" if found["high"] is None else f" to {scale * found['high']:+.{digits}f}"
        ends = f"{'' if high else 'from '}{scale * found['low']:+.{digits}f}{high}"
    value = f"{scale * found['estimate']:+.{digits}f} {unit}"
    counts = f"{found['n']} answers, {found['participants']} x {found['class_neurons']}"
    return {"difference": value, "interval": ends, "p": _p(found["p"]), "n": counts, "note": _note(found)}


def _note(found: Found) -> str:
    """Return the warning; that of few clusters, which nearly every row of a small study would carry, in short."""
    few = min(found["participants"], found["class_neurons"]) < FEW_CLUSTERS and str(found["warning"]).startswith("Only")
    return "few clusters" if few else found["warning"] or ""


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(found: Found) -> str:
    if found["share"] is None:
        return "no answers"
    return f"{100 * found['share']:.1f} % ({found['count']}/{found['n']})"


def _of(found: Found) -> str:
    return "no answers" if found["share"] is None else f"{found['count']}/{found['n']}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


Row = dict[str, str]
NAMES = {"dense": "dense", "spade": "SPADE", "none": "no visualization", "reference": "reference crops"}
ROWS = {
    "undecided": "undecided",
    "disagree": "disagree with the reference",
    "agree": "agree with the reference",
    "agree_when_decided": "agreement when decided",
    "disagree_when_decided": "disagreement when decided",
}
# Table 3 of the paper's README: shares of people's answers, for comparison of layout with bots' only.
PAPER: Mapping[str, Mapping[str, float]] = {
    "dense": {"undecided": 22.9, "disagree": 20.4, "agree": 56.7, "agree_decided": 73.6, "disagree_decided": 26.4},
    "spade": {"undecided": 12.6, "disagree": 17.8, "agree": 69.8, "agree_decided": 79.9, "disagree_decided": 20.1},
}
PAPER_NOTE = (
    "The paper's columns are its people's answers (Table 3), published without counts or intervals; its SPADE column "
    "adds to 100.2 %."
)
_IN_PAPER = {"agree_when_decided": "agree_decided", "disagree_when_decided": "disagree_decided"}


def table3_rows(result: Mapping[str, Any], *, paper: bool = True) -> list[Row]:
    """Return Table 3 with counts and intervals, a column a condition.

    Args:
        result: of :func:`spade_core.study.analysis.analyse.analyse`; paper: with the paper's figures in columns of
            their own.
    """
    mark = "SIMULATED " if result["simulated"] else ""
    rows = []
    for name, title in ROWS.items():
        row = {"response": title}
        for condition, shares in result["table3"].items():
            row[f"{mark}{NAMES[condition]}"] = _percent(shares[name])
        for condition, figures in PAPER.items() if paper else ():
            row[f"paper, {NAMES[condition]}"] = f"{figures[_IN_PAPER.get(name, name)]} %"
        rows.append(row)
    return rows


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows of equal keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(value: Mapping[str, Any]) -> str:
    """Return a share with its interval and counts."""
    if value["share"] is None:
        return "no answers"
    shown = (100 * value[key] for key in ("share", "low", "high"))
    return "{:.1f} % [{:.1f}, {:.1f}]".format(*shown) + f" ({value['count']}/{value['n']})"
