"""How a picture is laid into a model's input: its centre, another part of it, or all of it between bars."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spade_core.errors import PictureError

HELP = "what of the picture the model sees: centre, letterbox (all of it, between bars), or Y,X: percent of the way"
MIDDLE = 50


@dataclass(frozen=True)
class Frame:
    """Which part of a picture fills a model's input.

    Attributes:
        whole: all of the picture, between bars of the model's mean grey (letterbox).
        y, x: else where the model's crop lies: percent of the way from the top and from the left.
    """

    whole: bool = False
    y: int = MIDDLE
    x: int = MIDDLE

    def __str__(self) -> str:
        if self.whole:
            return "letterbox"
        return "centre" if (self.y, self.x) == (MIDDLE, MIDDLE) else f"{self.y},{self.x}"


CENTRE, LETTERBOX = Frame(), Frame(whole=True)


def parse_frame(text: str) -> Frame:
    """Return the frame that ``centre``, ``letterbox`` or ``Y,X`` means, as its text is written.

    Raises:
        PictureError: it is none of these.
    """
    named = {str(frame): frame for frame in (CENTRE, LETTERBOX)}
    if text in named:
        return named[text]
    found = re.fullmatch(r"([0-9]{1,3}),([0-9]{1,3})", text)
    if found is None or max(map(int, found.groups())) > 100:
        raise PictureError(
            f"The frame must be centre, letterbox, or Y,X from 0,0 (upper left) to 100,100, not {text[:40]!r}."
        )
    return Frame(y=int(found[1]), x=int(found[2]))
