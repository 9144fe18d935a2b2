"""What a participant has clicked and been told, beside what the database holds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select

from spade_core.study.data.store import Store
from spade_core.study.data.tables import Trial
from spade_core.study.vocabulary import CHOICES, CONFIDENCE


@dataclass(frozen=True)
class Click:
    """An answer; its time tells it from any other one."""

    choice: str | None
    confidence: int | None
    rt_ms: float | None

    @classmethod
    def drawn(cls, rng: random.Random) -> Click:
        """Return a guess."""
        return cls(rng.choice(CHOICES), rng.randint(1, len(CONFIDENCE)), round(rng.uniform(600, 1900), 1))

    def message(self, trial_id: str) -> dict[str, object]:
        """Return what the component makes of it."""
        return {
            "trial_id": trial_id, "choice": self.choice, "confidence": self.confidence, "confidence_rt_ms": 400.0,
            "extra": {}, "extra_rt_ms": None, "rt_ms": self.rt_ms, "rt_source": "browser", "timed_out": False,
            "input": "mouse", "early_answers": 0, "focus_losses": [], "resizes": [], "shown": 1,
            "onset_utc": datetime.now(UTC).isoformat(), "width": 1280, "height": 900, "dpr": 1,
        }  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """What came to light at a comparison, by trials' ids.

    Attributes:
        lost: acknowledged and not in the database, or in it as something else; doubled: in it though nobody clicked.
    """

    lost: frozenset[str]
    doubled: frozenset[str]


@dataclass
class Ledger:
    """What the client knows.

    Attributes:
        clicks: by trial; acknowledged: trials whose answers the server has said to hold; known: told by an earlier
            comparison.
    """

    clicks: dict[str, Click] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def compare(self, found: Mapping[str, Click]) -> Difference:
        """Return how all clicks differ from the answers in the database, each difference once."""
        gone = self.acknowledged - found.keys()
        changed = {name for name, click in self.clicks.items() if found.get(name, click) != click}
        lost, doubled = (gone | changed) - self.known, found.keys() - self.clicks.keys() - self.known
        self.known |= lost | doubled
        return Difference(frozenset(lost), frozenset(doubled))


def answers_of(store: Store) -> dict[str, Click]:
    """Return all answers in the database, by trial."""
    answered = select(Trial.id, Trial.choice, Trial.confidence, Trial.rt_ms).where(Trial.answered.is_not(None))
    rows = store.read(lambda session: session.execute(answered).all())
    return {row.id: Click(row.choice, row.confidence, row.rt_ms) for row in rows}
