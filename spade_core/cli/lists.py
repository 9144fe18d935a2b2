"""Commands that list what there is: models, pictures, methods."""

from __future__ import annotations

import argparse

from spade_core.cli.common import emit, emit_table, table
from spade_core.models.registry import MODELS, Entry
from spade_core.pictures.picture import bundled
from spade_core.saliency import METHODS

OTHERS = (
    "timm:NAME            any model of timm, fetched on first use",
    "hf-hub:OWNER/NAME    an image classifier of timm or transformers on the Hugging Face hub, fetched on first use",
    "--weights PATH       own: a state dict with --arch, a folder of timm or transformers, or an ONNX file",
)


def run_models(options: argparse.Namespace) -> int:
    rows = [{"name": name, "title": entry.title, "offline": entry.offline} for name, entry in MODELS.items()]
    lines = [(name, one.title, _origin(one)) for name, one in MODELS.items()]
    return emit(options, rows, [*table(lines), *OTHERS])


def _origin(entry: Entry) -> str:
    if entry.missing:
        return f"after: pip install {entry.missing}"
    return "offline" if entry.offline else "fetched on first use"


def run_pictures(options: argparse.Namespace) -> int:
    rows = [(f"bundled:{name}", item.title, item.licence) for name, item in bundled().items()]
    return emit_table(options, ("name", "title", "licence"), rows)


def run_methods(options: argparse.Namespace) -> int:
    found = [
        {
            **{key: getattr(method, key) for key in ("slug", "title", "cost", "help")},
            "options": {name: {"default": one.default, "help": one.help} for name, one in method.options.items()},
        }
        for method in METHODS.values()
    ]
    rows = [(method.slug, method.title, method.cost, method.help) for method in METHODS.values()]
    own = [
        (f"{method.slug}.{name}", "" if one.default is None else one.kind.write(one.default), one.help)
        for method in METHODS.values()
        for name, one in method.options.items()
    ]
    return emit(options, found, [*table(rows), "", "--option METHOD.NAME=VALUE, with its default:", *table(own)])
