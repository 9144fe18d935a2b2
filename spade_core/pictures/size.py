"""The size of a model's input: of a square its side, else height and width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import index
from typing import TypeAlias

from spade_core.errors import ConfigError

Size: TypeAlias = int | tuple[int, int]
"""px: the side of a square, or height and width."""


def sides_of(size: Size) -> tuple[int, int]:
    """Return height and width."""
    return (size, size) if isinstance(size, int) else size


def as_size(given: int | Sequence[int]) -> Size:
    """Return a size in its only form, in which no square has two numbers.

    Raises:
        ConfigError: there are neither one nor two numbers.
    """
    try:
        each = given if isinstance(given, Sequence) else [given]
        numbers = [] if isinstance(given, bool) else [index(number) for number in each]
    except TypeError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ConfigError(
            f"A size is one whole number, or two (height and width): give 224, or (256, 192), not {given!r}."
        )
    return numbers[0] if numbers[0] == numbers[-1] else (numbers[0], numbers[1])


def size_text(size: Size) -> str:
    """Return a size as :func:`parse_size` reads it: ``224``, or ``256x192`` of 256 px height and 192 px width."""
    return str(size) if isinstance(size, int) else "{}x{}".format(*size)


def parse_size(text: str) -> Size:
    """Return the size that a text means.

    Raises:
        ConfigError: it means none.
    """
    found = re.fullmatch(r"\s*(\d{1,5})(?:\s*x\s*(\d{1,5}))?\s*", text, re.ASCII)
    if found is None:
        raise ConfigError(f"A size reads 224, or 256x192 (height x width): give it so, not as {text[:40]!r}.")
    return as_size([int(side) for side in found.groups() if side is not None])


def shown_size(size: Size) -> str:
    """Return a size as people read it, height first: ``224 x 224``."""
    return "{} x {}".format(*sides_of(size))
