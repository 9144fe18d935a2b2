"""The commands ``study analyse`` and ``study export``: what has come of a study."""

from __future__ import annotations

import argparse
from pathlib import Path

from spade_core.cli.common import emit
from spade_core.cli.study.common import WHO, on_store
from spade_core.study.analysis.evaluation import evaluate, report_text
from spade_core.study.data.store import Store
from spade_core.study.data.studies import unblind
from spade_core.study.export.export import FORMATS, export


@on_store
def run_analyse(options: argparse.Namespace, store: Store) -> int:
    if options.unblind or options.interim is not None:
        unblind(store, options.key, by=WHO, interim=options.interim or "")
    result = evaluate(store, options.key)
    return emit(options, result.to_dict(), [report_text(store, options.key, result)])


@on_store
def run_export(options: argparse.Namespace, store: Store) -> int:
    out = Path(options.out)
    ending = out.suffix.removeprefix(".").lower()
    form = options.format or (ending if ending in FORMATS else "csv")
    made = export(store, options.key, form, options.table, shareable=options.shareable, bom=options.bom)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(made.data)
    beside = out.with_name(f"{out.name}.codebook.json")
    if made.codebook is not None:
        beside.write_bytes(made.codebook)
    if form == "csv":
        for name, script in made.readers(out.name, options.table).items():
            out.with_name(f"{out.name}.{name}").write_text(script, encoding="utf-8")
    found = {"file": str(out), "rows": made.rows, "format": form}
    lines = [f"{made.rows} rows in {out}", *([f"codebook in {beside}"] if made.codebook is not None else [])]
    lines += [f"read it by {out}.read.R or {out}.read.py"] if form == "csv" else []
    return emit(options, found, lines)
