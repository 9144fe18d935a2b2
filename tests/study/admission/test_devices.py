"""What browsers say of themselves."""

from __future__ import annotations

import pytest

from spade_core.study.admission.devices import Device, is_mobile

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 "
    "Mobile/15E148 Safari/604.1"
)
TABLET = "Mozilla/5.0 (Android 13; Tablet; rv:131.0) Gecko/131.0 Firefox/131.0"
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
    "Safari/605.1.15"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 "
    "Edg/120.0.0.0"
)
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("device", "mobile"),
    [
        ({"browser": IPHONE}, True),
        ({"browser": TABLET}, True),
        ({"browser": EDGE}, False),
        ({}, False),
        ({"browser": LINUX, "mobile_hint": True}, True),
        ({"browser": EDGE, "mobile_hint": False}, False),
        # An iPad that asks for pages as for computers; a Mac has no touch screen.
        ({"browser": SAFARI, "platform": "MacIntel", "touch_points": 5, "fine_pointer": True}, True),
        ({"browser": SAFARI, "platform": "MacIntel", "touch_points": 0, "fine_pointer": True}, False),
        # A laptop with a touch screen, and the same without its keyboard and touch pad.
        ({"browser": EDGE, "platform": "Windows", "touch_points": 10, "fine_pointer": True}, False),
        ({"browser": EDGE, "platform": "Windows", "touch_points": 10, "fine_pointer": False}, True),
        # A telephone's "desktop site".
        ({"browser": LINUX, "mobile_hint": False, "touch_points": 5, "fine_pointer": False}, True),
        ({"browser": LINUX, "touch_points": 0, "fine_pointer": False}, False),
    ],
)
def test_phones_and_tablets_are_told_from_computers(device, mobile):
    assert is_mobile(Device.model_validate(device)) is mobile


def test_browser_and_system_are_named_without_small_versions():
    told = [Device(browser=text) for text in (IPHONE, EDGE, TABLET)]
    names = [(device.browser_name, device.os_name) for device in told]
    assert names == [("Mobile Safari 17", "iOS"), ("Edge 120", "Windows"), ("Firefox Mobile 131", "Android")]
    assert (Device().browser_name, Device(browser="?").os_name) == (None, None)


def test_what_comes_from_outside_is_kept_small_and_plain():
    given = {
        "width": 1200,
        "refresh_hz": float("nan"),
        "dpr": True,
        "touch_points": "5",
        "height": -1,
        "screen_width": 1e9,
        "fine_pointer": 1,
        "mobile_hint": None,
        "screen_height": 10**400,
        "browser": "x" * 999,
        "platform": ["a"],
        "tab": "stolen",
        "more": {},
    }
    kept = Device.model_validate(given).told()
    assert kept.pop("browser") == "x" * 300
    assert kept.pop("width") == 1200
    assert set(kept.values()) == {None}
    assert not {"tab", "more"} & set(kept)
