"""The command ``benchmark``."""

from __future__ import annotations

import argparse
import sys

from spade_core.cli.common import Meter, emit
from spade_core.cli.options import trace_options
from spade_core.cli.subject import load
from spade_core.evaluation.configuration import Configuration
from spade_core.evaluation.engine import run
from spade_core.saliency import METHOD_OPTIONS


def run_benchmark(options: argparse.Namespace) -> int:
    chosen = options.methods, options.arms, options.processing
    drawn = options.seed, options.threads, METHOD_OPTIONS.said(options.option)
    configuration = Configuration(options.benchmark, *chosen, trace_options(options), *drawn)
    options.model = options.model or configuration.kind.model
    where = {name: getattr(options, name) for name in ("split", "limit", "reference", "engine", "address")}
    found = run(load(options), options.images, options.out, configuration, **where, progress=Meter())
    sys.stderr.write(f"written to {found.folder}\n")
    told = {"out": str(found.folder), "pictures": found.statistics.pictures, "skipped": found.skipped}
    return emit(options, told, [found.table.rstrip()])
