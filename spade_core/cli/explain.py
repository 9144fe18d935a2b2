"""The commands ``explain`` and ``replay``."""

from __future__ import annotations

import argparse
import json
import time

from spade_core.cli.common import Meter, emit, warn
from spade_core.cli.folder import run_folder
from spade_core.cli.options import bundle_options, trace_options
from spade_core.cli.subject import open_picture
from spade_core.pruning.options import AVERAGES
from spade_core.reports import FORMS
from spade_core.results.comparison import Analysis, TriggerRecord, analyse, bundle, replay
from spade_core.results.config import AnalysisConfig
from spade_core.results.drawing import replay_visualization
from spade_core.results.manifest import read_manifest, ready, save
from spade_core.saliency import METHOD_OPTIONS, METHODS

SAID = "model picture target prediction trace_prediction fidelity sparsity trace traces seconds refused"
"""Of the manifest, what ``explain --json`` prints; docs/command-line.md documents these keys."""


def run_explain(options: argparse.Namespace) -> int:
    return run_picture(options) if options.images is None else run_folder(options)


def run_picture(options: argparse.Namespace) -> int:
    methods = tuple(dict.fromkeys(options.method))
    own, bundled = METHOD_OPTIONS.said(options.option), bundle_options(options)
    config = AnalysisConfig(methods, options.target, trace_options(options), own, options.seed, bundled)
    ready(options.out)
    given = open_picture(options)
    analysis = analyse(given.model, given.picture, config, progress=Meter())
    trigger = TriggerRecord(given.paste, given.mask) if given.paste is not None and given.mask is not None else None
    files = bundle(analysis, given.source, trigger)
    if options.report:
        files |= {form.name: form.make(files, analysis.crop) for form in FORMS}
    folder = save(files, options.out)
    seconds, fidelity = time.perf_counter() - options.started, analysis.trace.fidelity
    disagreements = (
        f"{METHODS[slug].title}: {text}" for slug, pair in analysis.pairs.items() if (text := pair.spade.warning)
    )
    described = json.loads(files["manifest.json"])
    warnings = dict.fromkeys(one.fidelity.warning for one in analysis.traces)
    warn(*warnings, *disagreements, *analysis.refused.values(), *described["notes"])
    described["seconds"]["command"] = seconds
    found = {**{key: described[key] for key in SAID.split()}, "methods": list(analysis.pairs), "out": str(folder)}
    lines = [
        f"explained class   {fidelity.label} ({fidelity.target})",
        f"probability       dense {fidelity.dense_probability:.3f}, trace {fidelity.trace_probability:.3f}",
        f"sparsity          {analysis.trace.report.sparsity:.1%} of all weights",
        *(_of_methods(analysis) if len(analysis.distinct) > 1 else []),
        *(
            [f"traces            {bundled.traces}, mean of their maps ({AVERAGES[bundled.average].title.lower()})"]
            if bundled.traces > 1
            else []
        ),
        f"seconds           {seconds:.1f}",
        f"written to        {folder}",
    ]
    return emit(options, found, lines)


def _of_methods(analysis: Analysis) -> list[str]:
    """Return a line for each trace, or bundle of them, where methods have ratios of their own."""
    told = []
    for made, methods in analysis.distinct:
        one = made.weakest
        kept = f"{one.report.sparsity:.1%} removed, probability {one.fidelity.trace_probability:.3f}"
        told.append(f"  {', '.join(methods)}: {kept if one.report.prunes else 'dense, by the table'}")
    return ["ratios of methods", *told]


def run_replay(options: argparse.Namespace) -> int:
    drawn = read_manifest(options.manifest).get("kind") == "visualization"
    again = replay_visualization if drawn else replay
    _, comparison = again(options.manifest, image=options.image, device=options.device, progress=Meter())
    lines = [f"{name}  {'identical' if gap == 0 else f'differs by {gap:.3g}'}" for name, gap in comparison.items()]
    emit(options, {"identical": comparison.identical, "differences": dict(comparison)}, lines)
    return 0 if comparison.identical else 1
