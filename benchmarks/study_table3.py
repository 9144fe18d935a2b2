"""Table 3 of the paper as bots fill it: every policy through the real flow, database and analysis, on the demo set.

    python -m benchmarks.study_table3 --bots 60
    python -m benchmarks.study_table3 --policies rater undecided-shifter

Bots say how the software behaves, nothing about people; the paper's figures stand beside them for their layout. The
demo's design is used without its exclusions, so that careless bots are shown too; how many it would leave out is
printed. The undecided-shifter guesses, and says "cannot tell" less often with SPADE: it must move agreement and leave
half credit alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spade_core.study.analysis.evaluation import evaluate
from spade_core.study.analysis.findings import NoResult, StudyResult
from spade_core.study.analysis.tables import PAPER_NOTE, markdown_table, table3_rows
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import Design, demo_design
from spade_core.study.monitoring.people import monitor
from spade_core.study.running.bots import POLICIES, simulate
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set


@dataclass(frozen=True)
class Run:
    """``ends`` (status -> bots), ``noticed`` (how many the demo design's exclusions would leave out), the result."""

    ends: Mapping[str, int]
    noticed: int
    result: StudyResult | NoResult


def run(policy: str, bots: int, seed: int, *, stimuli: Path = DEMO_SET, **changes: object) -> Run:
    """Let bots of one policy take part in a new study of the demo's design, with other ``changes`` to it if any."""
    with tempfile.TemporaryDirectory(prefix="spade-table3-") as folder:
        store = Store(f"sqlite:///{Path(folder) / 'bots.sqlite3'}", lasting=False)
        try:
            key = publish(store, _design(bots).model_copy(update=changes), load_set(stimuli))
            ends = simulate(store, key, bots, policy, seed)
            rules = set(demo_design().analysis.exclusions)
            noticed = sum(bool(rules & set(row["failed"])) for row in monitor(store, key, bots=True).rows)
            return Run(ends, noticed, evaluate(store, key).result)
        finally:
            store.close()


def _design(bots: int) -> Design:
    design = demo_design()
    analysis = design.analysis.model_copy(update={"exclusions": (), "target_participants": max(2, bots)})
    return design.model_copy(update={"quota": bots, "analysis": analysis})


def text_of(policy: str, found: Run) -> str:
    """Return one policy's Table 3 beside the paper's, and what the analysis says."""
    result = found.result
    ends = ", ".join(f"{status.replace('_', ' ')} {count}" for status, count in sorted(found.ends.items()))
    lines = [f"## SIMULATED: {policy}", f"{ends}; the design's exclusions would leave out {found.noticed}."]
    if isinstance(result, StudyResult):
        lines += [markdown_table(table3_rows(result)), *result.texts[:2]]
    return "\n\n".join([*lines, result.verdict])


def main(argv: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_table3", description=__doc__.split("\n")[0])
    parser.add_argument("--bots", type=int, default=60, help="of each policy")
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES), metavar="P")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    print(f"{options.bots} bots of each policy, seed {options.seed}. {PAPER_NOTE}")
    for policy in options.policies:
        print(f"\n{text_of(policy, run(policy, options.bots, options.seed))}", flush=True)


if __name__ == "__main__":
    main()
