"""What a report says of all pictures of a folder together, and of the run; without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from spade_core import __version__
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.saliency import METHODS
from spade_core.versions import LIBRARIES, code_version, library_versions

FAITHFUL = (
    "How faithful maps are: area under the probability of the class while pixels come in, in the map's order, minus "
    "the area while they go, read on the dense model. The gain is SPADE's minus the dense map's."
)
MOST = 500  # pictures that a report shows; a browser opens no page of thousands of maps
HEAD = ("Method", "Dense", "SPADE", "Gain, points [95 %]", "Better on")
"""Of the table of methods."""


def title_of(statistics: Statistics, header: Mapping[str, object]) -> str:
    """Return what a report of the run is called."""
    return f"{statistics.pictures} picture{'' if statistics.pictures == 1 else 's'}, {header['model']}"


def sections_of(header: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Return what a run depends on, and the versions of what makes the report, by their headings."""
    run = {name: value for name, value in header.items() if name != "version" and value not in ({}, [], ())}
    told = {name: one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for name, one in run.items()}
    own = {"SPADE Studio": __version__, "its code": code_version(), "version that ran": str(header["version"])}
    libraries = dict(zip(LIBRARIES, library_versions(), strict=True))
    return {"Settings": told, "Versions": own | libraries}


def outcomes_of(statistics: Statistics) -> dict[str, str]:
    """Return what holds of all pictures together, by its name; the interval is of 95 %, bootstrapped over pictures."""
    kept = statistics.kept(statistics.configuration.arms[1])
    _, kl, sparsity = statistics.outcomes[:, 1].T
    return {
        "Pictures": str(statistics.pictures),
        "Class kept": f"{kept.mean:.0f} % [{kept.low:.0f}, {kept.high:.0f}]",
        "KL divergence": f"{np.median(kl):.1e} nats (median)",
        "Weights removed": f"{100 * sparsity.mean():.0f} %",
    }


def gains_of(statistics: Statistics) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each method, as ``HEAD`` names them."""
    arm = statistics.configuration.arms[1]
    for at, slug in enumerate(statistics.configuration.methods):
        place = slice(at, at + 1), 0, 0
        dense, spade = (statistics.mean(one, *place).mean for one in (DENSE, arm))
        gain, wins = statistics.difference(arm, DENSE, *place), statistics.wins(arm, DENSE, *place)
        told = f"{gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"
        yield METHODS[slug].title, f"{dense:.1f}", f"{spade:.1f}", told, f"{wins:.0f} %"


def first_of(counted: Sequence[object]) -> str:
    """Return the sentence of a report that does not show all pictures that count."""
    return f"The first {MOST} of {len(counted)} pictures are shown; pictures.csv holds all."
