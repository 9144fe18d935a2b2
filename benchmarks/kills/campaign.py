"""Hundreds of interruptions, one around an answer each, and after each the ledger beside the database."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks.kills.databases import POSTGRESQL, SQLITE, Postgres, database
from benchmarks.kills.ledger import Click, Ledger, answers_of
from benchmarks.kills.participant import Delivery, Participant
from benchmarks.kills.records import Record
from benchmarks.kills.server import PATIENCE, Server
from benchmarks.kills.trap import ANY, STEPS
from benchmarks.kills.troubles import KINDS, Trouble
from benchmarks.survey_browser import current, ready
from spade_core.cli.common import Meter
from spade_core.files import resumed
from spade_core.progress import Progress
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import demo_design
from spade_core.study.design.schedule import seeded
from spade_core.study.running.answers import give
from spade_core.study.running.flow import claim
from spade_core.study.running.person import Person
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

BEFALLS = {SQLITE: ("kill", "cut", "clock", "disk"), POSTGRESQL: ("kill", "cut", "database")}
FEW_PRACTICE = {"practice": 2, "practice_pass": 0, "quota": 1_000_000}
Planned = Mapping[str, tuple[str, str, str]]
"""Key -> database, kind, step."""
MOST_PAGES = 10  # that a participant turns between two answers


def plan(interruptions: int, kinds: Sequence[str], databases: Sequence[str]) -> Planned:
    """Return key -> database, kind and step: as many of each kind, and each kind at one step after the other."""
    pairs = [(name, kind) for name in databases for kind in BEFALLS[name] if kind in kinds]
    turns = ((f"{name} {kind} {number}", (name, kind, number)) for number in count() for name, kind in pairs)
    steps = (*STEPS, ANY)
    chosen = islice(turns, max(0, interruptions) if pairs else 0)
    return {key: (name, kind, steps[number % len(steps)]) for key, (name, kind, number) in chosen}


def interrupt(planned: Planned, *, seed: int, file: Path | None = None, disk: Path | None = None) -> list[Record]:
    """Return what became of each planned interruption; progress and whatever came to grief go to standard error.

    Args:
        file: where each is noted, and where an earlier run's are found.
        disk: a small file system, which is filled for “disk”; None: the server may write no more.

    Raises:
        ConfigError: the file holds something else, or another seed's records.
    """
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        for record in _records(planned, seed, file or Path(folder) / "records.jsonl", disk):
            found.append(record)
            if record.failed:
                sys.stderr.write(f"{record}\n")
    return found


def _records(planned: Planned, seed: int, file: Path, disk: Path | None) -> Iterator[Record]:
    meter, before = Meter(), 0
    settings = {"seed": seed} if disk is None else {"seed": seed, "disk": "a small file system"}
    for name in BEFALLS:
        items = {key: item for key, item in planned.items() if item[0] == name}
        progress = _part(meter, before, len(planned))
        with Rig(name, disk) as rig:

            def measured(key: str, item: tuple[str, str, str], rig: Rig = rig) -> dict[str, Any]:
                return rig.interrupt(*item[1:], seeded(f"{seed}/{key}")).row()

            yield from map(Record.of, resumed(file, items, measured, settings=settings, progress=progress))
        before += len(items)


def _part(progress: Progress, before: int, of: int) -> Progress:
    """Report as a part of the whole, which begins where others have ended."""
    return lambda done, _total, note: progress(before + done, of, note)


class Rig:
    """A study, the server of its trials and one participant after the other, used as a context manager.

    All is made for the first interruption; there may be none left.

    Attributes:
        small: whether it lies on a small file system of its own.
    """

    folder: Path
    server: Server
    store: Store

    def __init__(self, name: str, disk: Path | None) -> None:
        self.name, self._disk, self.small, self.ledger = name, disk, disk is not None, Ledger()
        self.postgres: Postgres | None = None
        self.participant: Participant | None = None
        self._made, self._stack = False, ExitStack()
        self._numbers = count()
        self._shown: Mapping[str, Any] | None = None  # the trial on the participant's screen
        self._usual = 0.0  # seconds that a message takes

    def __enter__(self) -> Rig:
        return self

    def _make(self) -> None:
        address, self.folder, self.postgres = self._stack.enter_context(database(self.name, self._disk))
        environment = {"SPADE_DATA_DIR": str(self.folder), "SPADE_DATABASE_URL": address}
        self.store = Store(address, backups=self.folder)
        self.key = publish(self.store, demo_design().model_copy(update=FEW_PRACTICE), load_set(DEMO_SET))
        self.store.close()  # a fork must not share a connection
        self.server = self._stack.enter_context(Server(environment, self.folder / "server.log"))
        self._made = True

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def interrupt(self, kind: str, step: str, rng: random.Random) -> Record:
        """Let trouble strike at a step of the next answer, and say what has become of this and all answers before."""
        if not self._made:
            self._make()
        trial, click, trouble = self._trial(), Click.drawn(rng), KINDS[kind](self, rng)
        self.ledger.clicks[trial] = click
        if step != ANY:
            self.server.trap.set(step)
        message = {"answer": click.message(trial)}
        delivery = self._ask().deliver(message, lambda: self._meanwhile(trouble, step, rng), trouble.missed)
        trouble.heal()
        twice = self._heard(trial, delivery)
        found = self.ledger.compare(self._answers())
        if delivery.step is None:
            self._anew()
        return Record(
            self.name,
            kind,
            step,
            len(found.lost),
            len(found.doubled) + twice,
            int(delivery.step is None),
            delivery.attempts,
            round(delivery.seconds, 3),
            delivery.trouble,
        )

    def _meanwhile(self, trouble: Trouble, step: str, rng: random.Random) -> None:
        if step == ANY:
            time.sleep(rng.uniform(0, self._usual))
            trouble.strike()
            return
        if not self.server.trap.caught(PATIENCE):
            raise RuntimeError(f"the server did not come to the step “{step}”: {self.server.log.read_text()[-2000:]}")
        trouble.strike()
        if self.server.lives:
            self.server.trap.let_go()

    def _heard(self, trial: str, delivery: Delivery) -> bool:
        """Take in what came of an answer; return whether it is asked for once more."""
        if delivery.step is None:
            return False
        if delivery.step["stored"]:
            self.ledger.acknowledged.add(trial)
        self._shown = delivery.step["trial"]
        again = self._shown is not None and self._shown["feedback"] is None
        return again and (self._shown or {})["trial_id"] in self.ledger.clicks

    def _answers(self) -> dict[str, Click]:
        found = answers_of(self.store)
        self.store.close()
        return found

    def _ask(self) -> Participant:
        if self.participant is None:
            self.participant = self._enter()
        return self.participant

    def _enter(self) -> Participant:
        """Let somebody new begin, and go as far as the first trial."""
        who, query = ready(self.store, self.key, f"struck{next(self._numbers)}")
        tab = who.row.uid[:16]
        self._who: Person = claim(self.store, who, tab)
        self.store.close()
        token = query.rpartition("=")[2]
        return Participant(self.server.host, {"study": self.key, "token": token, "tab": tab})

    def _trial(self) -> str:
        """Return the id of the trial that waits for an answer, past feedback, breaks and the end of a participation."""
        for _ in range(MOST_PAGES):
            self._told({})  # what a page does that was just opened; the server is warm then
            if self._shown is None:
                self._turn_page()
            elif self._shown["feedback"] is not None:
                self._told({"read": self._shown["trial_id"]})
            if self._shown is not None and self._shown["feedback"] is None:
                return str(self._shown["trial_id"])
        raise RuntimeError("no trial comes, however often the page is turned")

    def _told(self, message: Mapping[str, object]) -> None:
        """Send what nothing happens to."""
        delivery = self._ask().deliver(message)
        if delivery.step is None:
            raise RuntimeError(f"without any interruption: {delivery.trouble}; {self.server.log.read_text()[-2000:]}")
        self._shown, self._usual = delivery.step["trial"], delivery.seconds

    def _turn_page(self) -> None:
        """Do what the page does where no trial comes by the route: go on after a break, or end."""
        trial = current(self.store, self._who)
        if trial is None:
            self.participant = None
        else:
            give(self.store, trial)
        self.store.close()

    def _anew(self) -> None:
        """Begin with another participant and a server that is as new."""
        self.server.kill()
        self.server.start()
        self.participant, self._shown = None, None
