"""How often models name a labelled picture's class: a check of weights and preprocessing, not of ImageNet's accuracy.

    python -m benchmarks.accuracy --images DIR --labels FILE --split training --model efficientnet_lite1

``--labels`` is a table with the columns ``file`` and ``class_index``. The first model is what the others are compared
with, picture by picture.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

import spade_core as sc
from benchmarks.speed import now
from spade_core.models.registry import DEFAULT_MODEL
from spade_core.pictures.splits import SPLITS, split_of, spread
from spade_core.saliency.metrics import bootstrap_interval


def hits(name: str, paths: list[Path], classes: dict[str, int], device: str) -> tuple[np.ndarray, float]:
    """Return for each picture whether the top-1 is its class, and the seconds a picture."""
    model, start = sc.load_model(name, device=device), now()
    found = [int(sc.predict(model, sc.load_picture(path)).argmax()) == classes[path.name] for path in paths]
    return np.array(found), (now() - start) / len(paths)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--labels", required=True, help="CSV file with the columns file and class_index")
    parser.add_argument("--split", default="training", choices=SPLITS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--model", action="append", default=[], help=f"beside {DEFAULT_MODEL}")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with Path(options.labels).open(encoding="utf-8", newline="") as file:
        classes = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
    paths = spread(split_of(options.images, options.split), options.count)
    first = None
    for name in (DEFAULT_MODEL, *options.model):
        right, seconds = hits(name, paths, classes, options.device)
        first = right if first is None else first
        gain = bootstrap_interval(100.0 * (right.astype(float) - first))
        share = bootstrap_interval(100.0 * right)
        sys.stdout.write(
            f"{name:<26} {share} %, minus {DEFAULT_MODEL} {gain}, {share.n} pictures, {seconds:.3f} s each\n"
        )


if __name__ == "__main__":
    main()
