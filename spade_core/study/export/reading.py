"""Scripts that read an export's CSV files with the types of their columns, in R and in Python.

Neither language guesses then: an empty column keeps its type, missing is missing, and text stays text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from spade_core.study.export.codebook import Column

_R = {"text": "character", "whole": "integer", "number": "numeric"}
_PYTHON = {"text": "string", "whole": "Int64", "number": "Float64"}

_READ_R = """# Reads {files}: base R, no packages. Run it in the folder of the files.
read_table <- function(file, types)
  read.csv(file, colClasses = types, na.strings = "", check.names = FALSE, fileEncoding = "UTF-8{bom}")

{calls}
"""
_READ_PYTHON = """# Reads {files}: pandas. Run it in the folder of the files.
import pandas as pd


def read_table(file, types):
    return pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""], encoding="utf-8-sig")


{calls}
"""


def read_r(tables: Mapping[str, tuple[str, Sequence[str]]], columns: Mapping[str, Mapping[str, Column]]) -> str:
    """Return a script in R that reads each table into a data frame of its name.

    Args:
        tables: file name and the columns that it has, by table; columns: all that a table may have.
    """
    calls = []
    for name, (file, titles) in tables.items():
        types = ",\n  ".join(f'{json.dumps(title)} = "{_R[columns[name][title].storage]}"' for title in titles)
        calls.append(f"{name} <- read_table({json.dumps(file)}, c(\n  {types}))")
    return _READ_R.format(files=_files(tables), bom="-BOM", calls="\n".join(calls))


def read_python(tables: Mapping[str, tuple[str, Sequence[str]]], columns: Mapping[str, Mapping[str, Column]]) -> str:
    """Return the same for Python."""
    calls = []
    for name, (file, titles) in tables.items():
        types = "".join(f'    {json.dumps(title)}: "{_PYTHON[columns[name][title].storage]}",\n' for title in titles)
        calls.append(f"{name} = read_table({json.dumps(file)}, {{\n{types}}})")
    return _READ_PYTHON.format(files=_files(tables), calls="\n".join(calls))


def _files(tables: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    return ", ".join(" ".join(file.split()) for file, _ in tables.values())
