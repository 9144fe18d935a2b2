"""The command ``tune``."""

from __future__ import annotations

import argparse
import sys

from spade_core.cli.common import Meter, emit, table
from spade_core.cli.options import bundle_options, trace_options
from spade_core.cli.subject import load
from spade_core.evaluation.statistics import DENSE
from spade_core.pruning.tables import Table
from spade_core.saliency import METHOD_OPTIONS
from spade_core.tuning.configuration import Tuning
from spade_core.tuning.tune import tune


def run_tune(options: argparse.Namespace) -> int:
    methods, trace = tuple(dict.fromkeys(options.method)), trace_options(options)
    begin = tuple(Table().check(path)["stages"] for path in options.begin)
    bundle, own = bundle_options(options), METHOD_OPTIONS.said(options.option)
    drawn = {"traces": bundle.traces, "average": bundle.average, "seed": options.seed, "threads": options.threads}
    searched = options.processing, options.ratios, trace, begin, options.sweeps
    tuning = Tuning(options.objective, methods, *searched, method_options=own, **drawn)
    options.model = options.model or tuning.measured.kind.model
    where = {"split": options.split, "limit": options.limit}
    found = tune(load(options), options.images, options.out, tuning, **where, progress=Meter())
    sys.stderr.write(f"written to {options.out}\n")
    rows = [["method", DENSE, "chosen", "kept", "looks", "ratios"]]
    for name, told in found["provenance"]["scores"].items():
        ratios = found["methods"].get(name, found["stages"])
        shown = ratios if ratios == DENSE else " ".join(f"{stage}={ratio:g}" for stage, ratio in ratios.items())
        score, kept = told["chosen"]["score"], told["chosen"]["kept"]
        rows.append([name, f"{told['dense']:.2f}", f"{score:.2f}", f"{kept:.0%}", told["looks"], shown])
    return emit(options, found, [found["chosen"], *table(rows)])
