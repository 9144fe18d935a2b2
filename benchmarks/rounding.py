"""How far rounding alone moves a trace and its maps: the same arithmetic by two kernels of one CPU.

    python -m benchmarks.rounding

Every bundled picture is analysed twice in float32, with oneDNN's convolutions and without. The sums differ in their
last bits, so that weights of nearly equal scores trade places. Printed for the preset ``unweighted``, median, minimum
and maximum over the pictures: the correlation of the two maps, of the dense model and of the traces, the share of
surviving weights that both traces keep (Jaccard, mean over the layers), and the difference of the class's probability.
"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import torch

import spade_core as sc
from spade_core.inspection.survivors import overlap
from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture, bundled
from spade_core.pruning.trace import Trace

METHODS = ("saliency", "integrated_gradients")


def analyse(model: LoadedModel, picture: Picture) -> tuple[Trace, dict[str, np.ndarray]]:
    """Return the trace of a picture, and the maps of the dense model and of the trace by a title."""
    trace = sc.trace(model, picture, preset="unweighted")
    maps = {}
    for method in METHODS:
        maps[f"{method}, dense"] = sc.explain(model, picture, method=method).map
        maps[f"{method}, SPADE"] = sc.explain(trace, picture, method=method).map
    return trace, maps


def differences(model: LoadedModel, picture: Picture) -> dict[str, float]:
    """Return what the two kernels make different on one picture, by a title."""
    trace, maps = analyse(model, picture)
    with warnings.catch_warnings(), torch.backends.mkldnn.flags(enabled=False):
        warnings.simplefilter("ignore")
        again, others = analyse(model, picture)
    rows = {title: float(np.corrcoef(maps[title].ravel(), others[title].ravel())[0, 1]) for title in maps}
    shared = float(np.mean(list(overlap(trace, again).values())))
    probabilities = [sc.predict(made, picture)[made.fidelity.target] for made in (trace, again)]
    return rows | {"surviving weights in both": shared, "probability": float(abs(probabilities[0] - probabilities[1]))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounding", description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    options = parser.parse_args()
    model = sc.load_model(options.model, device="cpu")
    rows = [differences(model, sc.load_picture(f"bundled:{name}")) for name in bundled()]
    sys.stdout.write(f"{model.name}, {len(rows)} pictures\n")
    for title in rows[0]:
        values = np.array([row[title] for row in rows])
        sys.stdout.write(f"{title:<32} {np.median(values):.4f} [{values.min():.4f}, {values.max():.4f}]\n")


if __name__ == "__main__":
    main()
