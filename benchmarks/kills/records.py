"""What became of each interruption, as lines of a file, a table and a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from scipy.stats import binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Record:
    """One interruption.

    Attributes:
        database, kind, step: what happened where; see ``campaign`` and ``trap``.
        lost, doubled, stuck: answers that came to grief by it.
        attempts: how often the answer was sent; seconds: until it was acknowledged, by waits in a hurry.
        trouble: why it was stuck, in words.
    """

    database: str
    kind: str
    step: str
    lost: int
    doubled: int
    stuck: int
    attempts: int
    seconds: float
    trouble: str = ""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Record:
        """Return the record that a line holds."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})

    @property
    def failed(self) -> bool:
        """Return whether anything came to grief."""
        return bool(self.lost or self.doubled or self.stuck)

    def row(self) -> dict[str, Any]:
        """Return it as a line of a file."""
        return asdict(self)


def upper_bound(failed: int, of: int) -> float:
    """Return the one-sided upper 95 % bound of a share (Clopper and Pearson 1934): 3 / n where nothing failed."""
    return float(binomtest(failed, of, alternative="less").proportion_ci(CONFIDENCE, "exact").high)


HEAD = ("database", "interruption", "number", "lost", "doubled", "stuck", "sent again", "median s", "longest s")


def table(records: Sequence[Record]) -> str:
    """Return the numbers by database and kind as a table in Markdown, and the bound over all."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.database, record.kind), []).append(record)
    rows = [HEAD, ("---",) * len(HEAD), *(_line(*name, found) for name, found in groups.items())]
    rows.append(_line("both" if len({name for name, _ in groups}) > 1 else "", "all", list(records)))
    failed = sum(record.failed for record in records)
    most = 100 * upper_bound(failed, len(records))
    bound = f"{failed} of {len(records)} came to grief: at most {most:.2f} % do (95 % bound)"
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"\n\n{bound}\n"


def _line(database: str, kind: str, found: Sequence[Record]) -> tuple[str, ...]:
    counts = [sum(getattr(record, name) for record in found) for name in ("lost", "doubled", "stuck")]
    again = sum(record.attempts > 1 for record in found)
    seconds = [record.seconds for record in found]
    times = (f"{median(seconds):.2f}", f"{max(seconds):.2f}")
    return (database, kind, str(len(found)), *map(str, counts), str(again), *times)
