"""Hostile inputs: a good one of its door, changed in some places, as text or as the values that it holds."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import yaml

PIECES = (
    *("²", "٣", "-", "--1", "1e999", "nan", "9" * 5000, "[" * 900, "{" * 900, "\ud800", "\0", "\u202e", ""),
    *("=HYPERLINK(", "2001-99-99", "!!float x", "!!python/object:os.system x", "&a [*a]", "? ", "- - -", ": ", "'"),
    *('"', "\t", "\n", "%", "heart:50:20x30:1", "..", "/", "x" * 200, "1:2", "x:y:z", "*a", "<<: 1", "0x1F", "1_000"),
    *(".inf", "~", "true"),
)
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, 2**70, -(2**70), 10**400, 0.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", "0", "1", " ", "nan", [], {}, [[]], [{}], {"": {}}, [None], [0] * 200),
    *(["x"] * 200, {"__class__": 1}, {"a": {"a": {"a": []}}}, [1, "x", None, {}], *PIECES),
)
Place = tuple[Any, Any]
"""A mapping or a list, and the key or index of a value in it."""


def changed(good: str, rng: random.Random) -> str:
    """Return an input changed in one to four places; half of those that hold values, in their values."""
    return changed_text(good, rng) if held(good) is None or rng.random() < 0.5 else changed_values(good, rng)


def changed_text(good: str, rng: random.Random) -> str:
    """Return a text that is cut, doubled or spliced with itself, or has a hostile piece put in."""
    text = good
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 1, 3, 20)))
        piece = rng.choice((*PIECES, text[start:stop] * 2, good[rng.randrange(len(good)) :][:30]))
        text = text[:start] + piece + text[stop:]
    return text


def changed_values(good: str, rng: random.Random) -> str:
    """Return a text that holds other values, some of them elsewhere, under other names or not at all."""
    values = copy.deepcopy(held(good))
    for _ in range(rng.randint(1, 4)):
        if places := list(_places(values)):
            _change(places, rng)
    return urlencode(_texts(values), errors="surrogateescape") if _is_query(good) else json.dumps(values)


def _change(places: list[Place], rng: random.Random) -> None:
    (parent, key), (other, there) = rng.choice(places), rng.choice(places)
    what = rng.randrange(4)
    if what == 0:
        del parent[key]
    elif what == 1 and isinstance(parent, dict):
        parent[rng.choice(PIECES)] = parent.pop(key)
    else:
        parent[key] = copy.deepcopy(other[there] if what == 2 else rng.choice(VALUES))


def _places(values: object) -> Iterator[Place]:
    """Yield each value that a mapping or a list holds, and those in it."""
    if isinstance(values, dict | list):
        for key in list(values) if isinstance(values, dict) else range(len(values)):
            yield values, key
            yield from _places(values[key])


@cache
def held(good: str) -> dict[str, object] | None:
    """Return what a good input holds where it is JSON, YAML or a query; None: it is something else."""
    if _is_query(good):
        return dict(parse_qsl(good))
    try:
        values = yaml.safe_load(good)
    except yaml.YAMLError:
        return None
    return values if isinstance(values, dict) else None


def _is_query(good: str) -> bool:
    return "=" in good and "&" in good and good.isascii() and good.isprintable() and " " not in good


def _texts(values: object) -> dict[str, str]:
    """Return a query's values as the texts that they are in it."""
    pairs = values if isinstance(values, dict) else {}
    return {
        str(name).encode("utf-8", "ignore").decode(): str(value).encode("utf-8", "ignore").decode()
        for name, value in pairs.items()
    }
