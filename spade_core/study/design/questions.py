"""Questions that a design asks after each choice: ratings on a scale of its own, and free text.

They come after choice and confidence in all trials but practice, so that nothing sets main, catch and repeated trials
apart. One answer holds all replies, under the questions' names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spade_core.study.vocabulary import PRACTICE

MOST_STEPS = 11  # of a rating, so that all of them fit beside one another
LONGEST_TEXT = 2000  # characters
_CONTROLS = ("Cc", "Cs")  # Unicode's controls and lone surrogates, which not every database takes
_LINES = "\n\t"

Replies: TypeAlias = dict[str, int | str]


class Part(BaseModel):
    """A part of a design."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Asked(Part):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,29}$", description="small letters, digits and _; names the column")
    text: str = Field(min_length=1, max_length=300)
    required: bool = False


class Rating(_Asked):
    """A whole number from ``low`` to ``high``; ``labels`` are the words at the two ends."""

    kind: Literal["rating"]
    low: int = Field(1, ge=-100, le=100)
    high: int = Field(7, ge=-100, le=100)
    labels: tuple[str, str] = ("", "")

    @model_validator(mode="after")
    def _check(self) -> Rating:
        if not 1 < self.high - self.low + 1 <= MOST_STEPS:
            raise ValueError(f"a rating goes from “low” up to “high” in 2 to {MOST_STEPS} steps")
        return self

    def read(self, given: object) -> int | None:
        """Return the number, or None where it is none of the scale's."""
        return given if type(given) is int and self.low <= given <= self.high else None


class Text(_Asked):
    """Free text of at most ``max_length`` characters."""

    kind: Literal["text"]
    max_length: int = Field(500, ge=1, le=LONGEST_TEXT)

    def read(self, given: object) -> str | None:
        """Return the text without what cannot be stored, or None where it is too long or no text."""
        return plain(given) if isinstance(given, str) and len(given) <= self.max_length else None


Extra = Annotated[Rating | Text, Field(discriminator="kind")]


class Questions(Part):
    """What is asked beside the choice and the confidence."""

    extra: tuple[Extra, ...] = Field((), max_length=10)

    @model_validator(mode="after")
    def _check(self) -> Questions:
        names = [question.name for question in self.extra]
        if len(set(names)) < len(names):
            raise ValueError("every question in “extra” needs a name of its own")
        return self

    @property
    def ratings(self) -> tuple[Rating, ...]:
        """Return the ratings."""
        return tuple(question for question in self.extra if isinstance(question, Rating))

    @property
    def texts(self) -> tuple[Text, ...]:
        """Return the questions for free text."""
        return tuple(question for question in self.extra if isinstance(question, Text))

    def of(self, trial_type: str) -> tuple[Rating | Text, ...]:
        """Return what is asked in a trial of this type."""
        return () if trial_type == PRACTICE else self.extra


def read_replies(asked: Sequence[Rating | Text], given: Mapping[str, object] | None) -> Replies | None:
    """Return the replies as they are stored, empty ones left out, or None where they cannot be taken.

    Args:
        given: what came from outside, by name; None or an empty text is no reply.
    """
    given = given or {}
    if not set(given) <= {question.name for question in asked}:
        return None
    replies: Replies = {}
    for question in asked:
        value = given.get(question.name)
        read = None if value is None else question.read(value)
        if value is not None and read is None:
            return None
        if read is not None and read != "":
            replies[question.name] = read
        elif question.required:
            return None
    return replies


def plain(text: str) -> str:
    """Return a text without control characters and surrounding space."""
    kept = (one for one in text if one in _LINES or unicodedata.category(one) not in _CONTROLS)
    return "".join(kept).strip()
