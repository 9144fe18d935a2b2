"""Questions that a design asks after each choice: ratings on a scale of its own, and free text.

Whoever adds a kind writes a class here, which says all that bots, exports and texts need to know of it, and how it
looks: in ``assets/trial/extra.js``, and as a plain form in ``ui.participant.trials``. Analyses know ratings only.

They come after choice and confidence in all trials but practice, so that nothing sets main, catch and repeated trials
apart. One answer holds all replies, under the questions' names.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spade_core.study.vocabulary import PRACTICE, SIMULATED

MOST_STEPS = 11  # of a rating, so that all of them fit beside one another
LONGEST_TEXT = 2000  # characters
_CONTROLS = ("Cc", "Cs")  # Unicode's controls and lone surrogates, which not every database takes
_LINES = "\n\t"

Replies: TypeAlias = dict[str, int | str]


def column_of(kind: str, name: str) -> str:
    """Return the column of an export that holds the replies to a question of this kind and name."""
    return f"{kind}_{name}"


class Part(BaseModel):
    """A part of a design."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Asked(Part):
    """What all kinds share; each also has ``read``, ``unit``, ``meaning``, ``method`` and ``pretend``, see there."""

    hidden: ClassVar[bool] = False  # whether replies may tell what was seen: they are left out while a study is blind

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,29}$", description="small letters, digits and _; names the column")
    text: str = Field(min_length=1, max_length=300)
    required: bool = False
    kind: str

    @property
    def column(self) -> str:
        """Return the column of its replies."""
        return column_of(self.kind, self.name)


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

    @property
    def unit(self) -> str:
        """Return the type of its column."""
        return f"{self.low}-{self.high}"

    @property
    def meaning(self) -> str:
        """Return what its column means."""
        steps = zip((self.low, self.high), self.labels, strict=True)
        ends = ", ".join(f"{step} is “{label}”" for step, label in steps if label)
        return f"“{self.text}”{f' ({ends})' if ends else ''}; empty where not answered, and in practice"

    @property
    def method(self) -> str:
        """Return what a methods text says of it."""
        return scale_of(self.low, self.high, self.labels)

    def pretend(self, rng: random.Random) -> int:
        """Return a bot's reply."""
        return rng.randint(self.low, self.high)


class Text(_Asked):
    """Free text of at most ``max_length`` characters.

    What people write about a trial may tell what they saw, such as “there was no second image”.
    """

    hidden = True
    unit: ClassVar[str] = "text"
    method: ClassVar[str] = "free text, not analysed here"
    kind: Literal["text"]
    max_length: int = Field(500, ge=1, le=LONGEST_TEXT)

    def read(self, given: object) -> str | None:
        """Return the text without what cannot be stored, or None where it is too long or no text."""
        return plain(given) if isinstance(given, str) and len(given) <= self.max_length else None

    @property
    def meaning(self) -> str:
        """Return what its column means."""
        return f"“{self.text}”; hidden while blind, and in the shareable export once reviewed"

    def pretend(self, rng: random.Random) -> str:
        """Return a bot's reply."""
        return f"{SIMULATED} {rng.randrange(1000)}"[: self.max_length]


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
    def listed(self) -> tuple[Extra, ...]:
        """Return all of them in the order of an export's columns: first those that a blind export has, too."""
        return tuple(sorted(self.extra, key=lambda question: question.hidden))

    @property
    def ratings(self) -> tuple[Rating, ...]:
        """Return the ratings."""
        return tuple(question for question in self.extra if isinstance(question, Rating))

    @property
    def texts(self) -> tuple[Text, ...]:
        """Return the questions for free text."""
        return tuple(question for question in self.extra if isinstance(question, Text))

    def of(self, trial_type: str) -> tuple[Extra, ...]:
        """Return what is asked in a trial of this type."""
        return () if trial_type == PRACTICE else self.extra


def scale_of(low: int, high: int, labels: Sequence[str]) -> str:
    """Return a rating's scale in words."""
    least, most = (f" “{label}”" if label else "" for label in labels)
    return f"rating from {low}{least} to {high}{most}"


def read_replies(asked: Sequence[Extra], given: Mapping[str, object] | None) -> Replies | None:
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
