"""The maps of an analysis as rows of the grid, with what is known of each method beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NotRequired, TypedDict

import numpy as np

from spade_core.evaluation.evidence import Claim
from spade_core.evaluation.processing import PROCESSING, Processing
from spade_core.pictures.scales import scale_of, top_of
from spade_core.pruning.report import Fidelity
from spade_core.saliency import METHODS
from spade_core.ui.common.downloads import read_array
from spade_core.ui.common.panels import Traced
from spade_core.ui.saliency.grid import Chip, Panel, Row, levels, show_grid

MAPS = 48  # of methods, kept for all users, about 0.6 MB each
VIEWS: dict[str, Processing] = {
    "raw": PROCESSING["raw"],
    "magnitude": Processing("magnitude", "Magnitudes", "The maps without their signs.", absolute=True),
    "blur2": PROCESSING["blur2"],
    "blur4": PROCESSING["blur4"],
}
"""How both maps may be processed before they are shown; their files stay as they are."""


class Side(TypedDict):
    """A manifest's entry of one map; where a trigger was pasted it holds the scores."""

    notes: list[str]
    trojan_auc: NotRequired[float]
    pointing_game: NotRequired[bool]


class Maps(TypedDict):
    """A manifest's entry of one method; of a bundle it has the lowest rank correlation of two traces' maps."""

    dense: Side
    spade: Side
    agreement: NotRequired[float]


def show_maps(
    files: Mapping[str, bytes],
    methods: Sequence[str],
    *,
    view: str = "raw",
    described: Mapping[str, Maps] | None = None,
    claims: Mapping[str, Sequence[Claim]] | None = None,
    traces: Sequence[Traced] = (),
    magnitudes: bool = False,
    key: str = "maps",
) -> None:
    """Draw the maps of every method whose two are there, and what is claimed of each; name those still to come.

    Args:
        view: of ``VIEWS``.
        traces: of the whole analysis; a method's own are told where not all are.
        magnitudes: whether the maps have lost their signs.
    """
    ready = [slug for slug in methods if _names(slug) <= files.keys() and "crop.npy" in files]
    if not ready:
        return
    rows = []
    for slug in ready:
        entry = None if described is None else described[slug]
        chips = [*told_scores(entry), *told_claims((claims or {}).get(slug, ()))]
        given = (files[f"dense_{slug}.npy"], files[f"spade_{slug}.npy"], files.get(f"spread_{slug}.npy"))
        panels = _panels(*given, slug, view, METHODS[slug].signed and not magnitudes)
        notes = (*told_traces(of_method(traces, slug)), *_notes(entry))
        rows.append(Row(slug, METHODS[slug].title, METHODS[slug].help, panels, chips, notes))
    pending = [METHODS[slug].title for slug in methods if slug not in ready and described is None]
    show_grid([read_array(files["crop.npy"])], rows, pending=pending, key=key)


def _names(slug: str) -> set[str]:
    return {f"dense_{slug}.npy", f"spade_{slug}.npy"}


@lru_cache(maxsize=MAPS)
def _panels(dense: bytes, spade: bytes, spread: bytes | None, slug: str, view: str, signed: bool) -> tuple[Panel, ...]:
    """Return a method's maps as they are shown; the page is drawn more often than they change."""
    apart = None if spread is None else read_array(spread)
    return panels_of(read_array(dense), read_array(spade), apart, METHODS[slug].title, VIEWS[view], signed=signed)


def panels_of(
    dense: np.ndarray, spade: np.ndarray, spread: np.ndarray | None, title: str, view: Processing, *, signed: bool
) -> tuple[Panel, ...]:
    """Return dense map, SPADE map and their difference, processed alike, each map in a unit of its own.

    Args:
        dense, spade: maps ``(height, width)``.
        spread: of a bundle of traces at each pixel; shown in the SPADE map's unit, as it is.
        title: of the method, for screen readers; signed: whether the maps have signs.
    """
    unit = top_of(spade)
    dense, spade = (view.apply(one, np.abs(one)) for one in (dense, spade))
    first, second = dense / top_of(dense), spade / top_of(spade)
    scale = "signed" if signed and VIEWS["raw"] == view else "magnitude"
    gap = second - first
    panels = [
        Panel("Dense", spoken("Dense", title, first), first, scale),
        Panel("SPADE", spoken("SPADE", title, second), second, scale),
        Panel("SPADE minus dense", spoken("SPADE minus dense", title, gap), gap, "difference", top_of(gap)),
    ]
    if spread is not None:
        apart = spread / unit
        panels.append(Panel("Spread of the traces", spoken("Spread", title, apart), apart, "spread"))
    return tuple(panels)


def coloured(files: Mapping[str, bytes], slug: str, *, magnitudes: bool) -> np.ndarray:
    """Return the SPADE map of a method as it is shown raw, uint8 ``(height, width, 3)``."""
    values = read_array(files[f"spade_{slug}.npy"])
    scale = scale_of(METHODS[slug].signed and not magnitudes)
    return np.frombuffer(scale.palette(), np.uint8).reshape(-1, 3)[levels(values / top_of(values), scale)]


def spoken(name: str, title: str, values: np.ndarray) -> str:
    """Return what a screen reader says of a map."""
    height, width = values.shape
    row, column = divmod(int(np.abs(values).argmax()), width)
    return (
        f"{name}, {title}: strongest {100 * column // width} % from the left and {100 * row // height} % from the top."
    )


def of_method(traces: Sequence[Traced], slug: str) -> list[Traced]:
    """Return the traces of a method's map where methods have traces of their own; else nothing."""
    own = [one for one in traces if slug in one.get("methods", [slug])]
    return own if len(own) < len(traces) else []


def told_traces(traces: Sequence[Traced]) -> tuple[str, ...]:
    """Return what a method's own traces are."""
    if not traces:
        return ()
    weakest = min((Fidelity.from_dict(one["fidelity"]) for one in traces), key=lambda one: one.trace_probability)
    if not any(one.get("pruned", True) for one in traces):
        return ("By the table no trace improves this method's map: both maps are the dense model's.",)
    removed, kept = f"{traces[0]['sparsity']:.0%} of the weights removed", f"{weakest.trace_probability:.1%}"
    return (f"By a trace of this method's own ratios: {removed}, probability of the class {kept}.",)


def told_scores(maps: Maps | None) -> list[Chip]:
    """Return how well both maps show a pasted trigger, and how far a bundle's traces agree."""
    chips: list[Chip] = []
    if maps is not None and "trojan_auc" in maps["dense"]:
        dense, spade = maps["dense"]["trojan_auc"], maps["spade"]["trojan_auc"]
        hits = ["hit" if side["pointing_game"] else "miss" for side in (maps["dense"], maps["spade"])]
        text = f"Trojan AUC: dense {dense:.1f}, SPADE {spade:.1f} ({spade - dense:+.1f})"
        chips += [Chip(text, "good" if spade > dense else "bad" if spade < dense else "plain")]
        chips += [Chip(f"Pointing Game: dense {hits[0]}, SPADE {hits[1]}")]
    if maps is not None and "agreement" in maps:
        chips += [Chip(f"Rank correlation of the two traces that agree least: {maps['agreement']:.2f}")]
    return chips


def told_claims(claims: Iterable[Claim]) -> list[Chip]:
    """Return what such maps gained over many pictures; coloured where the interval lacks 0."""
    chips: list[Chip] = []
    for claim in claims:
        first = "" if chips else f"{claim.about}, both processed alike. "
        text = f"{first}{PROCESSING[claim.processing].title}: {claim}"
        chips.append(Chip(text, "good" if claim.holds else "bad" if claim.refuted else "plain"))
    return chips


def _notes(maps: Maps | None) -> tuple[str, ...]:
    return () if maps is None else tuple(dict.fromkeys((*maps["dense"]["notes"], *maps["spade"]["notes"])))
