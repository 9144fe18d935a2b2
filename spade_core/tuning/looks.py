"""What tables score on a folder's pictures: each table, picture and method is measured once, and kept at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spade_core.evaluation.maps import prepare
from spade_core.evaluation.protocols import PROTOCOLS, Case
from spade_core.files import Journal
from spade_core.progress import Progress, silent, span
from spade_core.pruning.calibration import Shared
from spade_core.tuning.search import Score, Table
from spade_core.tuning.space import Space


@dataclass(eq=False)
class Looks:
    """The judge of searches.

    Attributes:
        cases: the pictures; methods: of each search, by its name; rounds: how often the judge will be asked.
        journal: of rows ``score`` (the objective's metric) and ``kept`` (class kept, 0 to 1, the mean of a
            bundle's traces).
        progress: called with (done, 1, note); may raise ``Cancelled``.
    """

    space: Space
    cases: Sequence[Case]
    methods: Mapping[str, tuple[str, ...]]
    journal: Journal
    rounds: int
    progress: Progress = silent
    seen: set[Table] = field(default_factory=set)
    _round: int = 0
    _begun: float | None = None  # what was done before this process measured anything

    def __call__(self, wanted: Mapping[str, Sequence[Table]]) -> dict[str, dict[Table, Score]]:
        """Return the scores of the tables that each search asks for."""
        needed: dict[Table, set[str]] = {}
        for name, tables in wanted.items():
            for table in tables:
                needed.setdefault(table, set()).update(self.methods[name])
        self._measure(needed)
        self._round += 1
        self.seen |= needed.keys()
        return {name: {table: self._score(table, self.methods[name]) for table in wanted[name]} for name in wanted}

    def _measure(self, needed: Mapping[Table, set[str]]) -> None:
        """Measure what is not in the journal: picture by picture, tables that begin alike one after the other."""
        missing = [
            (case, table, methods)
            for case in self.cases
            for table in sorted(needed)
            if (methods := self._missing(case, table, needed[table]))
        ]
        known = Shared()
        for at, (case, table, methods) in enumerate(missing):
            edges = [(self._round + part / len(missing)) / self.rounds for part in (at, at + 1)]
            part = span(self._left(edges[0]), *edges)
            part(0.0, 1.0, f"{case.subject.picture.name}: {self._told(table)}")
            self._look(replace(case, configuration=replace(case.configuration, methods=methods)), table, known, part)

    def _look(self, case: Case, table: Table, known: Shared, progress: Progress) -> None:
        """Measure one table on one picture, for the methods of the case."""
        chosen = case.configuration
        arm = self.space.arm(table)
        part = span(progress, 0, 0.5)
        prepared = prepare(arm, case.subject, chosen, part, known=known)
        scores = PROTOCOLS[chosen.benchmark](case, prepared, span(progress, 0.5, 1))
        for method, score in zip(chosen.methods, scores[:, 0, 0], strict=True):
            self.journal.add(_key(case, table, method), {"score": float(score), "kept": prepared.outcomes[0]})

    def _missing(self, case: Case, table: Table, methods: set[str]) -> tuple[str, ...]:
        return tuple(method for method in sorted(methods) if _key(case, table, method) not in self.journal)

    def _score(self, table: Table, methods: Sequence[str]) -> Score:
        rows = [self.journal[_key(case, table, method)] for case in self.cases for method in methods]
        return Score(*(float(np.mean([row[name] for row in rows])) for name in ("score", "kept")))

    def _left(self, done: float) -> Progress:
        """Return the progress of what this process does itself, so that the time left is not told too short."""
        begun = self._begun = done if self._begun is None else self._begun
        return lambda at, whole, note: self.progress((at - begun) / (whole - begun), 1.0, note)

    def _told(self, table: Table) -> str:
        return " ".join(f"{ratio:.0%}" for ratio in table) if any(table) else "dense"


def _key(case: Case, table: Table, method: str) -> str:
    return f"{case.subject.picture.sha256} {method} {json.dumps(table)}"
