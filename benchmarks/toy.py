"""The toy example of a multifaceted neuron, as a plot: where gradient ascent ends, dense and SPADE.

python -m benchmarks.toy --out toy.png
"""

from __future__ import annotations

import argparse
import sys

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from spade_core.toy import DISCS, SIDE, inside, run_toy


def main() -> None:
    """Train, ascend, draw, and print the share of end points in each disc."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.toy", description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="toy.png", help="PNG file to write (default: toy.png)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = run_toy(seed=options.seed)
    figure = Figure(figsize=(9, 3.2), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    titles = ("dense", *(f"SPADE, sample {sample}" for sample in found.samples))
    for axis, title, points, sample in zip(
        figure.subplots(1, 3), titles, (found.dense, *found.spade), (None, *found.samples), strict=True
    ):
        for centre, radius in DISCS:
            axis.add_patch(Circle(centre, radius, facecolor="#d1e7e4", edgecolor="#0f766e"))
        axis.scatter(points[:, 0], points[:, 1], s=6, color="#d97706")
        if sample is not None:
            axis.plot(*sample, marker="x", markersize=9, color="black")
        axis.set(xlim=(0, SIDE), ylim=(0, SIDE), aspect="equal", title=title)
        large, small = (float(inside(torch.from_numpy(points), disc).float().mean()) for disc in (0, 1))
        sys.stdout.write(f"{title:<26} {large:4.0%} end in the large disc, {small:4.0%} in the small one\n")
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
