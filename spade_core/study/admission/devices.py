"""What a participant's browser says of itself: kept as told, read as browser, operating system and kind of device."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

import ua_parser
from pydantic import BaseModel, BeforeValidator, ConfigDict

LARGEST, LONGEST = 100_000, 300
_HANDHELD = re.compile(r"Mobi|Android|iPhone|iPad|iPod|Silk|Kindle|Tablet(?! PC)")


def _plausible(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value <= LARGEST else None


Number: TypeAlias = Annotated[int | float | None, BeforeValidator(_plausible)]
Flag: TypeAlias = Annotated[bool | None, BeforeValidator(lambda value: value if isinstance(value, bool) else None)]
_cut = BeforeValidator(lambda value: value[:LONGEST] if isinstance(value, str) else None)
Words: TypeAlias = Annotated[str | None, _cut]


class Device(BaseModel):
    """What a browser told, without what is not asked for; None where it does not know, or told another kind of value.

    Attributes:
        width, height, screen_width, screen_height: px; dpr: device pixels to a pixel; refresh_hz: measured.
        mobile_hint: of ``navigator.userAgentData``; fine_pointer: is there a mouse or the like.
        browser: its user agent.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    width: Number = None
    height: Number = None
    screen_width: Number = None
    screen_height: Number = None
    dpr: Number = None
    refresh_hz: Number = None
    touch_points: Number = None
    mobile_hint: Flag = None
    fine_pointer: Flag = None
    browser: Words = None
    platform: Words = None

    def told(self) -> dict[str, int | float | bool | str | None]:
        """Return what the browser said something of, as the database keeps it."""
        return self.model_dump(exclude_unset=True)

    @property
    def browser_name(self) -> str | None:
        """Return the browser's name and main version, such as ``Firefox 131``; None: it cannot be told."""
        found = ua_parser.parse(self.browser or "").user_agent
        return None if found is None else " ".join(part for part in (found.family, found.major) if part)

    @property
    def os_name(self) -> str | None:
        """Return the operating system's name without its version, such as ``Windows``; None: it cannot be told."""
        found = ua_parser.parse(self.browser or "").os
        return None if found is None else found.family


def is_mobile(device: Device) -> bool:
    """Return whether a device is a phone or a tablet, by what its browser says.

    One that calls itself so in ``userAgentData`` or in its user agent; a Mac with a touch screen, which is a tablet
    that asks for pages as for computers; or one with a touch screen and no finer pointer. A laptop with both is none.
    """
    touch = device.touch_points or 0
    if device.mobile_hint is True or _HANDHELD.search(device.browser or ""):
        return True
    if (device.platform or "").startswith(("Mac", "mac")) and touch > 1:
        return True
    return touch > 0 and device.fine_pointer is False
