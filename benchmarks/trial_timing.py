"""How exactly the trial component measures a reaction time: clicks made inside the page at a known moment.

    python -m benchmarks.trial_timing --trials 50

Each click is scheduled in the page from the onset that the component exposes, as a person's eye and hand would be: the
driver's own way to the page takes longer and less regular.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.serving import FLAGS, serving

PAGE = "tests/app/trial_app.py"
TARGET = 800.0  # ms from the onset
WITHIN = 20.0
LONG = 120_000
# setTimeout is late by up to a few ms, and by more where the cores are busy, so the moments just before and after each
# click are noted too.
CLICKER = """(target) => {
    window.clickMoments = [];
    addEventListener("trialonset", (event) => {
        const root = event.composedPath()[0];
        const button = root.querySelector("[data-choice=region_1]");
        const since = () => performance.now() - Number(root.dataset.onset);
        setTimeout(() => {
            const before = since();
            button.click();
            window.clickMoments.push([before, since()]);
        }, target - since());
    });
}"""


@contextmanager
def trial_server(folder: Path) -> Iterator[str]:
    """Start the page of trials with its answers in ``folder``; yield its address."""
    with serving(PAGE, {"SPADE_TRIAL_LOG": str(folder)}) as url:
        yield url


def timed_answers(page: Page, url: str, folder: Path, run: str, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Answer ``trials`` trials by clicks inside the page.

    Returns:
        The recorded times, in ms, and for each click the moments just before and after it, (trials, 2).
    """
    page.goto(f"{url}/?run={run}&trials={trials + 1}")  # the first may come before the clicker is there
    page.locator(".trial[data-onset]").wait_for()
    page.evaluate(CLICKER, TARGET)
    page.wait_for_timeout(600)
    page.keyboard.press("1")
    page.get_by_text("All answered.").wait_for()
    rows = [json.loads(line) for line in (folder / f"{run}.jsonl").read_text().splitlines()]
    return np.array([row["rt_ms"] for row in rows[1:]]), np.array(page.evaluate("window.clickMoments"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial_timing", description=__doc__.split("\n")[0])
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--trials", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, trial_server(Path(name)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(LONG + 3000 * options.trials)
        times, clicks = timed_answers(page, url, Path(name), "timing", options.trials)
        browser.close()
    good = int((np.abs(times - TARGET) <= WITHIN).sum())
    sys.stdout.write(f"{good} of {len(times)} clicks at {TARGET:.0f} ms recorded within {WITHIN:.0f} ms\n")
    spread = f"median {np.median(times):.1f}, sd {times.std():.2f}, range [{times.min():.1f}, {times.max():.1f}] ms"
    sys.stdout.write(spread + "\n")
    sys.stdout.write(f"farthest from the click's own moment: {np.abs(times - clicks[:, 0]).max():.1f} ms\n")


if __name__ == "__main__":
    main()
