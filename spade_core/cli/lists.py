"""Commands that list what there is: models, pictures, methods, layers."""

from __future__ import annotations

import argparse
from typing import Any

from spade_core.cli.common import add_command, add_model, emit, load, table


def register(commands: Any) -> None:
    """Add the commands to the parser."""
    add_command(commands, "models", _models, "list the models")
    add_command(commands, "pictures", _pictures, "list the bundled pictures")
    add_command(commands, "methods", _methods, "list the saliency methods")
    add_model(add_command(commands, "layers", _layers, "list the prunable layers of a model"))


def _models(options: argparse.Namespace) -> int:
    from spade_core.models.loading import MODELS

    rows = [{"name": name, "title": entry.title, "offline": entry.offline} for name, entry in MODELS.items()]
    lines = table(
        [(row["name"], row["title"], "offline" if row["offline"] else "fetched on first use") for row in rows]
    )
    return emit(options, rows, [*lines, "timm:NAME  any model of timm, fetched on first use"])


def _pictures(options: argparse.Namespace) -> int:
    from spade_core.pictures.picture import bundled

    rows = [
        {"name": f"bundled:{name}", "title": item.title, "licence": item.licence} for name, item in bundled().items()
    ]
    return emit(options, rows, table([tuple(row.values()) for row in rows]))


def _methods(options: argparse.Namespace) -> int:
    from spade_core.saliency import METHODS

    rows = [
        {"slug": slug, "title": method.title, "cost": method.cost, "help": method.help}
        for slug, method in METHODS.items()
    ]
    return emit(options, rows, table([tuple(row.values()) for row in rows]))


def _layers(options: argparse.Namespace) -> int:
    from spade_core.pruning.sparsity import stage_of

    model = load(options)
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "stage": stage_of(layer.name, model.family),
        }
        for layer in model.layers
    ]
    return emit(options, rows, table([tuple(row.values()) for row in rows]))
