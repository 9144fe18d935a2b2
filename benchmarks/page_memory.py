"""What a server and its workers hold while a person makes ten analyses, and after two idle minutes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

IDLE = 120.0  # seconds
SETTLED = 3.0  # seconds after a result, in which a page may still ask for something
# As a curious person goes about: the default, heavier methods, the backdoored model, and larger ones.
ANALYSES = (
    ("efficientnet_lite0", "dog", "saliency,input_x_gradient,gradcam"),
    ("efficientnet_lite0", "koala", "saliency,input_x_gradient,gradcam"),
    ("efficientnet_lite0", "panda", "saliency,lrp"),
    ("efficientnet_lite0_trojan", "coffee", "saliency,lrp"),
    ("efficientnet_lite2", "macaw", "saliency,integrated_gradients"),
    ("efficientnet_lite0", "bison", "saliency,occlusion"),
    ("efficientnet_lite0", "rocket", "smoothgrad"),
    ("efficientnet_lite1", "cat", "saliency,gradcam"),
    ("efficientnet_lite0", "palace", "saliency,integrated_gradients"),
    ("efficientnet_lite0", "lemur", "saliency,input_x_gradient,gradcam"),
)


def held(server: int) -> dict[str, float]:
    """Return the GB that server, worker and reserve hold, each with its part of what they share (PSS of Linux)."""
    listed = [child for file in Path(f"/proc/{server}/task").glob("*/children") for child in file.read_text().split()]
    named = dict(zip(("server", "worker", "reserve"), [server, *sorted(map(int, listed))], strict=False))
    return {name: _share(pid) for name, pid in named.items()}


def _share(pid: int) -> float:
    (line,) = [row for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if row.startswith("Pss:")]
    return int(line.split()[1]) * 1024 / 1e9


def analyse(page: Page, url: str, asked: tuple[str, str, str]) -> None:
    """Make one analysis from its link to the end."""
    model, picture, methods = asked
    page.goto(f"{url}/saliency?model={model}&picture=bundled:{picture}&methods={methods}")
    page.get_by_role("button", name="Run SPADE").click()
    page.get_by_text("Take it with you").wait_for()
    time.sleep(SETTLED)


def measure(page: Page, url: str, server: int, pair: Callable[[str], float]) -> None:
    """Print what is held after each analysis and after idleness, and the seconds of a first pair before and after.

    Args:
        server: number of its process.
        pair: asks for the maps of the picture of this title on a fresh page; returns the seconds to the first.
    """
    _say("at the start", server)
    for number, asked in enumerate(ANALYSES, 1):
        analyse(page, url, asked)
        _say(f"{number}: {' '.join(asked)}", server)
    warm = pair("Giant panda")
    time.sleep(IDLE)
    _say(f"after {IDLE:.0f} idle s", server)
    sys.stdout.write(f"first pair: {warm:.2f} s before, {pair('Cup of espresso'):.2f} s after\n")
    _say("after that", server)


def _say(when: str, server: int) -> None:
    found = held(server)
    each = ", ".join(f"{name} {size:.2f}" for name, size in found.items())
    sys.stdout.write(f"{when:<70} {sum(found.values()):.2f} GB: {each}\n")
    sys.stdout.flush()
