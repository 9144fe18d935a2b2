"""Find multifaceted class neurons among pictures, and draw them: one dense image, one SPADE image a picture.

    python -m benchmarks.facets --images DIR --draw 3 --out facets

A class is a candidate where the dense top-5 of two or more pictures holds it with some probability; candidates are
ranked by how different their pictures are in the model's own embedding. Each drawn row is compared with itself: the
distance between the SPADE images of different pictures, against the distance between dense images of different seeds.
``NAME.png`` holds the pictures and the drawings, ``drawings.png`` the drawings of all rows alone, for pictures that may
not be shown. ``--images bundled`` searches the bundled pictures, which are free and may be shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import spade_core as sc
from spade_core.cli.common import Meter
from spade_core.models.embedding import cosine_distances, embed
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.facets import facets
from spade_core.neurons.rendering import RenderConfig
from spade_core.pictures.figures import png_bytes
from spade_core.pictures.picture import Picture, bundled
from spade_core.pictures.splits import SPLITS, pictures_in, split_of


@dataclass(frozen=True, eq=False)
class Candidate:
    """A class and two pictures that it might stand for: the most different ones among those of its top-5."""

    target: int
    pictures: tuple[Picture, Picture]
    probabilities: tuple[float, float]
    distance: float


def search(model: LoadedModel, pictures: list[Picture], least: float) -> list[Candidate]:
    """Return the candidates, the most different pictures first."""
    vectors = embed(model, [model.preprocessing.crop(picture) for picture in pictures])
    holders: dict[int, list[tuple[int, float]]] = {}
    for number, picture in enumerate(pictures):
        probabilities = sc.predict(model, picture)
        for target in probabilities.argsort()[::-1][:5]:
            if probabilities[target] >= least:
                holders.setdefault(int(target), []).append((number, float(probabilities[target])))
    found = []
    for target, members in holders.items():
        if len(members) > 1:
            gaps = cosine_distances(vectors[[n for n, _ in members]], vectors[[n for n, _ in members]])
            a, b = np.unravel_index(gaps.argmax(), gaps.shape)
            (first, p), (second, q) = members[a], members[b]
            found.append(Candidate(target, (pictures[first], pictures[second]), (p, q), float(gaps[a, b])))
    return sorted(found, key=lambda item: -item.distance)


def draw(model: LoadedModel, item: Candidate, config: RenderConfig, seeds: int, folder: Path) -> dict[str, Any]:
    """Draw one candidate's row, write its images, and return its distances."""
    found = facets(model, list(item.pictures), Neuron(LOGITS, item.target), config, seeds=seeds, progress=Meter())
    crops = [np.ascontiguousarray(model.preprocessing.crop(picture)) for picture in item.pictures]
    size = config.size
    beside = [found.dense[0].image]
    for crop, rendering in zip(crops, found.spade, strict=True):
        beside += [crop[:size, :size], rendering.image]
    name = f"{item.target:03}_{model.labels[item.target].split(',')[0].replace(' ', '_')}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(png_bytes(in_a_row(beside)))
    for label, image in (("dense", beside[0]), ("spade_0", beside[2]), ("spade_1", beside[4])):
        (folder / f"{name}_{label}.png").write_bytes(png_bytes(image))
    return {
        "class": item.target, "label": model.labels[item.target], "file": f"{name}.png",
        "pictures": [picture.name for picture in item.pictures], "probabilities": item.probabilities,
        "between": found.between.tolist(), "within": found.within.tolist(),
        "kept": [made.fidelity.keeps_class for made in found.traces],
    }  # fmt: skip


def in_a_row(cells: list[np.ndarray]) -> np.ndarray:
    """Return the images beside each other, uint8 ``(height, width, 3)``, 6 px apart."""
    height = max(cell.shape[0] for cell in cells)
    padded = [np.pad(cell, ((0, height - cell.shape[0]), (0, 6), (0, 0)), constant_values=255) for cell in cells]
    return np.concatenate(padded, axis=1)


def write_overview(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write ``drawings.png``: a row for each class, without the pictures."""
    figure = Figure(figsize=(7.2, 2.5 * len(rows)), layout="constrained")
    titles = ("dense", "SPADE, first picture", "SPADE, second picture")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for title, part, axis in zip(titles, ("dense", "spade_0", "spade_1"), line, strict=True):
            axis.imshow(np.asarray(Image.open(folder / row["file"].replace(".png", f"_{part}.png"))))
            axis.set(xticks=[], yticks=[], title=title if row is rows[0] else "")
        line[0].set_ylabel(row["label"].split(",")[0])
    figure.savefig(folder / "drawings.png", dpi=120)


def main() -> None:
    """Search, draw and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.facets", description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, help="folder of pictures, or 'bundled'")
    parser.add_argument("--split", choices=SPLITS, help="of the folder (default: all its pictures)")
    parser.add_argument("--least", type=float, default=0.01, help="least probability in the top-5 (default: 0.01)")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--draw", type=int, default=0, help="how many rows to draw (default: 0, only search)")
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="facets", help="folder of the drawn rows")
    options = parser.parse_args()
    model = sc.load_model(options.model, device=options.device)
    if options.images == "bundled":
        pictures = [sc.load_picture(f"bundled:{name}") for name in bundled()]
    else:
        paths = split_of(options.images, options.split) if options.split else pictures_in(options.images)
        pictures = [sc.load_picture(path) for path in paths]
    found = search(model, pictures, options.least)
    for item in found[:20]:
        names = ", ".join(f"{p.name} ({q:.2f})" for p, q in zip(item.pictures, item.probabilities, strict=True))
        sys.stdout.write(f"{item.target:4} {model.labels[item.target]:<24} {item.distance:.2f}  {names}\n")
    rows = []
    for item in found[: options.draw]:
        rows.append(draw(model, item, RenderConfig(steps=options.steps), options.seeds, Path(options.out)))
        between, within = (np.mean(rows[-1][key]) for key in ("between", "within"))
        sys.stdout.write(f"{rows[-1]['label']}: SPADE by picture {between:.3f}, dense by seed {within:.3f}\n")
    if rows:
        write_overview(rows, Path(options.out))
        (Path(options.out) / "facets.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
