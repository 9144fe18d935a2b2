"""Do maps of traces show the model, or only what steered the trace? The weights are randomized from the last layer up.

    python -m benchmarks.sanity --images DIR --split reporting --count 20 --out sanity.jsonl

After Adebayo et al. (2018): a map that explains a model must change as the model's weights are redrawn, stage after
stage from the last (cascading). For each depth the trace is made of the randomized model, with the target of the intact
one, and its map is compared with that of the intact model by the rank correlation of the magnitudes; so is the dense
one. What a weighting by relevance adds must fall as the dense method falls.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import spade_core as sc
from benchmarks.options import folder_parser, given, over_triggers
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.models.registry import TROJAN_MODEL
from spade_core.pictures.picture import Picture
from spade_core.pruning.sparsity import stage_of, stages
from spade_core.saliency import METHODS
from spade_core.saliency.metrics import bootstrap_interval
from spade_core.trojan.paste import paste
from spade_core.trojan.triggers import TRIGGERS

DEFAULT_METHODS = ("saliency", "input_x_gradient", "guided_backprop")
DEPTHS = (0, 1, 2, 4, 7, 10)  # stages that are redrawn; 10: all of Lite0's
EVERY = 4  # px between the compared pixels


def randomized(model: LoadedModel, depth: int, *, seed: int = 0) -> LoadedModel:
    """Return a copy whose last ``depth`` stages have normal weights of the same spread; the model is not changed."""
    chosen = stages(model.layers, model.family)[::-1][:depth]
    layers = [layer for layer in model.layers if stage_of(layer.name, model.family) in chosen]
    module = share_copy(model.module, own={layer.parameter for layer in layers})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            weight = module.get_parameter(layer.parameter)
            drawn = torch.randn(weight.shape, generator=generator)
            weight.copy_(weight.mean() + weight.std() * drawn.to(weight))
    return replace(model, module=module)


def measure(
    model: LoadedModel, path: Path, trigger: str, seed: int, methods: tuple[str, ...], options: dict[str, Any]
) -> dict[str, Any]:
    """Return one picture's row: method -> side -> rank correlation with the intact map at each depth."""
    picture, _ = paste(sc.load_picture(path), trigger, seed=seed, model=model)
    target = TRIGGERS[trigger].target
    found = [_maps(randomized(model, depth, seed=seed), picture, target, methods, options) for depth in DEPTHS]
    row: dict[str, Any] = {"target": target}
    for key, intact in found[0].items():
        row[key] = [float(spearmanr(intact, maps[key]).statistic) for maps in found]
    return row


def _maps(
    model: LoadedModel, picture: Picture, target: int, methods: tuple[str, ...], options: dict[str, Any]
) -> dict[str, np.ndarray]:
    networks = {"dense": model, "spade": sc.trace(model, picture, target=target, **options)}
    return {
        f"{side}_{method}": np.abs(sc.explain(network, picture, method=method, target=target).map)[
            ::EVERY, ::EVERY
        ].ravel()
        for side, network in networks.items()
        for method in methods
    }


def report(rows: list[dict[str, Any]], methods: tuple[str, ...]) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{len(rows)} triggered pictures; rank correlation with the intact map after so many stages were redrawn.",
        "",
        f"| method | side | {' | '.join(str(depth) for depth in DEPTHS)} |",
        f"|---|---|{'---|' * len(DEPTHS)}",
    ]
    for method in methods:
        for side in ("dense", "spade"):
            values = np.array([row[f"{side}_{method}"] for row in rows])
            cells = [str(bootstrap_interval(values[:, at])) for at in range(len(DEPTHS))]
            lines.append(f"| {METHODS[method].title} | {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = folder_parser("sanity", __doc__, model=TROJAN_MODEL, methods=", ".join(DEFAULT_METHODS))
    options = parser.parse_args()
    model, paths = given(options)
    methods = tuple(options.method or DEFAULT_METHODS)
    rows = over_triggers(options, model, paths, methods, measure)
    sys.stdout.write(f"\n{report(rows, methods)}\n")


if __name__ == "__main__":
    main()
