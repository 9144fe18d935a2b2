"""Does an answer survive when the server is killed around it? In headless Chromium, with SIGKILL and a ledger of
clicks.

    python -m benchmarks.study_kills --kills 60

A third each: after the click and before the commit (the server is stopped while the click happens), after the commit
and before the acknowledgement, and after the acknowledgement before the next trial. Then the server is started again,
and the participant goes on. At the end the ledger is compared with the database, and the exit code is 1
where they differ.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

from benchmarks.serving import FLAGS, start_server, stop_server
from benchmarks.survey_browser import BOUNCE_MS, PATIENCE, answered, current, ready, to_trial
from spade_core.study.design import demo_design
from spade_core.study.flow import Person
from spade_core.study.stimulus_set import DEMO_SET, load_set
from spade_core.study.store import Store
from spade_core.study.studies import publish
from spade_core.study.tables import Event, Trial

STAGES = ("before the commit", "after the commit", "after the acknowledgement")
LONG = 60_000
KEPT = "() => Object.keys(sessionStorage).some((name) => name.includes(':answer'))"


class Server:
    """The app's server, which can be killed and started again at its address."""

    def __init__(self, folder: str) -> None:
        self.environment = {"SPADE_DATA_DIR": folder, "SPADE_JOBS": "inline"}
        self.process, self.url = start_server("app.py", self.environment)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process, _ = start_server("app.py", self.environment, port=int(self.url.rsplit(":", 1)[1]))


def main() -> int:
    """Kill, compare and print; return 1 where ledger and database differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_kills", description=__doc__.split("\n")[0])
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ledger: dict[str, str] = {}
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = Store(f"sqlite:///{Path(folder) / 'study.sqlite3'}")
        key = publish(store, demo_design(), load_set(DEMO_SET))
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        server, rng = Server(folder), random.Random(options.seed)  # noqa: S311 - repeatable
        try:
            for person in range(100):
                if counts.total() >= options.kills:
                    break
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                page.set_default_timeout(LONG)
                _participate(
                    page, server, store, ready(store, key, f"killed{person}"), ledger, counts, options.kills, rng
                )
                page.context.close()
        finally:
            stop_server(server.process)
            browser.close()
        agree = _compare(store, ledger, counts)
        store.close()
    return 0 if agree else 1


def _participate(
    page: Page, server: Server, store: Store, ready: tuple[Person, str], ledger: dict[str, str], counts: Counter[str],
    kills: int, rng: random.Random,
) -> None:  # fmt: skip
    """Answer trial after trial; in the main phase the server is killed around every answer."""
    who, query = ready
    page.goto(server.url + query)
    while counts.total() < kills:
        trial = current(store, who)
        if trial is None:
            return
        choice = trial.reference_side if trial.type == "practice" else rng.choice(("region_1", "region_2"))
        to_trial(page)
        ledger[trial.id] = choice
        stage = None if trial.type == "practice" else STAGES[counts.total() % len(STAGES)]
        _answer(page, server, store, trial, choice, stage)
        if stage is not None:
            counts[stage] += 1
        _wait(lambda name=trial.id: answered(store, name))
        if trial.type == "practice":
            page.get_by_role("button", name="Continue").click()
        page.wait_for_timeout(600)


def _answer(page: Page, server: Server, store: Store, trial: Trial, choice: str, stage: str | None) -> None:
    """Choose and say how sure, and kill the server at the given moment."""
    page.get_by_role("button", name=re.compile("Region 1" if choice == "region_1" else "Region 2")).click()
    page.wait_for_timeout(BOUNCE_MS)
    if stage == STAGES[0]:
        os.kill(server.process.pid, signal.SIGSTOP)
    page.get_by_role("button", name=re.compile("Fairly sure")).click()  # now the answer is sent
    if stage is None:
        return
    if stage == STAGES[0]:
        page.wait_for_timeout(100)
    else:
        _wait(lambda: answered(store, trial.id), pause=0.001)
    if stage == STAGES[2]:
        # A break or the end takes the trial's component away before it hears of the acknowledgement.
        _wait(lambda: not page.evaluate(KEPT) or not page.locator(".trial").count(), pause=0.001)
    server.kill()
    server.start()


def _wait(done: Any, pause: float = 0.05) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(f"nothing happened for {PATIENCE:.0f} s: an answer may be lost")
        time.sleep(pause)


def _compare(store: Store, ledger: dict[str, str], counts: Counter[str]) -> bool:
    """Print how ledger and database agree; return whether they do."""
    rows = store.run(lambda session: list(session.scalars(select(Trial).where(Trial.answered.is_not(None)))))
    refused = store.run(lambda session: list(session.scalars(select(Event.kind).where(Event.kind == "refused answer"))))
    found = {row.id: row.choice for row in rows}
    for stage in STAGES:
        sys.stdout.write(f"killed {stage:<26} {counts[stage]}\n")
    wrong, extra = sum(found.get(name) != choice for name, choice in ledger.items()), found.keys() - ledger.keys()
    sys.stdout.write(
        f"ledger {len(ledger)} answers, database {len(found)}: {wrong} lost or changed, "
        f"{len(extra)} that nobody gave, {len(refused)} refused\n"
    )
    return not (wrong or extra)


if __name__ == "__main__":
    sys.exit(main())
