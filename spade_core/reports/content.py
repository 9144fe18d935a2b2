"""What a report says, read from the files of an analysis: the same for the page and for the PDF."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spade_core.evaluation.evidence import Claim, claims
from spade_core.evaluation.processing import PROCESSING
from spade_core.pictures.figures import FigureRow
from spade_core.pictures.fonts import drawable, shown_name
from spade_core.saliency import METHODS, colour_limits, top_of

READING = (
    "Each map is coloured in a unit of its own: 1 is the top half percent of its magnitudes. A trace explains the "
    "trace: read its maps with the fidelity beside them, and no meaning into their fine grain."
)
Facts = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Part:
    """One method: its row of the figure, what it is, and what is to be known of its maps."""

    row: FigureRow
    help: str
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Content:
    """A report.

    Attributes:
        manifest: of the analysis; crop: what the model saw, uint8 ``(height, width, 3)``; parts: of each method.
        command: that makes the same analysis, or "".
    """

    manifest: Mapping[str, Any]
    crop: np.ndarray
    parts: tuple[Part, ...]
    command: str

    @cached_property
    def title(self) -> str:
        """Explained class and picture."""
        return f"{self.manifest['target']['label']} in {self.manifest['picture']['name']}"

    @cached_property
    def figure_title(self) -> str:
        """What stands above the figure, of letters that some font has."""
        target, kept = self.manifest["target"], self.manifest["fidelity"]
        odds = f"dense {kept['dense_probability']:.2f}, trace {kept['trace_probability']:.2f}"
        return f"{drawable(self.manifest['model']['name'])}: {shown_name(target['label'], target['index'])[0]} ({odds})"

    @property
    def rows(self) -> list[FigureRow]:
        """Of the figure, one a method."""
        return [part.row for part in self.parts]

    @cached_property
    def summary(self) -> Facts:
        """What was found, in a few lines."""
        told, kept = self.manifest, self.manifest["fidelity"]
        return {
            "Picture": told["picture"]["name"],
            "Model": told["model"]["name"],
            "Explained class": f"{told['target']['label']} ({told['target']['index']})",
            "Its probability": f"dense {kept['dense_probability']:.1%}, trace {kept['trace_probability']:.1%}",
            "Weights removed": f"{told['sparsity']:.1%}",
            "KL divergence": f"{kept['kl']:.3g} nats, of the trace's prediction from the dense one",
            "Traces": str(len(told["traces"])),
        }

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of picture and trace."""
        picture, warning = self.manifest["picture"], self.manifest["fidelity"]["warning"]
        found = (warning, *picture["notes"], *picture["seen"], *self.manifest["notes"], READING)
        return tuple(dict.fromkeys(note for note in found if note))

    @cached_property
    def sections(self) -> Mapping[str, Facts]:
        """Settings and versions, by their headings."""
        told, environment = self.manifest, self.manifest["environment"]
        picture = {name: told["picture"][name] for name in ("name", "sha256", "frame", "trigger", "source")}
        computed = {name: environment[name] for name in ("code_version", "python", "processor", "device", "threads")}
        own = {f"{row['title']}": row["settings"] for row in told["methods"].values()}
        found = {
            "Picture": picture,
            "Model": {"name": told["model"]["name"], "sha256": told["model"]["sha256"], **told["model"]["spec"]},
            "Trace": told["trace"],
            "Methods": own,
            "Not computed": told["refused"],
            "Versions": {"SPADE Studio, sha256 of its code": computed.pop("code_version"), **environment["libraries"]},
            "Computed on": {**computed, **{f"seconds, {name}": round(s, 2) for name, s in told["seconds"].items()}},
        }
        return {name: _texts(facts) for name, facts in found.items() if facts}

    @cached_property
    def layers(self) -> Sequence[tuple[str, ...]]:
        """Name, state, zeros and output error of every layer."""
        rows = self.manifest["layers"]
        return [(row["name"], row["status"], f"{row['realised']:.1%}", f"{row['error']:.3g}") for row in rows]

    @cached_property
    def predictions(self) -> Sequence[tuple[str, ...]]:
        """The most probable classes of the dense model and of the trace, side by side."""
        pairs = zip(self.manifest["prediction"], self.manifest["trace_prediction"], strict=True)
        return [tuple(f"{one['label']} {one['probability']:.1%}" for one in pair) for pair in pairs]

    @property
    def replay(self) -> str:
        """The commands that compute the same once more."""
        again = "spade-studio replay manifest.json    # the same bits, from the manifest below"
        return f"{self.command}\n{again}" if self.command else again


def read_content(files: Mapping[str, bytes], crop: np.ndarray, command: str = "") -> Content:
    """Return the content of a report.

    Args:
        files: of an analysis, see ``results.comparison.bundle``.
        crop: what the model saw, uint8 ``(height, width, 3)``.
        command: that makes the same analysis; "": the manifest alone says how.
    """
    # What a file's name has that is no text is a question mark here: neither HTML nor fonts know it.
    plain = json.dumps(json.loads(files["manifest.json"]), ensure_ascii=False).encode(errors="replace")
    told = json.loads(plain)
    config, single = told["config"], len(told["traces"]) == 1
    known = claims(told["model"]["sha256"], config["trace"], config["options"]) if single else {}
    parts = [_part(files, slug, row, known.get(slug, ())) for slug, row in told["methods"].items()]
    return Content(told, crop, tuple(parts), command)


def _part(files: Mapping[str, bytes], slug: str, told: Mapping[str, Any], known: Sequence[Claim]) -> Part:
    maps = {side: _array(files, f"{side}_{slug}.npy") for side in ("dense", "spade", "spread")}
    dense, spade, spread = maps["dense"], maps["spade"], maps["spread"]
    unit, signed = top_of(spade), told["signed"]
    apart = spread / unit if spread.size else None
    row = FigureRow(told["title"], dense / top_of(dense), spade / unit, apart, colour_limits(signed), signed)
    notes = dict.fromkeys((*told["dense"]["notes"], *told["spade"]["notes"]))
    return Part(row, METHODS[slug].help if slug in METHODS else "", (*_scores(told), *_evidence(known), *notes))


def _array(files: Mapping[str, bytes], name: str) -> np.ndarray:
    """Return an array of the files; an empty one where there is none."""
    return np.load(io.BytesIO(files[name]), allow_pickle=False) if name in files else np.empty(0)


def _scores(told: Mapping[str, Any]) -> Iterator[str]:
    if "trojan_auc" in told["dense"]:
        yield f"Trojan AUC: dense {told['dense']['trojan_auc']:.1f}, SPADE {told['spade']['trojan_auc']:.1f}."
    if "agreement" in told:
        yield f"Rank correlation of the two traces that agree least: {told['agreement']:.2f}."


def _evidence(known: Sequence[Claim]) -> Iterator[str]:
    if known:
        told = "; ".join(f"{PROCESSING[one.processing].title.lower()} {one}" for one in known)
        measured = "Measured of traces like this one, both maps processed alike (mean, 95 % interval)"
        yield f"{measured}. {known[0].about}: {told}."


def _texts(facts: Mapping[str, object]) -> Facts:
    """Return values as people read them; nested ones as JSON."""
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
        if value not in (None, "", {}, [])
    }
