"""Waits that end with the next frame of the page: a locator that has waited for a while looks only every half second."""

from __future__ import annotations

from playwright.sync_api import Page

COUNTS = 510  # ms after its onset an answer to a trial counts; the component's own limit is 500
_TRIALS = """
    const trials = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
        .map((host) => host.shadowRoot?.querySelector(".trial"));
"""
_ONSET = f"""([before, open]) => {{
    {_TRIALS}
    const begun = (trial) => trial?.dataset.onset && trial.dataset.onset !== before
        && performance.now() - Number(trial.dataset.onset) >= open;
    return trials.find(begun)?.dataset.onset;
}}"""
_SAYS = f"""(wanted) => {{
    {_TRIALS}
    const text = [document.body, ...trials].map((part) => part?.innerText).join("\\n");
    return wanted.find((words) => text.includes(words));
}}"""
EVERY = 30  # ms between two looks at all of the page's text


def onset(page: Page, after: str | None = None, open_for: float = 0) -> str:
    """Wait until a trial is open, another than the one that began at ``after``; return its onset.

    Args:
        open_for: ms since its onset.
    """
    return page.wait_for_function(_ONSET, arg=[after, open_for]).json_value()


def counting(page: Page, after: str | None = None) -> str:
    """Wait until a trial is open, as :func:`onset`, and an answer to it counts; return its onset."""
    return onset(page, after, COUNTS)


def says(page: Page, *words: str) -> str:
    """Wait until the page shows one of these texts; return which, the first where there are several."""
    return page.wait_for_function(_SAYS, arg=list(words), polling=EVERY).json_value()
