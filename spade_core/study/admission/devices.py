"""What a participant's browser says of itself: kept as told, read as browser, operating system and kind of device."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import ua_parser

_NUMBERS = ("width", "height", "screen_width", "screen_height", "dpr", "refresh_hz", "touch_points")
_FLAGS = ("mobile_hint", "fine_pointer")
_TEXTS = ("browser", "platform")
LARGEST, LONGEST = 100_000, 300
_HANDHELD = re.compile(r"Mobi|Android|iPhone|iPad|iPod|Silk|Kindle|Tablet(?! PC)")


def told(device: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a browser told, without what is not asked for or of another kind: it comes from outside.

    ``width, height, screen_width, screen_height`` in px; ``dpr``, device pixels to a pixel; ``refresh_hz``, measured;
    ``touch_points``; ``mobile_hint`` (of ``navigator.userAgentData``) and ``fine_pointer`` (is there a mouse or the
    like), true or false; ``browser``, its user agent; ``platform``. None for what the browser does not know.
    """
    kept: dict[str, Any] = {}
    for name in (*_NUMBERS, *_FLAGS, *_TEXTS):
        value = device.get(name)
        if name in _TEXTS and isinstance(value, str):
            kept[name] = value[:LONGEST]
        elif (name in _FLAGS and isinstance(value, bool)) or (name in _NUMBERS and _plausible(value)):
            kept[name] = value
        elif name in device:
            kept[name] = None
    return kept


def is_mobile(device: Mapping[str, Any]) -> bool:
    """Return whether a device is a phone or a tablet, by what its browser says.

    One that calls itself so in ``userAgentData`` or in its user agent; a Mac with a touch screen, which is a tablet
    that asks for pages as for computers; or one with a touch screen and no finer pointer. A laptop with both is none.
    """
    touch = device.get("touch_points") or 0
    if device.get("mobile_hint") is True or _HANDHELD.search(device.get("browser") or ""):
        return True
    if (device.get("platform") or "").startswith(("Mac", "mac")) and touch > 1:
        return True
    return touch > 0 and device.get("fine_pointer") is False


def browser_of(device: Mapping[str, Any]) -> str | None:
    """Return a browser's name and main version, such as ``Firefox 131``; None: it cannot be told."""
    found = ua_parser.parse(device.get("browser") or "").user_agent
    return None if found is None else " ".join(part for part in (found.family, found.major) if part)


def os_of(device: Mapping[str, Any]) -> str | None:
    """Return the operating system's name without its version, such as ``Windows``; None: it cannot be told."""
    found = ua_parser.parse(device.get("browser") or "").os
    return None if found is None else found.family


def _plausible(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= LARGEST
