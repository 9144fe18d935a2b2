"""How long a person waits: a gallery case, the first pair of maps, the same again, a cancel, a neuron's first image.

    python -m benchmarks.page --runs 3
    python -m benchmarks.page --cold --runs 3
    python -m benchmarks.page --memory

The second command prints the seconds from opening the page of a server that was just started to its first pair of maps.
The third prints what server, worker and reserve hold after each of ten analyses, and after two idle minutes.
Starts a server with a data folder of its own, drives headless Chromium on the same machine, and waits until the
worker is warm before the first click. Browser, server and worker share the cores, as on one person's laptop.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.page_memory import measure
from benchmarks.serving import FLAGS, start_server, stop_server
from spade_core.gallery.cases import cases, plainest

WARM = 45.0  # seconds after which the worker and its reserve have loaded the model
LONG = 120_000
# In the page: the driver waits for a busy page, a person does not. From the click to the frame after paint. It looks
# twenty times a second: at every frame it would have the browser paint all the time, on the cores that the job needs.
CLOCK = """() => {
    const waited = window.waited = {};
    const hosts = () => [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")];
    const pair = () => hosts().map((host) => host.shadowRoot?.querySelector(".maps .panel canvas")).find(Boolean);
    let start;
    addEventListener("click", () => { start ??= performance.now(); }, {capture: true, once: true});
    const seen = {
        pair,
        all: () => document.querySelector("[data-testid=stMain]").textContent.includes("Take it with you"),
        image: () => [...document.querySelectorAll("[data-testid=stMain] [data-testid=stImage]")].some(
            (shown) => /, step \\d+ of/.test(shown.textContent) && shown.querySelector("img")?.complete),
    };
    const look = () => {
        for (const [name, found] of Object.entries(seen))
            if (start !== undefined && !(name in waited) && found()) {
                waited[name] = null;
                requestAnimationFrame(() => requestAnimationFrame(() => {
                    waited[name] = (performance.now() - start) / 1000;
                }));
            }
        setTimeout(look, 50); // no observer hears what happens inside a component
    };
    look();
}"""


# The pictures of the slider lie in a shadow root. From the click on a tile to the frame that has its case painted.
GALLERY_CLOCK = """(title) => {
    const inside = (root) => [...root.querySelectorAll("*")].filter((one) => one.shadowRoot)
        .flatMap((one) => [...one.shadowRoot.querySelectorAll("img.after"), ...inside(one.shadowRoot)]);
    const before = inside(document)[0].src;
    window.waited = undefined;
    addEventListener("click", () => {
        const start = performance.now();
        const look = () => {
            const [image] = inside(document), told = document.querySelector("[data-testid=stMain] h3").textContent;
            if (image.src !== before && image.complete && told.includes(title))
                requestAnimationFrame(() => { window.waited = (performance.now() - start) / 1000; });
            else requestAnimationFrame(look);
        };
        look();
    }, {capture: true, once: true});
}"""


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Start the app with a data folder of its own; yield its address and the number of its process."""
    with tempfile.TemporaryDirectory() as folder:
        process, url = start_server("app.py", {"SPADE_DATA_DIR": folder})
        try:
            yield url, process.pid
        finally:
            stop_server(process)


def choose(page: Page, url: str) -> list[float]:
    """Choose every case of Home's gallery but the one that is shown; return the seconds until each is painted."""
    page.goto(url)
    found = []
    for case in cases().values():
        if case != plainest():
            tile = page.locator(f".st-key-tile_{case.name} button").first
            tile.scroll_into_view_if_needed()
            page.evaluate(GALLERY_CLOCK, case.title)
            tile.click()
            page.wait_for_function("window.waited", polling=200)
            found.append(page.evaluate("window.waited"))
    return found


def ask(page: Page, url: str, picture: str) -> tuple[float, float]:
    """Choose a picture on a fresh page and click *Run SPADE*; return the seconds to the first pair and to the end."""
    page.goto(f"{url}/saliency")
    button = page.get_by_role("button", name="Run SPADE")
    button.wait_for()
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name=picture).click()
    page.get_by_text("predicts for this picture").wait_for()
    time.sleep(2)
    page.evaluate(CLOCK)
    button.click()
    page.wait_for_function("window.waited.all && window.waited.pair", polling=500)
    return page.evaluate("window.waited.pair"), page.evaluate("window.waited.all")


def begin(page: Page, url: str) -> tuple[float, float]:
    """Open the page and click *Run SPADE* at once; return the seconds to the button and to the first pair of maps."""
    start = time.perf_counter()
    page.goto(f"{url}/saliency")
    button = page.get_by_role("button", name="Run SPADE")
    button.wait_for()
    page.evaluate(CLOCK)
    ready = time.perf_counter() - start
    button.click()
    page.wait_for_function("window.waited.pair", polling=200)
    return ready, time.perf_counter() - start


def cancel(page: Page, url: str) -> float:
    """Cancel a long job; return the seconds until the page says so."""
    page.goto(f"{url}/saliency?picture=bundled:palace&methods=lime,occlusion&seed=3")
    page.get_by_role("button", name="Run SPADE").click()
    button = page.get_by_role("button", name="Cancel")
    button.wait_for()
    time.sleep(1.5)
    start = time.perf_counter()
    button.click()
    page.get_by_text("Cancelled.").wait_for()
    return time.perf_counter() - start


def draw(page: Page, url: str, seed: int) -> float:
    """Click *Draw the neuron*; return the seconds to the first intermediate image, and cancel the drawing."""
    page.goto(f"{url}/neurons?picture=bundled:koala&steps=2048&seed={seed}")
    button = page.get_by_role("button", name="Draw the neuron")
    button.wait_for()
    time.sleep(2)
    page.evaluate(CLOCK)
    button.click()
    page.wait_for_function("window.waited.image", polling=500)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    return page.evaluate("window.waited.image")


def said(name: str, seconds: np.ndarray) -> str:
    """Return one line: the median and the range."""
    return f"{name:<12} median {np.median(seconds):.2f} s [{seconds.min():.2f}, {seconds.max():.2f}]\n"


def waits(page: Page, url: str, runs: int) -> None:
    """Print how long a person waits."""
    titles = ("Giant panda", "Koala in a tree", "Scarlet macaw", "American bison", "Cup of espresso", "Hawa Mahal")
    sys.stdout.write(said("gallery case", np.array(choose(page, url))))
    # Asked twice: the second answer comes from the kept results, onto a page that shows no maps yet.
    rows = np.array([(*ask(page, url, title), *ask(page, url, title)) for title in titles[:runs]])
    names = ("first pair", "everything", "again, pair", "again, all")
    for name, column in zip(names, rows.T, strict=True):
        sys.stdout.write(said(name, column))
    sys.stdout.flush()
    sys.stdout.write(f"cancelled    {cancel(page, url):.2f} s after the click\n")
    sys.stdout.write(said("neuron image", np.array([draw(page, url, seed) for seed in range(runs)])))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.split("\n")[0])
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="measure servers that were just started instead")
    parser.add_argument("--memory", action="store_true", help="measure what the processes hold instead")
    options = parser.parse_args()
    if options.cold:
        rows = [_cold(options.chromium) for _ in range(options.runs)]
        for name, column in zip(("cold, button", "cold, pair"), np.array(rows).T, strict=True):
            sys.stdout.write(said(name, column))
        return
    with server() as (url, process), _page(options.chromium) as page:
        page.goto(f"{url}/saliency")
        page.get_by_role("button", name="Run SPADE").wait_for()
        time.sleep(WARM)
        if options.memory:
            measure(page, url, process, lambda title: ask(page, url, title)[0])
        else:
            waits(page, url, options.runs)


@contextmanager
def _page(chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(LONG)
        yield page
        browser.close()


def _cold(chromium: str) -> tuple[float, float]:
    """Start server and browser, and begin."""
    with _page(chromium) as page, server() as (url, _):
        return begin(page, url)


if __name__ == "__main__":
    main()
