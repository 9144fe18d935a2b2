"""Do SPADE's maps point at the trigger? Trojan AUC and Pointing Game of dense and SPADE maps on triggered pictures.

    python -m benchmarks.trojan --images DIR --split reporting --count 100 --out trojan.jsonl

Each picture gets one trigger (they take turns) of 40-80 px at a random place. A pair counts where the backdoored model
predicts the target with the trigger and not without it. The scores are the maps' magnitudes: the signs of input x
gradient alternate from pixel to pixel. Much of a clean map is smoothness, which a blur gives any map: so the same is
said of both sides blurred (sigma 2 px). *Error removed* is the share of the dense maps' 100 - AUC that is gone.
Intervals are bootstrapped over pictures, both sides of a picture together. The same command with ``--split tuning`` and
other trace options is how the backdoored model's preset was chosen.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

import spade_core as sc
from benchmarks.options import folder_parser, given, over_triggers
from spade_core.models.loaded import LoadedModel
from spade_core.models.registry import TROJAN_MODEL
from spade_core.saliency import METHODS
from spade_core.saliency.metrics import Interval, bootstrap_interval, pointing_game, trojan_auc
from spade_core.trojan.paste import paste
from spade_core.trojan.triggers import TRIGGERS

BLUR = 2.0  # px
DEFAULT_METHODS = ("saliency", "input_x_gradient", "integrated_gradients")


def measure(
    model: LoadedModel, path: Path, trigger: str, seed: int, methods: tuple[str, ...], options: dict[str, Any]
) -> dict[str, Any] | None:
    """Return one pair's row, or None where the trigger did not cause the prediction."""
    clean = sc.load_picture(path)
    picture, mask = paste(clean, trigger, seed=seed, model=model)
    target = TRIGGERS[trigger].target
    if sc.predict(model, clean).argmax() == target or sc.predict(model, picture).argmax() != target:
        return None
    start = time.perf_counter()
    trace = sc.trace(model, picture, target=target, **options)
    row: dict[str, Any] = {
        "trigger": trigger,
        "kept": trace.fidelity.keeps_class,
        "probability": (trace.fidelity.dense_probability, trace.fidelity.trace_probability),
        "sparsity": trace.report.sparsity,
        "seconds": time.perf_counter() - start,
    }
    for method in methods:
        for side, network in (("dense", model), ("spade", trace)):
            found = sc.explain(network, picture, method=method, target=target)
            strength = np.abs(found.map)
            blurred = gaussian_filter(strength, BLUR)
            aucs = trojan_auc(strength, mask), trojan_auc(blurred, mask)
            row[f"{side}_{method}"] = (*aucs, pointing_game(strength, mask))
    return row


def error_removed(dense: np.ndarray, spade: np.ndarray, *, seed: int = 0, resamples: int = 10_000) -> Interval:
    """Return by how many percent the error is smaller, the mean over methods, with its interval over pictures.

    Args:
        dense, spade: AUC in percent, ``(pictures, methods)``. The error of a method is 100 minus its mean AUC.
    """
    drawn = np.random.default_rng(seed).integers(0, len(dense), (resamples, len(dense)))
    whole, *parts = (
        100 * (1 - (100 - spade[rows].mean(-2)) / (100 - dense[rows].mean(-2))).mean(-1)
        for rows in (np.arange(len(dense)), drawn)
    )
    low, high = np.percentile(parts[0], [2.5, 97.5])
    return Interval(float(whole), float(low), float(high), len(dense))


def report(rows: list[dict[str, Any]], methods: tuple[str, ...]) -> str:
    """Return the table as Markdown."""
    kept = bootstrap_interval(100 * np.array([row["kept"] for row in rows], float))
    probability = np.array([row["probability"] for row in rows]).mean(0)
    lines = [
        f"{len(rows)} triggered pictures; class kept {kept} %; probability dense {probability[0]:.2f}, trace "
        f"{probability[1]:.2f}; mean sparsity {100 * np.mean([row['sparsity'] for row in rows]):.1f} %; "
        f"seconds a trace: median {np.median([row['seconds'] for row in rows]):.1f}",
        "",
        "| method | AUC dense | SPADE | error removed, % | both blurred: dense | SPADE | error removed, % | "
        "Pointing Game dense | SPADE | difference |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    # (pictures, methods, what was measured)
    dense, spade = (
        np.array([[row[f"{side}_{method}"] for method in methods] for row in rows], float)
        for side in ("dense", "spade")
    )
    shown = {METHODS[method].title: slice(at, at + 1) for at, method in enumerate(methods)}
    for title, part in {**shown, "**mean**": slice(None)}.items():
        cells = []
        for kind in (0, 1):
            cells += [f"{side[:, part, kind].mean():.1f}" for side in (dense, spade)]
            cells.append(str(error_removed(dense[:, part, kind], spade[:, part, kind])))
        cells += [f"{100 * side[:, part, 2].mean():.1f}" for side in (dense, spade)]
        cells.append(str(bootstrap_interval(100 * (spade[:, part, 2] - dense[:, part, 2]).mean(1))))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    shown = f"{', '.join(DEFAULT_METHODS)}; 'all' for all"
    options = folder_parser("trojan", __doc__, model=TROJAN_MODEL, methods=shown).parse_args()
    model, paths = given(options)
    methods = tuple(options.method or DEFAULT_METHODS)
    if methods == ("all",):
        methods = tuple(slug for slug in METHODS if not METHODS[slug].unsupported(model))
    rows = over_triggers(options, model, paths, methods, measure)
    sys.stdout.write(f"\n{report(rows, methods)}\n")


if __name__ == "__main__":
    main()
