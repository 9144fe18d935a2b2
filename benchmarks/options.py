"""The options that the measurements over a folder share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from spade_core.models.loaded import LoadedModel
from spade_core.models.loading import load_model
from spade_core.pictures.splits import SPLITS, split_of, spread


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


def settings(options: argparse.Namespace, model: LoadedModel, methods: tuple[str, ...]) -> dict[str, Any]:
    """Return what the rows depend on, beside the pictures."""
    return {"model": model.sha256, "trace": options.trace, "methods": methods}
