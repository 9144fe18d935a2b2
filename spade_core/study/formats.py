"""A table as a file: CSV that spreadsheets take as it is, Parquet, or JSON with its codebook."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from spade_core.errors import ConfigError

FORMATS = ("csv", "parquet", "json")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Codebook = Mapping[str, tuple[str, str]]


def write(table: pd.DataFrame, form: str, codebook: Codebook) -> bytes:
    """Return the table as a file: CSV (UTF-8 with a mark for spreadsheets), Parquet, or JSON with its codebook.

    Raises:
        ConfigError: unknown format.
    """
    if form == "csv":
        return _csv(table)
    if form == "parquet":
        out = io.BytesIO()
        table.to_parquet(out, index=False)
        return out.getvalue()
    if form == "json":
        rows = json.loads(table.to_json(orient="records"))
        return json.dumps({"codebook": _told(table.columns, codebook), "rows": rows}, indent=1).encode()
    raise ConfigError(f"There is no export format “{form}”: take {', '.join(FORMATS)}.")


def codebook_json(columns: Iterable[str], codebook: Codebook) -> bytes:
    """Return what the columns mean as JSON, for beside a file that has no room for it."""
    return json.dumps({"codebook": _told(columns, codebook)}, indent=1, ensure_ascii=False).encode()


def safe_cell(value: Any) -> Any:
    """Keep a spreadsheet from taking text for a formula, and a row on one line."""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    flat = " ".join(value.splitlines())
    return "'" + flat if flat.startswith(_FORMULA) else flat


def safe_text(value: Any) -> Any:
    """Return text as :func:`safe_cell` does, and all else as it is: for tables on a page, which can be saved as CSV."""
    return safe_cell(value) if isinstance(value, str) else value


def _told(columns: Iterable[str], codebook: Codebook) -> dict[str, dict[str, str]]:
    return {name: dict(zip(("type", "meaning"), codebook[name], strict=True)) for name in columns}


def _csv(table: pd.DataFrame) -> bytes:
    safe = table.copy()
    for name in safe.columns:
        if safe[name].dtype == bool:
            safe[name] = safe[name].astype(int)
        elif safe[name].dtype == object or isinstance(safe[name].dtype, pd.StringDtype):
            safe[name] = safe[name].map(safe_cell)
    return b"\xef\xbb\xbf" + safe.to_csv(index=False).encode()
