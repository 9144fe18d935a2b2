"""Fonts that have the letters of a text, so that no figure shows boxes in the place of a name."""

from __future__ import annotations

import contextlib
import unicodedata
from functools import lru_cache

DEFAULT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and others, but no Chinese
BOXES = ("Last Resort", "LastResort", "Adobe Blank")  # fonts that claim every letter, and draw none
FALLEN_BACK = "No font of this computer has all letters of “{name}”: figure.png says “{shown}”. {advice}"
NUMBERED = "Letters that no font of this computer has are told by their numbers, as U+732B. {advice}"
INSTALL = "Install one that has them (on Debian and Ubuntu: apt-get install {package})."
EAST_ASIAN = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "HALFWIDTH")
"""How the names of such letters begin in Unicode."""


def families_for(text: str) -> tuple[str, ...] | None:
    """Return font families, in the order in which matplotlib should ask them, that have all letters of ``text``.

    None: no installed font has some of its letters.
    """
    from matplotlib import font_manager  # here: a worker that starts does not wait for it

    missing, chosen = _letters(text), list[str]()
    for family, path in ((DEFAULT, font_manager.findfont(DEFAULT)), *_installed()):
        if not missing:
            break
        found = missing & _known(path)
        if found:
            missing -= found
            chosen.append(family)
    return None if missing else tuple(chosen) or (DEFAULT,)


def drawable(text: str) -> str:
    """Return ``text`` without the letters that no installed font has."""
    return "".join(letter for letter in text if families_for(letter) is not None).strip()


def spelled(text: str) -> str:
    """Return ``text`` with the numbers of the letters that no installed font has: ``U+732B``."""
    return "".join(letter if families_for(letter) is not None else f"U+{ord(letter):04X}" for letter in text)


def advice_for(text: str) -> str:
    """Return a sentence that names a freely licensed font's package for the letters of ``text``."""
    names = [unicodedata.name(letter, "") for letter in text if families_for(letter) is None]
    eastern = any(name.startswith(EAST_ASIAN) for name in names)
    return INSTALL.format(package="fonts-noto-cjk" if eastern else "fonts-noto-core")


def shown_name(name: str, index: int) -> tuple[str, str | None]:
    """Return how a figure shows the name of class ``index``, and a note where that is not its name.

    Where no font has its letters, these are left out, and the index stands for the name.
    """
    if families_for(name) is not None:
        return name, None
    left = drawable(name)
    shown = f"class {index}" + (f" ({left})" if any(map(str.isalnum, left)) else "")
    return shown, FALLEN_BACK.format(name=name, shown=shown, advice=advice_for(name))


def _letters(text: str) -> set[int]:
    return {ord(letter) for letter in text if letter.isprintable() and not letter.isspace()}


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    """Return family and file of every upright font of usual weight that matplotlib knows, one a family."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {one.fname for one in manager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):  # installed since matplotlib looked
        with contextlib.suppress(OSError, RuntimeError):
            manager.addfont(path)
    entries = manager.ttflist
    entries = [one for one in entries if not one.name.lstrip(".").startswith(BOXES)]
    usual = [one for one in entries if one.style == "normal" and one.weight in (400, "normal", "regular", "book")]
    return tuple({one.name: one.fname for one in sorted(usual or entries, key=lambda one: one.name)}.items())


@lru_cache(maxsize=256)
def _known(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # removed since, or a kind that cannot be read
        return frozenset()
