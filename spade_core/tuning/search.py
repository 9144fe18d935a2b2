"""Which tables of ratios are looked at: one stage after the other, from the last to the first and back.

A table is a tuple of ratios, one a stage in the network's order; the one of zeros is the dense model. A search knows
nothing of networks: it asks for scores and is sent them. So several searches go side by side, and what two of them
ask for at the same moment is measured once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from spade_core.tuning.objectives import SWEEPS

KEPT = 0.95  # share of the pictures whose traces must keep the class

Table: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Score:
    """What a table is worth.

    Attributes:
        value: the objective's mean over pictures and methods; more is better.
        kept: share of the pictures whose trace keeps the class, 0 to 1.
    """

    value: float
    kept: float = 1.0

    @property
    def allowed(self) -> bool:
        """Whether the class is kept often enough."""
        return self.kept >= KEPT


@dataclass(frozen=True)
class Step:
    """What a search chose at one moment: the stage that was tried (None: where it began), and the best table so far."""

    stage: int | None
    table: Table
    score: Score


@dataclass(frozen=True)
class Found:
    """The end of a search: what was chosen, step by step, the dense map's score, and how many tables it looked at."""

    steps: tuple[Step, ...]
    dense: Score
    looks: int

    @property
    def table(self) -> Table:
        """The best one; zeros where none beats the dense map."""
        return self.steps[-1].table


Search: TypeAlias = Generator[list[Table], Mapping[Table, Score], Found]
"""Yields the tables that it wants to know of, is sent their scores, and returns what it found."""


def order(stages: int, sweeps: int = SWEEPS) -> list[int]:
    """Return which stage is changed at each moment: from the last to the first, back, and so on."""
    down, up = [*reversed(range(stages))], [*range(stages)]
    swept = [stage for sweep in range(sweeps) for stage in (up if sweep % 2 else down)]
    return [stage for at, stage in enumerate(swept) if at == 0 or stage != swept[at - 1]]


def rounds(stages: int, sweeps: int = SWEEPS) -> int:
    """Return how often :func:`descend` asks: once for where it begins, then stage by stage."""
    return 1 + len(order(stages, sweeps))


def descend(stages: int, ratios: Sequence[float], begin: Sequence[Table] = (), sweeps: int = SWEEPS) -> Search:
    """Change one stage's ratio at a time to the best candidate, from the last stage to the first and back.

    It begins at the best of the dense table and of those in ``begin``, and without a sweep it ends there, too. A table
    replaces the best one only if it scores higher and keeps the class, so the end is never worse than the dense map on
    these pictures.
    """
    dense = (0.0,) * stages
    known = yield list(dict.fromkeys([dense, *begin]))
    looked, dense_score = dict(known), known[dense]
    best = _better(dense, known)
    steps = [Step(None, best, looked[best])]
    for stage in order(stages, sweeps):
        known = yield [(*best[:stage], ratio, *best[stage + 1 :]) for ratio in ratios]
        looked |= known
        best = _better(best, {best: looked[best], **known})
        steps.append(Step(stage, best, looked[best]))
    return Found(tuple(steps), dense_score, len(looked))


def _better(best: Table, known: Mapping[Table, Score]) -> Table:
    """Return the first table of the highest score among those allowed; ``best`` where none is higher."""
    for table, score in known.items():
        if score.allowed and score.value > known[best].value:
            best = table
    return best


Judge: TypeAlias = Callable[[Mapping[str, Sequence[Table]]], Mapping[str, Mapping[Table, Score]]]
"""Scores the tables that each search, by its name, asks for."""


def side_by_side(searches: Mapping[str, Search], judge: Judge) -> dict[str, Found]:
    """Drive the searches to their ends, all that they ask for at a moment at once."""
    asked = {name: next(search) for name, search in searches.items()}
    found: dict[str, Found] = {}
    while asked:
        for name, scores in judge(asked).items():
            try:
                asked[name] = searches[name].send(scores)
            except StopIteration as end:
                found[name] = end.value
                del asked[name]
    return {name: found[name] for name in searches}
