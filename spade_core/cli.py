"""The command line: ``python -m spade_core COMMAND``.

Bad input ends with one sentence on standard error and exit code 2, an interrupted run with 130. Progress goes to
standard error, results to standard output.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spade_core import __version__
from spade_core.errors import ConfigError, SpadeError

__all__ = ["build_parser", "main"]

DEFAULT_MODEL = "efficientnet_lite0"
PROGRESS_INTERVAL = 0.2  # seconds between two progress lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return options.run(options)
    except SpadeError as error:
        sys.stderr.write(f"spade_core: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nspade_core: stopped.\n")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m spade_core", description="See why a vision model decided what it did on one image."
    )
    parser.add_argument("--version", action="version", version=f"SPADE Studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _command(commands, "models", _models, "list the models")
    _command(commands, "pictures", _pictures, "list the bundled pictures")
    _command(commands, "methods", _methods, "list the saliency methods")
    layers = _command(commands, "layers", _layers, "list the prunable layers of a model")
    _add_model(layers)
    _add_explain(_command(commands, "explain", _explain, "make the dense and SPADE maps of one picture"))
    again = _command(commands, "replay", _replay, "compute a result again from its manifest and compare the bits")
    again.add_argument("manifest", metavar="MANIFEST", help="manifest.json, or the folder that holds it")
    again.add_argument("--image", metavar="FILE", help="where the picture lies now, if it was moved")
    again.add_argument("--device", default="auto", help="auto (as recorded), cpu or cuda")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="M", help="a name of 'models' or timm:NAME (default: %(default)s)"
    )
    group.add_argument("--weights", metavar="FILE", help="own weights: safetensors or a state dict; needs --arch")
    group.add_argument("--arch", metavar="NAME", help="architecture of --weights: a name of 'models' or timm:NAME")
    group.add_argument("--classes", metavar="FILE", help="class names of --weights, one a line")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="channel means of --weights")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="channel standard deviations of --weights")
    group.add_argument("--size", type=int, metavar="PX", help="input side of --weights")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture file, or bundled:NAME")
    parser.add_argument(
        "--method", required=True, action="append", metavar="X", help="a slug of 'methods'; give it again for more"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results; made if absent")
    parser.add_argument("--target", metavar="CLASS", help="class index or label (default: the dense model's top-1)")
    _add_model(parser)
    group = parser.add_argument_group("trace")
    group.add_argument(
        "--solver", default="fastspade", help="fastspade, spade (exact) or magnitude (default: fastspade)"
    )
    group.add_argument("--calibration", help="independent (the paper) or sequential (default: the preset's)")
    group.add_argument("--preset", metavar="P", help="default, auto, uniform, paper-visualization, paper-lrp or custom")
    group.add_argument("--sparsity", type=float, metavar="F", help="one ratio for all layers, 0 to 1")
    group.add_argument(
        "--stage", action="append", default=[], metavar="NAME=F", help="ratio of a stage (preset custom)"
    )
    group.add_argument("--views", type=int, metavar="N", help="number of random views (the paper: 1024)")
    group.add_argument("--damping", type=float, metavar="F", help="fraction of the mean diagonal")
    group.add_argument("--block-size", type=int, metavar="N", help="columns per mask choice")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of views and methods (default: 0)")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


def _emit(options: argparse.Namespace, value: Any, lines: Sequence[str]) -> int:
    _say(json.dumps(value, ensure_ascii=False) if options.json else "\n".join(lines))
    return 0


def _table(rows: Sequence[Sequence[object]]) -> list[str]:
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _models(options: argparse.Namespace) -> int:
    from spade_core.models import MODELS

    rows = [{"name": name, "title": entry.title, "offline": entry.offline} for name, entry in MODELS.items()]
    lines = _table(
        [(row["name"], row["title"], "offline" if row["offline"] else "fetched on first use") for row in rows]
    )
    return _emit(options, rows, [*lines, "timm:NAME  any model of timm, fetched on first use"])


def _pictures(options: argparse.Namespace) -> int:
    from spade_core.images import bundled

    rows = [
        {"name": f"bundled:{name}", "title": item.title, "licence": item.licence} for name, item in bundled().items()
    ]
    return _emit(options, rows, _table([tuple(row.values()) for row in rows]))


def _methods(options: argparse.Namespace) -> int:
    from spade_core.saliency import METHODS

    rows = [
        {"slug": slug, "title": method.title, "cost": method.cost, "help": method.help}
        for slug, method in METHODS.items()
    ]
    return _emit(options, rows, _table([tuple(row.values()) for row in rows]))


def _load(options: argparse.Namespace) -> Any:
    from spade_core.models import load_model

    own = {key: getattr(options, key) for key in ("weights", "arch", "classes", "mean", "std", "size")}
    return load_model(options.model, device=options.device, **own)


def _layers(options: argparse.Namespace) -> int:
    from spade_core.sparsity import stage_of

    model = _load(options)
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "stage": stage_of(layer.name, model.family),
        }
        for layer in model.layers
    ]
    return _emit(options, rows, _table([tuple(row.values()) for row in rows]))


def _explain(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    from spade_core.analysis import AnalysisConfig, analyse
    from spade_core.images import load_picture
    from spade_core.results import bundle, save

    picture = load_picture(options.image)
    config = AnalysisConfig(
        methods=tuple(dict.fromkeys(options.method)),
        target=options.target,
        trace=_trace_options(options),
        seed=options.seed,
    )
    for note in picture.notes:
        sys.stderr.write(f"note: {note}\n")
    model = _load(options)
    analysis = analyse(model, picture, config, progress=_Meter())
    bundled = options.image.startswith("bundled:")
    files = bundle(analysis, options.image if bundled else str(Path(options.image).resolve()))
    folder = save(files, options.out)
    described = json.loads(files["manifest.json"])
    described["seconds"]["command"] = time.perf_counter() - start
    for text in (analysis.trace.fidelity.warning, *analysis.refused.values()):
        if text:
            sys.stderr.write(f"warning: {text}\n")
    return _emit(options, _summary(described, str(folder)), _summary_lines(described, folder))


def _trace_options(options: argparse.Namespace) -> dict[str, Any]:
    keys = ("solver", "calibration", "preset", "sparsity", "views", "damping", "block_size")
    found = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    return {**found, "stages": _stages(options.stage)} if options.stage else found


def _stages(items: Sequence[str]) -> dict[str, float]:
    found = {}
    for item in items:
        name, _, ratio = item.partition("=")
        try:
            found[name] = float(ratio)
        except ValueError:
            raise ConfigError(f"--stage takes NAME=RATIO, such as blocks.3=0.6, not {item!r}.") from None
    return found


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
    from spade_core.results import replay

    _, comparison = replay(options.manifest, image=options.image, device=options.device, progress=_Meter())
    lines = [f"{name}  {'identical' if gap == 0 else f'differs by {gap:.3g}'}" for name, gap in comparison.items()]
    _emit(options, {"identical": comparison.identical, "differences": dict(comparison)}, lines)
    return 0 if comparison.identical else 1


class _Meter:
    """One line on a terminal's standard error that shows what is going on and about how long it will take."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if not self._shown or (now - self._last < PROGRESS_INTERVAL and done < total):
            return
        self._last = now
        fraction = done / total if total else 1.0
        left = f", {(now - self._start) * (1 - fraction) / fraction:.0f} s left" if fraction > 0.05 else ""
        text = f"{fraction:4.0%} {note}{left}" if done < total else ""
        sys.stderr.write(f"\r{text:<70}" + ("" if text else "\r"))
        sys.stderr.flush()
