"""How long does a participant wait for the server when many take part at once? Bots by the websocket, one server.

    python -m benchmarks.study_load --people 20 --people 50

Every bot goes through the demo study in a thread of its own and thinks between its answers as long as people do at
least. Bots and server share the machine, so the server alone is a little faster than this.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.serving import serving
from benchmarks.survey_record import participate
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import demo_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

THINK = (2.0, 4.0)  # seconds between two answers
ARRIVE = 20.0  # seconds within which all begin


@dataclass
class Waits:
    """What bots met.

    Attributes:
        answers: seconds from an answer to its acknowledgement with the next trial; complete: bots that saw their code;
        problems: of the others, in words.
    """

    answers: list[float] = field(default_factory=list)
    complete: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_load", description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, action="append", help="at once; may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for people in options.people or [20, 50]:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(f"sqlite:///{Path(folder) / 'study.sqlite3'}")
            key = publish(store, demo_design().model_copy(update={"quota": 10 * people}), load_set(DEMO_SET))
            with serving("app.py", {"SPADE_DATA_DIR": folder, "SPADE_JOBS": "inline"}) as url:
                participate(url, store, key, 0, options.seed)  # the server has read its modules then
                start = time.perf_counter()
                waits = _together(url, store, key, people, options.seed + 1)
                _report(people, waits, time.perf_counter() - start)
            store.close()


def _together(url: str, store: Store, key: str, people: int, seed: int) -> Waits:
    """Let bots take part at once, each in a thread."""
    waits = Waits()

    def go(number: int) -> None:
        time.sleep(ARRIVE * number / people)
        try:
            record = participate(url, store, key, number, seed, THINK)
        except Exception as error:  # noqa: BLE001 - whatever a participant would meet is counted
            waits.problems.append(f"{type(error).__name__}: {error}"[:200])
            return
        waits.complete += record.code
        waits.answers += record.seconds.values()

    threads = [threading.Thread(target=go, args=(number,), daemon=True) for number in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def _report(people: int, waits: Waits, seconds: float) -> None:
    middle, most, last = np.percentile(waits.answers or [np.nan], (50, 95, 100))
    _say(f"{people} bots at once: {waits.complete} complete in {seconds:.0f} s, {len(waits.problems)} failed")
    _say(f"  {len(waits.answers)} answers: median {middle:.2f} s, 95 % within {most:.2f} s, slowest {last:.2f} s")
    for problem in waits.problems[:3]:
        _say(f"  {problem}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
