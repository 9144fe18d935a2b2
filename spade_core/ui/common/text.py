"""Text of others on a page: shown as it is, never as Markdown.

Streamlit reads almost every string as Markdown, with links, pictures, icons, colours and formulas. What a link, a file
or a person has written, and every sentence that may repeat it, goes through :func:`literal`.
"""

from __future__ import annotations

import re

# In the middle of a word an underscore means nothing, and a colon only where another one ends an icon's name.
_SIGNS = re.compile(r"[\\`*\[\]<$~|]|(?<!\w)_|_(?!\w)|:(?=[\w+/-]+:)|^(?:#|[-+>=](?=\s|$)|\d+(?=[.)]\s))")
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)
JOINER = "\u2060"  # no width: an address with it in is no link, whichever extension of Markdown looks for some


def literal(text: object) -> str:
    """Return Markdown that shows a text as it is, on one line."""
    plain = _ADDRESS.sub(JOINER, " ".join(str(text).split()))
    return _SIGNS.sub(lambda found: _escaped(found[0]), plain)


def _escaped(sign: str) -> str:
    return f"{sign}\\" if sign.isdigit() else f"\\{sign}"
