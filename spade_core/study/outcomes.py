"""Secondary outcomes: those that every study has, and the ratings of a design's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spade_core.study.design.questions import Rating
from spade_core.study.export.codebook import rating_column


@dataclass(frozen=True)
class Outcome:
    """A difference that is tested.

    Attributes:
        column: of the coded rows; treated, control: conditions; what: in words.
    """

    column: str
    treated: str
    control: str
    what: str


SECONDARY: dict[str, Outcome] = {
    "half_credit": Outcome("half", "spade", "dense", "agreement with half credit, SPADE - dense"),
    "cannot_tell": Outcome("undecided", "spade", "dense", "cannot tell, SPADE - dense"),
    "disagree": Outcome("disagree", "spade", "dense", "disagreement, SPADE - dense"),
    "confidence": Outcome("confidence", "spade", "dense", "confidence (1 to 3), SPADE - dense"),
    "rt": Outcome("log_rt", "spade", "dense", "log reaction time (browser), SPADE - dense"),
    "spade_vs_none": Outcome("agree", "spade", "none", "agreement, SPADE - no visualization"),
    "dense_vs_none": Outcome("agree", "dense", "none", "agreement, dense - no visualization"),
    "spade_vs_reference": Outcome("agree", "spade", "reference", "agreement, SPADE - reference crops"),
}


def of_ratings(ratings: Sequence[Rating]) -> dict[str, Outcome]:
    """Return an outcome for each rating, under the name of its column."""
    return {
        rating_column(one.name): Outcome(
            rating_column(one.name), "spade", "dense", f"“{one.text}” ({one.low} to {one.high}), SPADE - dense"
        )
        for one in ratings
    }
