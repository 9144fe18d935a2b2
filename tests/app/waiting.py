"""Waits that end with the next frame of the page: a locator that has waited for a while looks every half second."""

from __future__ import annotations

import re
from typing import Literal

from playwright.sync_api import Page

Role = Literal["button", "link"]
COUNTS = 510  # ms after its onset an answer to a trial counts; the component's own limit is 500
EVERY = 30  # ms between two looks
_SEEN = """([before, open, words]) => {
    const trials = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
        .map((host) => host.shadowRoot?.querySelector(".trial"));
    const begun = (trial) => trial?.dataset.onset && trial.dataset.onset !== before
        && performance.now() - Number(trial.dataset.onset) >= open;
    const found = open === null ? undefined : trials.find(begun);
    if (found || !words.length) return found?.dataset.onset;
    const text = [document.body, ...trials].map((part) => part?.innerText).join("\\n");
    return words.find((one) => text.includes(one));
}"""


QUIET = 400  # ms without a run: what was typed or chosen starts one a moment later
_IDLE = """(quiet) => {
    const app = document.querySelector("[data-testid=stApp]");
    if (app && app.dataset.testScriptState !== "notRunning") window.idleSince = undefined;
    else window.idleSince ??= performance.now();
    return !app || performance.now() - window.idleSince >= quiet;
}"""


def onset(page: Page, after: str | None = None) -> str:
    """Wait until a trial is open, another than the one that began at ``after``; return its onset."""
    return _wait(page, after, 0, ())


def counting(page: Page, after: str | None = None, *words: str) -> str:
    """Wait until a trial is open, as :func:`onset`, and an answer to it counts, or the page shows one of these texts.

    Returns:
        The trial's onset, or the text.
    """
    return _wait(page, after, COUNTS, words)


def says(page: Page, *words: str) -> str:
    """Wait until the page shows one of these texts; return which, the first where there are several."""
    return _wait(page, None, None, words)


def press(page: Page, name: str | re.Pattern[str], role: Role = "button", *, exact: bool = False) -> None:
    """Click what the page now draws; one of the same name from the page before may stand beside it for a moment."""
    drawn = page.locator("[data-testid=stElementContainer][data-stale=false]")
    drawn.get_by_role(role, name=name, exact=exact).click()


def settled(page: Page) -> None:
    """Wait until no script of the app runs: till then what it has not drawn again is pale, and may be there twice."""
    page.evaluate("() => { window.idleSince = undefined; }")
    page.wait_for_function(_IDLE, arg=QUIET, polling=EVERY)


def _wait(page: Page, after: str | None, open_for: float | None, words: tuple[str, ...]) -> str:
    return page.wait_for_function(_SEEN, arg=[after, open_for, list(words)], polling=EVERY).json_value()
