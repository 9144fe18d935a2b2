"""A row a picture: what people sort, filter and export. Pages read it, without torch."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from spade_core.cells import safe_text
from spade_core.evaluation.configuration import Configuration, seed_of
from spade_core.evaluation.records import Record

MAPS = "maps"  # the folder of a run's maps
PICTURE = "picture"  # the key of what the model sees, among the maps and the small pictures
SIDES = ("dense", "spade")


def map_file(name: str, sha256: str) -> str:
    """Return the name of the file of a picture's maps: of its own what any file system takes, and its content's."""
    stem = re.sub(r"[^\w-]", "_", PurePath(name).stem, flags=re.ASCII)[:40]
    return f"{stem}-{sha256[:12]}.npz"


@dataclass(frozen=True)
class Row:
    """One picture of a folder.

    Attributes:
        picture: file name; left_out: the sentence that says why it does not count; then little else is there.
        label: of the explained class; dense, trace: its probability in either, 0 to 1.
        kept: on what share of its traces the class is kept, 0 to 1; kl: nats; sparsity: 0 to 1.
        scores: method -> insertion minus deletion of the dense map and of SPADE's, percent, read on the dense model.
        seed: of its trace, by which ``explain --image`` makes the same maps; maps: their file in the run's folder.
    """

    picture: str
    sha256: str = ""
    left_out: str = ""
    label: str = ""
    dense: float = 0.0
    trace: float = 0.0
    kept: float = 0.0
    kl: float = 0.0
    sparsity: float = 0.0
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seed: int = 0
    maps: str = ""

    @classmethod
    def of(cls, record: Record, configuration: Configuration) -> Row:
        """Return the row of a record of ``faithfulness`` with two arms: dense, and a trace's."""
        if record.skipped:
            return cls(record.picture, record.sha256, record.skipped)
        dense, trace = record.probability.tolist()
        kept, kl, sparsity = record.outcomes[1].tolist()
        scores = dict(zip(configuration.methods, record.scores[:, :, 0, 0].T.tolist(), strict=True))
        seed, maps = seed_of(configuration.seed, record.sha256), f"{MAPS}/{map_file(record.picture, record.sha256)}"
        told = record.picture, record.sha256, "", record.label, dense, trace, kept, kl, sparsity
        return cls(*told, {slug: (pair[0], pair[1]) for slug, pair in scores.items()}, seed, maps)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """Rebuild a row of its attributes as JSON."""
        return cls(**{**values, "scores": {slug: (pair[0], pair[1]) for slug, pair in values["scores"].items()}})

    def gain(self, method: str | None = None) -> float:
        """Return by how many points SPADE's map is more faithful than the dense one; None: the mean over methods."""
        pairs = self.scores.values() if method is None else [self.scores[method]]
        return sum(spade - dense for dense, spade in pairs) / len(pairs)

    def cells(self) -> dict[str, object]:
        """Return the row of a table for other programs, by its columns."""
        scores = {
            f"insertion_minus_deletion_{side}_{slug}": value
            for slug, pair in self.scores.items()
            for side, value in zip(SIDES, pair, strict=True)
        }
        gains = {f"gain_{slug}": self.gain(slug) for slug in self.scores}
        return {
            "picture": self.picture,
            "sha256": self.sha256,
            "class": self.label,
            "probability_dense": self.dense,
            "probability_trace": self.trace,
            "class_kept": self.kept,
            "kl_nats": self.kl,
            "weights_removed": self.sparsity,
            **scores,
            **gains,
            "seed": self.seed,
            "maps": self.maps,
        }


def csv_text(rows: Iterable[Row], methods: Iterable[str]) -> str:
    """Return the rows as CSV; of those that are left out nothing but name and reason is filled in."""
    columns = [*Row("", scores=dict.fromkeys(methods, (0.0, 0.0))).cells(), "left_out"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {"picture": row.picture} if row.left_out else row.cells()
        writer.writerow({name: safe_text(value) for name, value in {**cells, "left_out": row.left_out}.items()})
    return out.getvalue()
