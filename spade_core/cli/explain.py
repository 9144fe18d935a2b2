"""The commands ``explain`` and ``replay``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from spade_core.cli.common import Meter, add_command, add_model, add_picture, emit, open_picture
from spade_core.cli.options import add_trace, trace_options


def register(commands: Any) -> None:
    """Add the commands to the parser."""
    _add_explain(add_command(commands, "explain", _explain, "make the dense and SPADE maps of one picture"))
    again = add_command(commands, "replay", _replay, "compute a result again from its manifest and compare the bits")
    again.add_argument("manifest", metavar="MANIFEST", help="manifest.json, or the folder that holds it")
    again.add_argument("--image", metavar="FILE", help="where the picture lies now, if it was moved")
    again.add_argument("--device", default="auto", help="auto (as recorded), cpu or cuda")


def _add_explain(parser: argparse.ArgumentParser) -> None:
    add_picture(parser)
    parser.add_argument(
        "--method", required=True, action="append", metavar="X", help="a slug of 'methods'; give it again for more"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results; made if absent")
    parser.add_argument("--target", metavar="CLASS", help="class index or label (default: the dense model's top-1)")
    add_model(parser)
    add_trace(parser)


def _explain(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    from spade_core.results.comparison import AnalysisConfig, TriggerRecord, analyse, bundle
    from spade_core.results.manifest import save

    config = AnalysisConfig(
        methods=tuple(dict.fromkeys(options.method)),
        target=options.target,
        trace=trace_options(options),
        seed=options.seed,
    )
    given = open_picture(options)
    analysis = analyse(given.model, given.picture, config, progress=Meter())
    trigger = TriggerRecord(given.paste, given.mask) if given.paste is not None else None
    files = bundle(analysis, given.source, trigger)
    folder = save(files, options.out)
    described = json.loads(files["manifest.json"])
    described["seconds"]["command"] = time.perf_counter() - start
    for text in (analysis.trace.fidelity.warning, *analysis.refused.values()):
        if text:
            sys.stderr.write(f"warning: {text}\n")
    return emit(options, _summary(described, str(folder)), _summary_lines(described, folder))


def _summary(described: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return what ``explain --json`` prints; the README documents these keys."""
    keys = (
        "model",
        "picture",
        "target",
        "prediction",
        "trace_prediction",
        "fidelity",
        "sparsity",
        "trace",
        "seconds",
        "refused",
    )
    return {**{key: described[key] for key in keys}, "methods": list(described["methods"]), "out": folder}


def _summary_lines(described: dict[str, Any], folder: object) -> list[str]:
    fidelity, target = described["fidelity"], described["target"]
    return [
        f"explained class   {target['label']} ({target['index']})",
        f"probability       dense {fidelity['dense_probability']:.3f}, trace {fidelity['trace_probability']:.3f}",
        f"sparsity          {described['sparsity']:.1%} of all weights",
        f"seconds           {described['seconds']['command']:.1f}",
        f"written to        {folder}",
    ]


def _replay(options: argparse.Namespace) -> int:
    from spade_core.results.comparison import replay
    from spade_core.results.drawing import replay_visualization
    from spade_core.results.manifest import read_manifest

    drawn = read_manifest(options.manifest).get("kind") == "visualization"
    again = replay_visualization if drawn else replay
    _, comparison = again(options.manifest, image=options.image, device=options.device, progress=Meter())
    lines = [f"{name}  {'identical' if gap == 0 else f'differs by {gap:.3g}'}" for name, gap in comparison.items()]
    emit(options, {"identical": comparison.identical, "differences": dict(comparison)}, lines)
    return 0 if comparison.identical else 1
