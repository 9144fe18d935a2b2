"""The toy example of a multifaceted neuron, as a plot: where gradient ascent ends, dense and SPADE.

python -m benchmarks.toy --out toy.png
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor, nn

from spade_core.isolation import seeded
from spade_core.models.layers import share_copy
from spade_core.pruning.solvers import SOLVERS


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


SIDE = 9.0
DISCS = (((4.0, 4.0), 2.0), ((1.0, 1.0), 0.5))
SAMPLES = ((5.3, 3.3), (1.0, 1.3))
WIDTH = 64
SPARSITY = 0.95
NOISE = 0.15  # standard deviation of the views around the sample


@dataclass(frozen=True, eq=False)
class Toy:
    """End points of gradient ascent, float32 ``(n, 2)`` each: on the dense network and on each sample's trace."""

    dense: np.ndarray
    spade: tuple[np.ndarray, ...]
    samples: tuple[tuple[float, float], ...] = SAMPLES


def inside(points: Tensor, disc: int | None = None) -> Tensor:
    """Return which points lie in a disc (0: the large one, 1: the small one), or in any."""
    chosen = DISCS if disc is None else (DISCS[disc],)
    hits = [((points - torch.tensor(centre)).norm(dim=1) < radius) for centre, radius in chosen]
    return torch.stack(hits).any(0)


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, 1),
    )  # fmt: skip


def train_toy(*, steps: int = 3000, seed: int = 0) -> nn.Sequential:
    """Train the neuron to be positive in the discs, negative elsewhere; every fifth point lies around the small one."""
    with seeded(seed), torch.enable_grad():
        network = _network()
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(steps):
            points = torch.rand(512, 2) * SIDE
            small = torch.tensor(DISCS[1][0]) + (torch.rand(128, 2) - 0.5) * 3
            points = torch.cat([points, small.clamp(0, SIDE)])
            loss = F.binary_cross_entropy_with_logits(network(points)[:, 0], inside(points).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def toy_trace(network: nn.Sequential, sample: tuple[float, float], *, views: int = 512, seed: int = 0) -> nn.Module:
    """Return SPADE's trace of ``sample``: every layer but the first and the last pruned for noisy copies of it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.tensor(sample) + NOISE * torch.randn(views, 2, generator=generator)
    weights = [f"{index}.weight" for index in (2, 4)]
    twin = share_copy(network, own=weights)
    with torch.no_grad():
        for index, layer in enumerate(network):
            if f"{index}.weight" in weights:
                moment = x.T @ x / views
                weight = twin.get_parameter(f"{index}.weight")
                pruned = SOLVERS["fastspade"].prune(weight, moment, SPARSITY, block_size=1, damping=0.01)
                weight.copy_(pruned.weight)
            x = layer(x)
    return twin


def ascend(network: nn.Module, *, count: int = 200, steps: int = 400, rate: float = 0.05, seed: int = 0) -> np.ndarray:
    """Return where gradient ascent on the neuron ends, from ``count`` random points of the square, ``(count, 2)``."""
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(count, 2, generator=generator) * SIDE).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(-network(points).sum(), points)
            points.grad = gradient
            optimizer.step()
            with torch.no_grad():
                points.clamp_(0, SIDE)
    return points.detach().numpy()


def run_toy(*, seed: int = 0) -> Toy:
    """Train the toy network and return the end points of the dense network and of both samples' traces."""
    network = train_toy(seed=seed)
    return Toy(ascend(network), tuple(ascend(toy_trace(network, sample, seed=seed)) for sample in SAMPLES))
