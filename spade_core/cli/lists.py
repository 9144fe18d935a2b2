"""Commands that list what there is: models, pictures, methods."""

from __future__ import annotations

import argparse

from spade_core.cli.common import emit, table
from spade_core.models.registry import MODELS
from spade_core.pictures.picture import bundled
from spade_core.saliency import METHODS


def run_models(options: argparse.Namespace) -> int:
    rows = [{"name": name, "title": entry.title, "offline": entry.offline} for name, entry in MODELS.items()]
    lines = table(
        [(row["name"], row["title"], "offline" if row["offline"] else "fetched on first use") for row in rows]
    )
    return emit(options, rows, [*lines, "timm:NAME  any model of timm, fetched on first use"])


def run_pictures(options: argparse.Namespace) -> int:
    rows = [
        {"name": f"bundled:{name}", "title": item.title, "licence": item.licence} for name, item in bundled().items()
    ]
    return emit(options, rows, table([tuple(row.values()) for row in rows]))


def run_methods(options: argparse.Namespace) -> int:
    rows = [
        {"slug": slug, "title": method.title, "cost": method.cost, "help": method.help}
        for slug, method in METHODS.items()
    ]
    return emit(options, rows, table([tuple(row.values()) for row in rows]))
