"""The options that the measurements over a folder share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spade_core.cli.common import Meter
from spade_core.files import resumed
from spade_core.models.loaded import LoadedModel
from spade_core.models.loading import load_model
from spade_core.pictures.splits import SPLITS, split_of, spread
from spade_core.trojan.triggers import TRIGGERS


def folder_parser(name: str, doc: str, *, model: str, methods: str) -> argparse.ArgumentParser:
    """Return a parser of folder, split, model, methods, trace options and output; ``methods`` says the default ones."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc.split("\n")[0])
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--split", default="reporting", choices=SPLITS)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--model", default=model)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--method", action="append", help=f"default: {methods}")
    parser.add_argument("--trace", type=json.loads, default={}, help="options of spade_core.trace as JSON")
    parser.add_argument("--out", required=True, help="file of JSON lines; an interrupted run goes on")
    return parser


def given(options: argparse.Namespace) -> tuple[LoadedModel, list[Path]]:
    """Return the model, and the pictures spread over the split."""
    return load_model(options.model, device=options.device), spread(
        split_of(options.images, options.split), options.count
    )


def over_triggers(
    options: argparse.Namespace,
    model: LoadedModel,
    paths: list[Path],
    methods: tuple[str, ...],
    measure: Callable[[LoadedModel, Path, str, int, tuple[str, ...], dict[str, Any]], dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """Return what ``measure`` found of each picture with one trigger in it, which take turns; it is kept row by row.

    Args:
        measure: of the model, a picture, its trigger's name, a seed, the methods and the trace's options; None: the
            pair does not count.
    """
    names = list(TRIGGERS)
    items = {f"{path.name} {names[i % len(names)]}": (path, names[i % len(names)], i) for i, path in enumerate(paths)}

    def row(_key: str, item: tuple[Path, str, int]) -> dict[str, Any] | None:
        return measure(model, *item, methods, options.trace)

    return list(resumed(options.out, items, row, settings=settings(options, model, methods), progress=Meter()))


def settings(options: argparse.Namespace, model: LoadedModel, methods: tuple[str, ...]) -> dict[str, Any]:
    """Return what the rows depend on, beside the pictures."""
    return {"model": model.sha256, "trace": options.trace, "methods": methods}
