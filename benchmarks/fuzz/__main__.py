"""What strangers write at the doors that parse: links, designs, ids, answers, frames, texts, files of all kinds.

    python -m benchmarks.fuzz --inputs 1000000 --resume fuzz.json

Each input is a good one of its door, changed in some places: cut, doubled, spliced with another, with a hostile piece
put in, or with other values in its JSON, YAML or query. A door may refuse it by a sentence (``SpadeError``); anything
else that is raised is printed with its input, by kind, and the command ends with 1; so does an input that takes longer
than ``PATIENCE``. An input follows from the seed and its number alone: a run that was stopped goes on where
``--resume`` has noted it, and its numbers find any input again. Frames are those of the pages' websocket, with what the
study reads of them; with ``--served N`` so many of them, and as many bodies for the route of the trials, go to servers
that run (``SPADE_MODE=study`` and ``local``), whose log, memory and answers are watched.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fuzz import served
from benchmarks.fuzz.run import WARM, Run
from spade_core.files import write_whole


def main() -> int:
    """Try so many inputs, going on where an earlier run was stopped, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="in all (default: %(default)s)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="note there how far it has come, and go on from it")
    parser.add_argument("--seed", type=int, default=0)
    chosen: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME"}
    parser.add_argument("--door", help="only this door's of these inputs, for instance after a mend", **chosen)
    parser.add_argument("--without", help="all but this door's", **chosen)
    parser.add_argument("--served", type=int, default=0, metavar="N", help="instead: to servers that run")
    options = parser.parse_args()
    if options.served:
        return _serve(options.served, options.seed)
    run, file = Run(options.seed), options.resume
    if file is not None and file.exists():
        run = Run(**json.loads(file.read_text(encoding="utf-8")))
        if run.seed != options.seed:
            parser.error(f"{file} is of seed {run.seed}: give that one, or another file")

    def note() -> None:
        if file is not None:
            write_whole(file, json.dumps(asdict(run)).encode())

    with tempfile.TemporaryDirectory() as folder:
        run.go_on(Path(folder), inputs=options.inputs, note=note, only=options.door, without=options.without)
    note()
    show(run)
    return int(bool(run.found))


def _serve(inputs: int, seed: int) -> int:
    found = [served.serve_and_send(mode, seed, inputs) for mode in served.MODES]
    print("\n".join([served.HEADING, *(one.row() for one in found)]))
    for one in found:
        served.show(one)
    return int(any(one.found for one in found))


def show(run: Run) -> None:
    """Print a table of the doors, what memory did, and each kind of fault with an input that shows it."""
    print("| door | inputs | refused by a sentence | slowest, s |\n|---|---|---|---|")
    for name, count in run.tried.items():
        print(f"| {name} | {count:,} | {run.refused[name] / count:.0%} | {run.slowest[name]:.2f} |")
    print(f"{sum(run.tried.values()):,} inputs, {len(run.found)} kinds of fault; {_memory(run)}")
    for kind, text in run.found.items():
        print(f"{kind}\n    {text}")


def _memory(run: Run) -> str:
    growth = run.growth()
    if growth is None:
        return f"memory is compared from input {WARM:,} on"
    slope, low, high = growth
    held = [mib for at, mib in run.memory if at >= WARM]
    return (
        f"memory {held[0]:.0f} MiB after {WARM:,} inputs, {held[-1]:.0f} MiB at the end, {max(held):.0f} MiB at most: "
        f"{slope:+.2f} [{low:+.2f}, {high:+.2f}] MiB in 100,000 inputs"
    )


if __name__ == "__main__":
    sys.exit(main())
