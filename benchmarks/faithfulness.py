"""Does the trace keep the class, and are its maps more faithful to the dense model? Insertion and deletion on a folder.

    python -m benchmarks.faithfulness --images DIR --split reporting --count 100 --out faithfulness.jsonl

For each picture: one trace, the maps of dense model and trace, and their insertion and deletion curves on the dense
model. A line is written after each picture, so that an interrupted run goes on; intervals are bootstrapped.
The same command with ``--split tuning`` and other trace options is how the default preset was chosen.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import spade_core as sc
from benchmarks.insertion_deletion import insertion_deletion
from benchmarks.options import folder_parser, given, settings
from spade_core.cli.common import Meter
from spade_core.files import resumed
from spade_core.models.loaded import LoadedModel
from spade_core.saliency.metrics import bootstrap_interval

METHODS = ("saliency", "input_x_gradient", "integrated_gradients")


def measure(model: LoadedModel, path: Path, methods: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return one picture's row: fidelity, sparsity, seconds, and each method's areas."""
    picture = sc.load_picture(path)
    start = time.perf_counter()
    trace = sc.trace(model, picture, **options)
    seconds = time.perf_counter() - start
    x = model.input(picture)
    row: dict[str, Any] = {
        "kept": trace.fidelity.trace_top5[0][0] == trace.fidelity.dense_top5[0][0],
        "dense_probability": trace.fidelity.dense_probability,
        "trace_probability": trace.fidelity.trace_probability,
        "kl": trace.fidelity.kl,
        "sparsity": trace.report.sparsity,
        "seconds": seconds,
    }
    for method in methods:
        for side, network in (("dense", model), ("spade", trace)):
            found = sc.explain(network, picture, method=method)
            curves = insertion_deletion(model.module, x, found.map, found.target)
            row[f"{side}_{method}"] = (curves.insertion_auc, curves.deletion_auc)
    return row


def report(found: list[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    kept = bootstrap_interval(100 * np.array([row["kept"] for row in found]))
    sparsity = np.array([row["sparsity"] for row in found])
    seconds = np.array([row["seconds"] for row in found])
    lines = [
        f"{len(found)} pictures; class kept {kept} %; mean sparsity {100 * sparsity.mean():.1f} %; "
        f"median KL {np.median([row['kl'] for row in found]):.3f} nats; "
        f"seconds a trace: median {np.median(seconds):.1f}, "
        f"5-95 % {np.percentile(seconds, 5):.1f}-{np.percentile(seconds, 95):.1f}",
        "",
        "| method | insertion dense | SPADE | difference | deletion dense | SPADE | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in [
        key.removeprefix("dense_") for key in found[0] if key.startswith("dense_") and key != "dense_probability"
    ]:
        dense, spade = (np.array([row[f"{side}_{name}"] for row in found]) for side in ("dense", "spade"))
        cells = []
        for column in (0, 1):
            gap = bootstrap_interval(spade[:, column] - dense[:, column])
            cells += [f"{dense[:, column].mean():.2f}", f"{spade[:, column].mean():.2f}", str(gap)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = folder_parser(
        "faithfulness", __doc__, model="efficientnet_lite0", methods=", ".join(METHODS)
    ).parse_args()
    model, paths = given(options)
    methods = tuple(options.method or METHODS)
    rows = list(
        resumed(
            options.out, {path.name: path for path in paths},
            lambda _, path: measure(model, path, methods, options.trace),
            settings=settings(options, model, methods), progress=Meter(),
        )
    )  # fmt: skip
    sys.stdout.write(f"\n{report(rows)}\n")


if __name__ == "__main__":
    main()
