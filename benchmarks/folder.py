"""What a folder costs beside the library's own loop: processor seconds a picture, maps and fidelity by two methods.

    python -m benchmarks.folder --images DIR --count 6 --repeats 3

Both do the same with each picture: a trace, the maps of dense model and trace by both methods, and how faithful each
map is. The folder also keeps maps, journal, tables and pages. They take turns, in one process on one thread.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

import spade_core as sc
from spade_core.evaluation.folder.explain import configuration_of, explain_folder
from spade_core.evaluation.metrics import insertion_deletion
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.splits import split_of, spread

T = TypeVar("T")
METHODS = ("saliency", "input_x_gradient")


def loop(model: LoadedModel, paths: Sequence[Path]) -> float:
    """Explain the pictures by the library's own functions; return how many seconds scoring the maps took."""
    scoring = 0.0
    for path in paths:
        picture = sc.load_picture(path)
        trace = sc.trace(model, picture, preset="unweighted")
        for method in METHODS:
            for network in (model, trace):
                shown = sc.explain(network, picture, method=method)
                start = time.process_time()
                insertion_deletion(model.module, model.input(picture), shown.map, trace.fidelity.target)
                scoring += time.process_time() - start
    return scoring


def folder(model: LoadedModel, paths: Sequence[Path]) -> None:
    """Explain the same pictures as a folder."""
    with tempfile.TemporaryDirectory() as made:
        images = Path(made) / "images"
        images.mkdir()
        for path in paths:
            shutil.copy(path, images)
        configuration = configuration_of(METHODS, {"preset": "unweighted"}, threads=1)
        explain_folder(model, images, Path(made) / "out", configuration)


def seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Return the processor seconds of this process that work takes, and what it returns."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folder", description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, help="folder of pictures; its tuning split is used")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = sc.load_model("efficientnet_lite0", device="cpu")
    paths = spread(split_of(options.images, "tuning"), options.count)
    loop(model, paths[:1])  # what is imported and made ready once
    found = []
    for _ in range(options.repeats):
        own, scoring = seconds(partial(loop, model, paths))
        whole, _ = seconds(partial(folder, model, paths))
        found.append((whole, own, scoring))
    per_picture = np.array(found).T / len(paths)
    sys.stdout.write(f"{len(paths)} pictures, {options.repeats} repeats, medians [least, most]\n")
    rows = zip(("folder, s", "loop, s", "of it scoring, s"), per_picture, strict=True)
    for name, values in (*rows, ("folder / loop", per_picture[0] / per_picture[1])):
        sys.stdout.write(f"{name:<18}{np.median(values):.2f} [{values.min():.2f}, {values.max():.2f}]\n")


if __name__ == "__main__":
    main()
