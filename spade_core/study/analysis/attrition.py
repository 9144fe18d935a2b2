"""Who did not finish, by condition: does what people are shown decide who stays?

Between participants, people who were given a condition are compared. Within, everybody was to meet all conditions, so
main trials are: each of those that somebody came to either was answered or is the one at which they left, and under the
hypothesis that leaving does not depend on the condition these are discrete-time hazards that are alike (Allison 1982,
Sociological Methodology 13). Both are tables of counts for Fisher's exact test (Freeman and Halton 1951 for more than
two conditions, there by Monte Carlo). Nobody is left out by exclusions, which leaving may itself bring about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from spade_core.study.analysis.describe import share
from spade_core.study.analysis.findings import Attrition
from spade_core.study.data.tables import Participant
from spade_core.study.export.rows import Source, arm_of
from spade_core.study.monitoring.status import status_now
from spade_core.study.running.phases import never_shown
from spade_core.study.vocabulary import ACTIVE, CONDITIONS, FINISHED

RESAMPLES = 9999  # tables with the same margins


def attrition(source: Source, *, bots: bool = False) -> Attrition:
    """Return how many left, by condition; who is still at it counts for neither side.

    Args:
        bots: about bots; else about people.
    """
    design, seen, left = source.study.design, Counter[str](), Counter[str]()
    for person in source.people:
        status = status_now(person, design, source.now)
        if person.is_bot != bots or person.is_preview or person.cell is None or status == ACTIVE:
            continue
        answered, at = _place(source, person)
        seen.update(answered)
        left.update([] if at is None or status in FINISHED else [at])
    between = design.arrangement == "between"
    by_condition = {name: (left[name], seen[name] + (0 if between else left[name])) for name in CONDITIONS}
    by_condition = {name: counts for name, counts in by_condition.items() if counts[1]}
    return Attrition(
        between=between,
        by_condition={name: share(*counts, design.analysis.alpha) for name, counts in by_condition.items()},
        p=homogeneity(by_condition),
    )


def _place(source: Source, person: Participant) -> tuple[list[str], str | None]:
    """Return the conditions that somebody counts under, and the one at which they left if they did.

    Between: the one of their cell. Within: that of each main trial they answered, and of the one that waits.
    """
    arm = arm_of(source.study, person.cell)
    if arm is not None:
        return [arm], arm
    main = (one for one in source.trials.get(person.uid, ()) if one.type == "main" and not never_shown(one))
    return [one.condition for one in main], source.left_at.get(person.uid)


def homogeneity(counts: Mapping[str, tuple[int, int]]) -> float | None:
    """Return the p value of Fisher's exact test that shares are alike, or None where all are 0 or all are 1.

    Args:
        counts: how many, of how many, by condition.
    """
    from scipy.stats import MonteCarloMethod, fisher_exact

    table = np.array([[some, of - some] for some, of in counts.values()])
    if len(table) < 2 or not table.sum(0).all():
        return None
    many = {} if len(table) == 2 else {"method": MonteCarloMethod(n_resamples=RESAMPLES, rng=np.random.default_rng(0))}
    return float(fisher_exact(table, **many).pvalue)
