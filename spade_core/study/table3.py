"""Table 3 of the paper, as a study fills it: its rows, its layout, and the paper's own figures beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
            row[f"{mark}{NAMES[condition]}"] = _share(shares[name])
        for condition, figures in PAPER.items() if paper else ():
            row[f"paper, {NAMES[condition]}"] = f"{figures[_IN_PAPER.get(name, name)]} %"
        rows.append(row)
    return rows


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows of equal keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _share(value: Mapping[str, Any]) -> str:
    """Return a share with its interval and counts."""
    if value["share"] is None:
        return "no answers"
    shown = (100 * value[key] for key in ("share", "low", "high"))
    return "{:.1f} % [{:.1f}, {:.1f}]".format(*shown) + f" ({value['count']}/{value['n']})"
