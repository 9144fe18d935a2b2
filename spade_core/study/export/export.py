"""Export a study: trials, participants, events and page times, each with a codebook; blinded until it is unblinded.

Until then condition, method, correctness and stimulus file stay in the database, and so do the seeds that would tell
them. The shareable export has fresh random participant numbers, no tokens, seeds, external ids or devices, times
relative to the start, and of the free texts those that somebody has read and shared.
"""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from spade_core.cells import safe_text
from spade_core.errors import ConfigError
from spade_core.study.data.store import Store
from spade_core.study.data.studies import Opened
from spade_core.study.export.codebook import CODEBOOKS, Column, codebook_of, hidden_columns
from spade_core.study.export.reading import read_python, read_r
from spade_core.study.export.rows import Source, read_source, rows_of
from spade_core.study.monitoring.checks import rules_only
from spade_core.study.monitoring.free_texts import COMMENT

TABLES = tuple(CODEBOOKS)


@dataclass(frozen=True)
class Exported:
    """One table as a file.

    Attributes:
        data: the file; codebook: JSON for beside it, None where the format has room for it; rows: how many.
        columns: their names, in their order; meanings: all that the table may have.
    """

    data: bytes
    codebook: bytes | None
    rows: int
    columns: tuple[str, ...]
    meanings: Mapping[str, Column]

    def readers(self, file: str, table: str) -> dict[str, str]:
        """Return the scripts that read this table from a CSV file of this name, by the names that they end with."""
        tables, meanings = {table: (file, self.columns)}, {table: self.meanings}
        return {"read.R": read_r(tables, meanings), "read.py": read_python(tables, meanings)}


def trial_table(store: Store, key: str, *, shareable: bool = False, blind: bool | None = None) -> pd.DataFrame:
    """Return the answered trials of a study, one row each, columns as in its codebook.

    Args:
        shareable: anonymous; see above.
        blind: hide what :func:`spade_core.study.export.codebook.hidden_columns` names; None: where it must be.
    """
    return trials_of(read_source(store, key), shareable=shareable, blind=blind)


def trials_of(source: Source, *, shareable: bool = False, blind: bool | None = None) -> pd.DataFrame:
    """Return the same of what was read already."""
    return _tables(source, ("trials",), shareable=shareable, blind=blind)["trials"]


def export(
    store: Store, key: str, form: str, table: str = "trials", *, shareable: bool = False, bom: bool = False
) -> Exported:
    """Return a table of a study as a file, with its codebook.

    Args:
        bom: begin CSV with the mark by which spreadsheets know UTF-8, and which other programs take for a letter.

    Raises:
        ConfigError: no such study, format or table.
    """
    if table not in TABLES:
        raise ConfigError(f"There is no table “{table}”: take {', '.join(TABLES)}.")
    source = read_source(store, key)
    return _exported(_tables(source, (table,), shareable=shareable)[table], form, source.study, table, bom=bom)


def bundle(store: Store, key: str, form: str, *, shareable: bool = False, bom: bool = False) -> bytes:
    """Return all tables of a study with their codebooks as one ZIP; a participant has the same number in all of them.

    Beside CSV lie ``read.R`` and ``read.py``, which read all of it.

    Raises:
        ConfigError: no such study or format.
    """
    source, out = read_source(store, key), io.BytesIO()
    tables, meanings = {}, {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, table in _tables(source, TABLES, shareable=shareable).items():
            made = _exported(table, form, source.study, name, bom=bom)
            tables[name], meanings[name] = (f"{name}.{form}", made.columns), made.meanings
            archive.writestr(f"{name}.{form}", made.data)
            if made.codebook is not None:
                archive.writestr(f"{name}.{form}.codebook.json", made.codebook)
        if form == "csv":
            archive.writestr("read.R", read_r(tables, meanings))
            archive.writestr("read.py", read_python(tables, meanings))
    return out.getvalue()


def _exported(table: pd.DataFrame, form: str, study: Opened, name: str, *, bom: bool) -> Exported:
    codebook = codebook_of(study.design, name)
    beside = json.dumps({"codebook": _meanings(table, codebook)}, indent=1, ensure_ascii=False).encode()
    data = write(table, form, codebook, bom=bom)
    return Exported(data, None if form == "json" else beside, len(table), tuple(table.columns), codebook)


def _tables(
    source: Source, names: tuple[str, ...], *, shareable: bool, blind: bool | None = None
) -> dict[str, pd.DataFrame]:
    uids = sorted((person.uid for person in source.people), key=lambda _uid: secrets.randbits(64))
    numbers, found = {uid: f"p{number:04d}" for number, uid in enumerate(uids, 1)}, {}  # fresh, in random order
    for name in names:
        columns = codebook_of(source.study.design, name)
        rows = [{title: column.of(row, title) for title, column in columns.items()} for row in rows_of(source, name)]
        table = pd.DataFrame(rows, columns=list(columns))
        if shareable:
            table = _anonymous(source, numbers, _reviewed(source, table))
            table = table.drop(columns=[title for title, column in columns.items() if column.private])
        if source.blind if blind is None else blind:
            table = table.drop(columns=[title for title in hidden_columns(source.study.design) if title in table])
        found[name] = table
    return found


def _reviewed(source: Source, table: pd.DataFrame) -> pd.DataFrame:
    """Keep only those free texts whose very words somebody has read and shared."""
    table = table.copy()
    texts = {one.column: (one.name, "trial_id") for one in source.study.design.questions.texts}
    for column, (name, owner) in {COMMENT: (COMMENT, "participant_uid"), **texts}.items():
        if column in table:
            keep = [(of, name) in source.shared for of in table[owner]]
            table[column] = table[column].where(pd.Series(keep, index=table.index, dtype=bool), None)
    return table


def _anonymous(source: Source, numbers: Mapping[str, str], table: pd.DataFrame) -> pd.DataFrame:
    """Give fresh numbers, and times since each person's own start."""
    started = table["participant_uid"].map({person.uid: person.started for person in source.people})
    for name in (name for name in table.columns if name.endswith("_utc")):
        table[name] = table[name].astype(float) - started
    table["participant_uid"] = table["participant_uid"].map(numbers)
    if "exclusion_reason" in table:
        table["exclusion_reason"] = table["exclusion_reason"].map(rules_only)
    order = [name for name in ("participant_uid", "trial_index", "at_utc") if name in table]
    table = table.sort_values(order, ignore_index=True, kind="stable")
    if "trial_id" in table:
        keep = {uid: f"t{number:06d}" for number, uid in enumerate(table["trial_id"], 1)}  # no more than that order
        table["trial_id"], table["repeat_of"] = table["trial_id"].map(keep), table["repeat_of"].map(keep)
    return table


FORMATS = ("csv", "parquet", "json")


def write(table: pd.DataFrame, form: str, codebook: Mapping[str, Column], *, bom: bool = False) -> bytes:
    """Return the table as a file: CSV (UTF-8, on request with a mark for spreadsheets), Parquet, JSON with codebook.

    Raises:
        ConfigError: unknown format.
    """
    if form == "csv":
        return (b"\xef\xbb\xbf" if bom else b"") + _csv(table, codebook)
    if form == "parquet":
        out = io.BytesIO()
        table.to_parquet(out, index=False)
        return out.getvalue()
    if form == "json":
        rows = json.loads(table.to_json(orient="records"))
        return json.dumps({"codebook": _meanings(table, codebook), "rows": rows}, indent=1).encode()
    raise ConfigError(f"There is no export format “{form}”: take {', '.join(FORMATS)}.")


def _meanings(table: pd.DataFrame, codebook: Mapping[str, Column]) -> dict[str, dict[str, str]]:
    return {name: {"type": codebook[name].kind, "meaning": codebook[name].meaning} for name in table.columns}


def _csv(table: pd.DataFrame, codebook: Mapping[str, Column]) -> bytes:
    safe = table.copy()
    for name in safe.columns:
        if codebook[name].storage == "whole" or (codebook[name].kind == "px" and _is_whole(safe[name])):
            safe[name] = pd.to_numeric(safe[name].map(_number)).astype("Int64")
        elif codebook[name].storage == "text":
            safe[name] = safe[name].map(safe_text)
    return safe.to_csv(index=False).encode()


def _number(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _is_whole(values: pd.Series) -> bool:
    return bool((pd.to_numeric(values).dropna() % 1 == 0).all())
