"""What lies behind the doors that are tried, and how a line of the table is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SECRET, VICTIM = "Planted name of a study", "planted-id-of-somebody"


class Tell(Protocol):
    """Takes one line of the table."""

    def __call__(self, tried: str, came: str, given: str) -> None:
        """Note what was tried, what came back, and what of it was given away (empty: nothing)."""


@dataclass(frozen=True)
class Planted:
    """What lies behind the doors.

    Attributes:
        mode: ``SPADE_MODE`` of the server; key: of the study; database: its address.
        words: that nobody may be shown; widgets: labels that only who may work there is shown.
        shut: pages that are not there for a stranger.
    """

    mode: str
    key: str
    database: str
    words: tuple[str, ...]
    widgets: tuple[str, ...]
    shut: frozenset[str]

    def in_(self, text: str) -> str:
        """Return what of it a text shows."""
        return ", ".join(word for word in (*self.words, *self.widgets) if word in text)
