"""Does an answer survive what happens to server, connection, clock, disk and database around it? A ledger of clicks.

    python -m benchmarks.study_kills --kills 60 --cuts 30
    python -m benchmarks.study_kills --interruptions 600 --resume kills.jsonl

The first way goes end to end, in headless Chromium. A third each: after the click and before the commit, after the
commit and before the acknowledgement, and after the acknowledgement before the next trial. A killed server is started
again; one whose connections were cut runs on, what was on its way is lost, and the page connects anew. The participant
goes on. At the end the ledger is compared with the database.

The second way goes by the trials' route alone and is some fifty times as fast (``benchmarks/kills``): a participant of
plain HTTP keeps and repeats an answer as the component does, and the server stops at a step of its way (received,
transaction begun, decided, its first row written, just before and just after the commit, before, within and after the
response) or at any moment, where its process is killed, the connection cut, its clock turned by a minute, its disk full
for a while, or PostgreSQL killed and started again. The whole ledger is compared with the database after each.

The exit code is 1 where ledger and database differ, or an answer is not acknowledged.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from sqlalchemy import select

from benchmarks.breakable import Line
from benchmarks.kills.campaign import BEFALLS, interrupt, plan
from benchmarks.kills.records import table
from benchmarks.kills.troubles import KINDS, is_small
from benchmarks.serving import FLAGS, start_server, stop_server
from benchmarks.survey_browser import BOUNCE_MS, PATIENCE, answered, current, ready, to_trial
from spade_core.errors import ConfigError
from spade_core.files import write_whole
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Event, Trial
from spade_core.study.design.design import demo_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

STAGES = ("before the commit", "after the commit", "after the acknowledgement")
LONG = 120_000
MOST_PEOPLE = 100
KEPT = "() => Object.keys(sessionStorage).some((name) => name.includes(':answer'))"


class Server:
    """The app's server, which can be killed and started again at its address; ``first`` as in :func:`start_server`."""

    def __init__(self, folder: str, first: str = "pass") -> None:
        self.environment, self.first = {"SPADE_DATA_DIR": folder, "SPADE_JOBS": "inline"}, first
        self.process, self.url = start_server("app.py", self.environment, first=first)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start it again."""
        port = int(self.url.rsplit(":", 1)[1])
        self.process, _ = start_server("app.py", self.environment, port=port, first=self.first)


class Trouble(Protocol):
    """What happens around an answer; ``name`` is the word for it, ``url`` where the browser finds the server."""

    name: str
    url: str

    def prepare(self, stage: str) -> None:
        """Before the answer is sent: keep the stage from passing too soon."""

    def strike(self) -> None:
        """Do it; afterwards the server can be reached again."""


class Kills:
    """The server is killed; before the commit by stopping it while the click happens."""

    name = "killed"

    def __init__(self, server: Server) -> None:
        self.server, self.url = server, server.url

    def prepare(self, stage: str) -> None:
        if stage == STAGES[0]:
            os.kill(self.server.process.pid, signal.SIGSTOP)

    def strike(self) -> None:
        self.server.kill()
        self.server.start()


class Cuts:
    """The connections are cut; before, what belongs to the stages after is held up on its way."""

    name = "cut"

    def __init__(self, line: Line) -> None:
        self.line, self.url = line, line.url

    def prepare(self, stage: str) -> None:
        self.line.hold(to_server=stage == STAGES[0], to_browser=stage == STAGES[1])

    def strike(self) -> None:
        self.line.cut()


@dataclass
class Ledger:
    """What the client knows.

    Attributes:
        clicks: trial id -> the choice that was clicked; struck: (trouble, stage) -> how often.
    """

    clicks: dict[str, str] = field(default_factory=dict)
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)

    def times(self, trouble: Trouble) -> int:
        """Return how often a trouble has struck."""
        return sum(count for (name, _), count in self.struck.items() if name == trouble.name)

    def agrees(self, store: Store) -> bool:
        """Print how ledger and database agree; return whether they do."""
        rows = store.run(lambda session: list(session.scalars(select(Trial).where(Trial.answered.is_not(None)))))
        kinds = store.run(lambda session: list(session.scalars(select(Event.kind))))
        found = {row.id: row.choice for row in rows}
        for (name, stage), count in self.struck.items():
            _say(f"{name + ' ' + stage:<32} {count}")
        wrong = sum(found.get(trial) != choice for trial, choice in self.clicks.items())
        extra = found.keys() - self.clicks.keys()
        _say(
            f"ledger {len(self.clicks)} answers, database {len(found)}: {wrong} lost or changed, "
            f"{len(extra)} that nobody gave, {kinds.count('refused answer')} refused"
        )
        return not (wrong or extra)


def main() -> int:
    """Interrupt, compare and print; return 1 where an answer came to grief."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_kills", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    chromium = parser.add_argument_group("in Chromium")
    chromium.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    chromium.add_argument("--kills", type=int, default=60, help="of the server (default: %(default)s)")
    chromium.add_argument("--cuts", type=int, default=30, help="of its connections (default: %(default)s)")
    route = parser.add_argument_group("by the route alone")
    route.add_argument("--interruptions", type=int, metavar="N", help="in all, of the kinds and databases in turn")
    route.add_argument("--resume", type=Path, metavar="FILE", help="note each there, and go on from it")
    route.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(default: all)")
    route.add_argument("--database", nargs="+", choices=BEFALLS, default=list(BEFALLS), help="(default: both)")
    small = "a small file system, filled for “disk” (default: the server's process may write no more)"
    route.add_argument("--disk", type=Path, metavar="DIR", help=small)
    route.add_argument("--out", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    return _in_chromium(options) if options.interruptions is None else _by_route(parser, options)


def _by_route(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    planned = plan(options.interruptions, options.kinds, options.database)
    if not planned:
        parser.error("nothing to do: give one interruption or more, of kinds that befall the database")
    if options.disk is not None and not is_small(options.disk):
        parser.error(f"{options.disk} is no small file system, 1 GB at most: mount -t tmpfs -o size=64m tmpfs DIR")
    if options.resume is not None:
        options.resume.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and databases end with it
    try:
        records = interrupt(planned, seed=options.seed, file=options.resume, disk=options.disk)
    except ConfigError as error:
        parser.error(str(error))
    _say(table(records))
    if options.out is not None:
        write_whole(options.out, table(records).encode())
    return int(any(record.failed for record in records))


def _in_chromium(options: argparse.Namespace) -> int:
    ledger, rng = Ledger(), random.Random(options.seed)  # noqa: S311 - repeatable
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = Store(f"sqlite:///{Path(folder) / 'study.sqlite3'}")
        key = publish(store, demo_design(), load_set(DEMO_SET))
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        server = Server(folder)
        try:
            _people(browser, Kills(server), store, key, ledger, options.kills, rng)
            with Line(server.url) as line:
                _people(browser, Cuts(line), store, key, ledger, options.cuts, rng)
        finally:
            stop_server(server.process)
            browser.close()
        agree = ledger.agrees(store)
        store.close()
    return 0 if agree else 1


def _people(
    browser: Browser, trouble: Trouble, store: Store, key: str, ledger: Ledger, times: int, rng: random.Random
) -> None:
    """Let one participant after the other take part until the trouble has struck this often."""
    for number in range(MOST_PEOPLE):
        if ledger.times(trouble) >= times:
            return
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(LONG)
        try:
            participate(page, trouble, store, key, f"{trouble.name}{number}", ledger, times, rng)
        except PlaywrightError:
            _say(f"the page stands still at {page.url}:\n{page.locator('body').inner_text()}")
            raise
        page.context.close()
        _say(f"{trouble.name} {ledger.times(trouble)} of {times} times")


def participate(
    page: Page,
    trouble: Trouble,
    store: Store,
    key: str,
    external_id: str,
    ledger: Ledger,
    times: int,
    rng: random.Random,
) -> None:
    """Answer trial after trial; after practice the trouble strikes around every answer, until it did ``times``."""
    who, query = ready(store, key, external_id)
    page.goto(trouble.url + query)
    while (struck := ledger.times(trouble)) < times and (trial := current(store, who)) is not None:
        practice = trial.type == "practice"
        choice = trial.reference_side if practice else rng.choice(("region_1", "region_2"))
        to_trial(page)
        ledger.clicks[trial.id] = choice
        if practice:
            _click(page, choice)
        else:
            stage = STAGES[struck % len(STAGES)]
            _answer(page, trouble, store, trial, choice, stage)
            ledger.struck[trouble.name, stage] += 1
        _wait(lambda name=trial.id: answered(store, name))  # type: ignore[misc]
        if practice:
            page.get_by_role("button", name="Continue").click()
        page.wait_for_timeout(600)


def _answer(page: Page, trouble: Trouble, store: Store, trial: Trial, choice: str, stage: str) -> None:
    """Answer a trial, and let the trouble strike at the given moment."""
    _click(page, choice, lambda: trouble.prepare(stage))
    if stage == STAGES[0]:
        page.wait_for_timeout(100)
        if answered(store, trial.id):
            raise RuntimeError("the answer was committed too soon: nothing held it up")
    else:
        _wait(lambda: answered(store, trial.id), pause=0.001)
    if stage == STAGES[2]:
        # A break or the end takes the trial's component away before it hears of the acknowledgement.
        _wait(lambda: not page.evaluate(KEPT) or not page.locator(".trial").count(), pause=0.001)
    trouble.strike()


def _click(page: Page, choice: str, before: Callable[[], None] = lambda: None) -> None:
    """Choose and say how sure; then the answer is sent."""
    page.get_by_role("button", name=re.compile("Region 1" if choice == "region_1" else "Region 2")).click()
    page.wait_for_timeout(BOUNCE_MS)
    before()
    page.get_by_role("button", name=re.compile("Fairly sure")).click()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _wait(done: Callable[[], bool], pause: float = 0.05) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(f"nothing happened for {PATIENCE:.0f} s: an answer may be lost")
        time.sleep(pause)


if __name__ == "__main__":
    sys.exit(main())
