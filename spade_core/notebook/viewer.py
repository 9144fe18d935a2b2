"""The notebook's viewer, an anywidget: its script is the one of the pages' slider, and nothing is fetched."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, TypedDict

import anywidget
import numpy as np
import traitlets

from spade_core.pictures.figures import png_bytes
from spade_core.pictures.viewer import address, script, style
from spade_core.results.comparison import Analysis, Pair
from spade_core.saliency import METHODS, top_of

if TYPE_CHECKING:
    from spade_core.results.drawing import Visualization

OVERLAY = 0.65  # opacity of a map over the picture


class Side(TypedDict):
    """A map or a drawing as the script takes it.

    ``picture``: a data address; ``values``: base64 of float32 in the map's own unit, row by row, or "": there are none;
    ``top``: that unit.
    """

    picture: str
    values: str
    top: float


class Shown(TypedDict):
    """A pair; ``help``: what its method is, in a sentence; ``notes``: what is to be known of the result."""

    slug: str
    title: str
    help: str
    alt: str
    notes: list[str]
    dense: Side
    spade: Side


class Viewer(anywidget.AnyWidget):
    """Dense and SPADE on top of each other, with a divider.

    Attributes:
        method: slug of the pair that is shown; overlay: whether it lies on the picture; divider: percent of the width
            that is dense. All three may be set and observed from Python.
    """

    _esm = script("notebook")
    _css = style("notebook")
    title = traitlets.Unicode().tag(sync=True)
    facts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    grey = traitlets.Unicode().tag(sync=True)
    shape = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    pairs = traitlets.List(traitlets.Dict()).tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    overlay = traitlets.Bool(False).tag(sync=True)
    opacity = traitlets.Float(OVERLAY).tag(sync=True)
    divider = traitlets.Float(50.0, min=0.0, max=100.0).tag(sync=True)

    @traitlets.validate("method")
    def _known(self, proposal: traitlets.Bunch) -> str:
        known = [pair["slug"] for pair in self.pairs]
        if known and proposal.value not in known:
            raise traitlets.TraitError(f"There is no {proposal.value!r} here: take one of {', '.join(known)}.")
        return str(proposal.value)


def of_analysis(found: Analysis) -> Viewer:
    """Return the viewer of an analysis, at its first method."""
    fidelity = found.trace.fidelity
    odds = f"dense {fidelity.dense_probability:.1%}, trace {fidelity.trace_probability:.1%}"
    warnings = dict.fromkeys(one.fidelity.warning for one in found.traces if one.fidelity.warning)
    facts = [f"Probability: {odds}", f"{found.trace.sparsity:.1%} of the weights removed", *warnings]
    pairs = [_of_pair(slug, pair) for slug, pair in found.pairs.items()]
    return _viewer(f"{fidelity.label} in {found.picture.name}", facts, found.crop, pairs)


def of_visualization(found: Visualization) -> Viewer:
    """Return the viewer of a neuron's drawings."""
    drawings, pairs = found.drawings, []
    for number in range(len(found.more) + 1):
        end = f"_{number}" if number else ""
        sides = drawings[f"dense{end}"], drawings[f"spade{end}"]
        dense, spade = (Side(picture=address(png_bytes(one.image)), values="", top=1.0) for one in sides)
        notes = list(dict.fromkeys(note for one in sides for note in one.notes))
        named = f"drawing{end}", f"Drawing {number + 1}"
        pairs.append(_shown(*named, "", found.title, notes, dense, spade))
    return _viewer(found.title, [f"Trace of {found.picture.name}"], found.crop, pairs)


def _of_pair(slug: str, pair: Pair) -> Shown:
    dense, spade = (
        Side(
            picture=address(png_bytes(item.pixels)),
            values=base64.b64encode((item.map / top_of(item.map)).astype("<f4").tobytes()).decode(),
            top=top_of(item.map),
        )
        for item in (pair.dense, pair.spade)
    )
    alt = f"saliency map by {pair.title} of the class {pair.spade.label}"
    notes = list(dict.fromkeys((*pair.dense.notes, *pair.spade.notes)))
    return _shown(slug, pair.title, METHODS[slug].help, alt, notes, dense, spade)


def _shown(slug: str, title: str, told: str, alt: str, notes: list[str], dense: Side, spade: Side) -> Shown:
    return {
        "slug": slug,
        "title": title,
        "help": told,
        "alt": alt,
        "notes": notes,
        "dense": dense,
        "spade": spade,
    }


def _viewer(title: str, facts: list[str], crop: np.ndarray, pairs: list[Shown]) -> Viewer:
    """Return a viewer; ``crop``: what the model sees, uint8 ``(height, width, 3)``."""
    grey = crop.mean(-1).round().astype(np.uint8)
    pictures = {"picture": address(png_bytes(crop)), "grey": address(png_bytes(grey))}
    return Viewer(title=title, facts=facts, **pictures, shape=crop.shape[:2], pairs=pairs, method=pairs[0]["slug"])
