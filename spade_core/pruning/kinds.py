"""Kinds of values that people give as text: each is checked, read from a link, written into one, and said in a command.

Every refusal is one sentence that names the value. Nothing heavy is imported: the command line's help needs the kinds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Protocol, SupportsFloat, TypeVar, runtime_checkable

from spade_core.errors import ConfigError

SEEDS = 2**63  # so many does torch know, from 0 on
MOST = 2**31 - 1  # of a number in a link or a field that has no bound of its own
T = TypeVar("T")
_WHOLE = re.compile(r"-?[0-9]{1,18}")  # str.isdigit takes superscripts, which int refuses


def any_of(slugs: Collection[str]) -> str:
    """Return what a help says of a choice: ``a, b or c``."""
    *most, last = slugs
    return f"{', '.join(most)} or {last}"


def _number(value: object) -> float:
    """Return a number; NaN, which lies between no bounds, for what is none."""
    try:
        return float(value) if isinstance(value, str | SupportsFloat) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan


class Kind(Generic[T]):
    """A kind of value; ``argument`` is what argparse is told of it."""

    argument: ClassVar[Mapping[str, object]] = {}

    def check(self, value: object) -> T:
        """Return a value as the library uses it.

        Raises:
            ConfigError: it cannot be used.
        """
        raise NotImplementedError

    def read(self, text: str) -> T:
        """Return the value of a link's text.

        Raises:
            ConfigError: it has none.
        """
        raise NotImplementedError

    def write(self, value: T) -> str:
        """Return the text that :meth:`read` reads."""
        return f"{value:g}" if isinstance(value, float) else str(value)

    def words(self, flag: str, value: T) -> list[str]:
        """Return the words of a command that say ``value``."""
        return [flag, self.write(value)]


@runtime_checkable
class Titled(Protocol):
    """An entry of a table that people know by a title and a line of help."""

    title: str
    help: str


@dataclass(frozen=True)
class OneOf(Kind[str]):
    """A slug of a table."""

    what: str
    table: Collection[str]

    def check(self, value: object) -> str:
        return self._known(value, "There is no {} {!r}: take one of {}.")

    def read(self, text: str) -> str:
        return self._known(text, "The link names an unknown {} {!r}: it is one of {}.")

    def _known(self, value: object, sentence: str) -> str:
        if not isinstance(value, str) or value not in self.table:
            raise ConfigError(sentence.format(self.what, value, ", ".join(self.table)))
        return value

    def titled(self) -> dict[str, Titled]:
        """Return the entries that have a title."""
        entries = self.table.items() if isinstance(self.table, Mapping) else ()
        return {slug: entry for slug, entry in entries if isinstance(entry, Titled)}


@dataclass(frozen=True)
class Number(Kind[float]):
    """A number from ``low`` to ``high``; ``rule`` says so in a sentence."""

    what: str
    low: float
    high: float
    rule: str
    argument: ClassVar[Mapping[str, object]] = {"type": float, "metavar": "F"}

    def check(self, value: object) -> float:
        if not self.low <= _number(value) <= self.high:
            raise ConfigError(f"The {self.what} {self.rule}, not {value!r}.")
        return _number(value)

    def read(self, text: str) -> float:
        return replace(self, what=f"link's {self.what}").check(text)


RATIO = Number("sparsity", 0, 1, "must be a fraction between 0 and 1 (0.6 for 60 %)")


def check_ratio(value: object, what: str = "sparsity") -> float:
    """Return ``value`` as a fraction.

    Raises:
        ConfigError: it is not a number between 0 and 1.
    """
    return replace(RATIO, what=what).check(value)


@dataclass(frozen=True)
class Whole(Kind[int]):
    """A whole number from ``low`` to ``high``; without a ``rule``, these bind links and fields, but not the library."""

    what: str
    low: int = 0
    high: int = MOST
    rule: str = ""
    argument: ClassVar[Mapping[str, object]] = {"type": int, "metavar": "N"}

    def check(self, value: object) -> int:
        number = _number(value)
        if math.isfinite(number) and number == int(number) and (not self.rule or self.low <= number <= self.high):
            return value if isinstance(value, int) else int(number)  # a large one as a float would lose digits
        raise ConfigError(f"The {self.what} {self.rule or 'must be a whole number'}, not {value}.")

    def read(self, text: str) -> int:
        if not _WHOLE.fullmatch(text) or not self.low <= int(text) <= self.high:
            bounds = f"a whole number from {self.low} to {self.high:,}"
            raise ConfigError(f"The link's {self.what} must be {bounds}, not {text!r}.")
        return int(text)


@dataclass(frozen=True)
class Seed(Whole):
    """A seed: what torch's generators take, in the library; in links and fields what a browser can count."""

    what: str = "seed"

    def check(self, value: object) -> int:
        if not isinstance(value, int) or not 0 <= value < SEEDS:
            raise ConfigError(f"The seed must be a whole number from 0 to 2^63 - 1, not {value!r}.")
        return value


@dataclass(frozen=True)
class Text(Kind[str]):
    """Any text that is not empty."""

    what: str

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"The {self.what} must be a name, not {value!r}.")
        return value

    def read(self, text: str) -> str:
        return self.check(text)


class Switch(Kind[bool]):
    """On or off, and off unless it is said: ``1`` in a link, the bare flag in a command."""

    argument: ClassVar[Mapping[str, object]] = {"action": "store_true", "default": None}

    def check(self, value: object) -> bool:
        return bool(value)

    def read(self, text: str) -> bool:
        return text == "1"

    def write(self, value: bool) -> str:
        return str(int(value))

    def words(self, flag: str, value: bool) -> list[str]:
        return [flag] if value else []


class Ratios(Kind[Mapping[str, float]]):
    """A fraction for each of several stages: ``a:0.5,b:0.2`` in a link, ``--stage a=0.5 --stage b=0.2`` in words."""

    argument: ClassVar[Mapping[str, object]] = {"action": "append", "default": [], "metavar": "NAME=F"}

    def check(self, value: object) -> Mapping[str, float]:
        pairs = value.items() if isinstance(value, Mapping) else [(value, None)]
        return {stage: check_ratio(ratio, f"sparsity of {stage}") for stage, ratio in sorted(pairs)}

    def read(self, text: str) -> Mapping[str, float]:
        pairs = (item.rpartition(":") for item in text.split(",") if item)
        return {stage: check_ratio(ratio, f"link's sparsity of {stage}") for stage, _, ratio in pairs}

    def write(self, value: Mapping[str, float]) -> str:
        return ",".join(f"{stage}:{ratio:g}" for stage, ratio in value.items())

    def words(self, flag: str, value: Mapping[str, float]) -> list[str]:
        return [word for stage, ratio in value.items() for word in (flag, f"{stage}={ratio:g}")]
