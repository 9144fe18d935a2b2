"""Tables of ratios that people give in place of a model's own: read, checked, and asked for a method's ratios.

``python -m spade_core tune`` writes them, in the form of ``assets/presets.json``. ``"dense"`` in the place of ratios
says that no trace beats the dense map; here it is a table without ratios, by which nothing is pruned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from spade_core.errors import ConfigError
from spade_core.pruning.kinds import Kind, Ratios, check_ratio
from spade_core.pruning.sparsity import Tuned

DENSE = "dense"
MOST_BYTES = 2**20


class Table(Kind[Tuned]):
    """A table: a file's path, or what it holds, as JSON text or read; its provenance is left behind."""

    argument: ClassVar[Mapping[str, object]] = {"metavar": "FILE"}

    def check(self, value: object) -> Tuned:
        if isinstance(value, str | Path) and not str(value).startswith("{"):
            return _checked(_loaded(_text(Path(value)), str(value)), str(value))
        return _checked(_loaded(value, "The table") if isinstance(value, str) else value, "The table")

    def read(self, text: str) -> Tuned:
        if not text.startswith("{"):
            raise ConfigError(f"The link's table must be JSON, not {text[:40]!r}.")
        return self.check(text)

    def write(self, value: Tuned) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MOST_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The table {str(path)!r} cannot be read ({getattr(error, 'strerror', error)}): check the path."
        ) from error


def _loaded(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is not JSON: give a table that `tune` wrote.") from error


def _checked(given: object, what: str) -> Tuned:
    """Return what a trace needs of a table, in one order."""
    parts = given if isinstance(given, Mapping) else {}
    options, methods = parts.get("options", {}), parts.get("methods", {})
    if "stages" not in parts or not isinstance(options, Mapping) or not isinstance(methods, Mapping):
        raise ConfigError(
            f"{what} lacks stages, or its options or methods are no objects: give a table that `tune` wrote."
        )
    depthwise = check_ratio(parts.get("depthwise", 0.0), "sparsity of depthwise")
    found = _single(str(parts.get("chosen", "")), _ratios(parts["stages"]), depthwise, dict(options))
    return {**found, "methods": {str(slug): _ratios(one) for slug, one in methods.items()}} if methods else found


def _ratios(given: object) -> dict[str, float]:
    return {} if given == DENSE else dict(Ratios().check(given))


def of_methods(tuned: Tuned, methods: Sequence[str]) -> dict[str, Tuned]:
    """Return each method's own table; where it has none, the one of the mean of all methods."""
    own, rest = tuned.get("methods", {}), (tuned["depthwise"], tuned["options"])
    return {slug: _single(tuned["chosen"], own.get(slug, tuned["stages"]), *rest) for slug in methods}


def _single(chosen: str, stages: dict[str, float], depthwise: float, options: dict[str, str | float]) -> Tuned:
    return {"chosen": chosen, "stages": stages, "depthwise": depthwise, "options": options}
