"""The before/after slider's script and style, and pictures as what it takes: addresses that hold them.

Pages, notebooks and reports show pairs by one script, ``assets/viewer/slider.js``. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from functools import cache

from spade_core.config import ASSETS
from spade_core.errors import ConfigError

FOLDER = ASSETS / "viewer"
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


@dataclass(frozen=True)
class BeforeAfter:
    """Two pictures of one size for the slider.

    Attributes:
        before, after: left and right of the divider, as :func:`address` returns it.
        labels: what each is; alt: what both show, for who cannot see them.
        under: a picture beneath both, or "": there is none; opacity: of both over it, 0 to 1.
        start: percent of the width that is ``before`` at first.
    """

    before: str
    after: str
    labels: tuple[str, str]
    alt: str
    under: str = ""
    opacity: float = 1.0
    start: float = 50.0

    def to_dict(self) -> dict[str, object]:
        """Return what the script takes, JSON-able."""
        return asdict(self)


@cache
def script(*names: str) -> str:
    """Return the slider's script, and those of ``names`` that use it, as one module."""
    return "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in ("slider", *names))


@cache
def style(*names: str) -> str:
    """Return the slider's style sheet, and those of ``names``."""
    return "\n".join((FOLDER / f"{name}.css").read_text("utf-8") for name in ("slider", *names))


def address(picture: bytes | str) -> str:
    """Return a picture as a ``data:`` address.

    Args:
        picture: bytes of a PNG, JPEG or WebP file, or such an address, which is returned as it is.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(picture, str):
        if not picture.startswith("data:image/"):
            raise ConfigError(
                "A picture of the slider is not an address to fetch, nothing is fetched: give a file's bytes."
            )
        return picture
    for begin, kind in _KINDS.items():
        if picture.startswith(begin):
            return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
    raise ConfigError("A picture of the slider is of another kind: give a PNG, JPEG or WebP file.")
