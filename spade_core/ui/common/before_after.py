"""Two pictures on top of each other with a divider to drag: a pair of maps or drawings in the place of one."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import streamlit as st

from spade_core.pictures.viewer import BeforeAfter, address, script, style


def before_after(
    before: bytes | str,
    after: bytes | str,
    *,
    labels: tuple[str, str] = ("Dense", "SPADE"),
    alt: str,
    key: str,
    under: bytes | str = "",
    opacity: float = 1.0,
    start: float = 50.0,
    width: int | Literal["stretch"] = "stretch",
) -> None:
    """Show two pictures of one size with a divider, by mouse, finger or keyboard (arrows, Page Up, Home, End).

    It sends nothing back: the page does not run again when the divider moves, and the divider stays when it does.

    Args:
        before, after: left and right of the divider: bytes of a PNG, JPEG or WebP file, or a ``data:`` address.
        labels: what each is, in a word or two; shown on the picture.
        alt: what both show, for who cannot see them, without ``labels``.
        key: of the element, unique on the page.
        under: a picture beneath both, over which they have this ``opacity``, 0 to 1; "": there is none.
        start: percent of the width that is ``before`` at first.
        width: of the pictures, px; they never leave the column.

    Raises:
        ConfigError: a picture is neither such bytes nor such an address.
    """
    beneath = address(under) if under else ""
    pair = BeforeAfter(address(before), address(after), labels, alt, beneath, opacity, start)
    _component()(key=key, data=pair.to_dict(), width=width)


@cache
def _component() -> Any:
    """Register the component once a server; the script travels as text, from the server itself."""
    html = '<div class="before-after"></div>'
    return st.components.v2.component("before_after", html=html, css=style(), js=script("page"))
