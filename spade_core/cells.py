"""Text in tables that people open with a spreadsheet, which computes whatever looks like a formula."""

from __future__ import annotations

import re

# What a spreadsheet takes for a formula, at the start of a cell or after a sign at which it may split the cell: blanks
# and quotation marks in front are skipped, and the full-width signs count as well (OWASP, CSV Injection).
_FORMULA = re.compile(r"""(^|[;\t])([\s"]*)(?=[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])""")


def safe_cell(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula, wherever it splits a cell, and a row on one line."""
    return _FORMULA.sub(r"\1'\2", " ".join(text.splitlines()))


def safe_text(value: object) -> object:
    """Return text as :func:`safe_cell` does, and all else as it is: for tables on a page, which can be saved as CSV."""
    return safe_cell(value) if isinstance(value, str) else value
