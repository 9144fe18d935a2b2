"""The commands ``visualize``, ``neurons``, ``trace`` and ``layers``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spade_core.cli.common import Meter, emit, emit_table, table, warn
from spade_core.cli.options import trace_options
from spade_core.cli.subject import Given, load, open_picture
from spade_core.errors import ConfigError
from spade_core.files import write_whole
from spade_core.models.labels import resolve_target
from spade_core.models.loaded import LoadedModel
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.ranking import rank_channels
from spade_core.pruning.spade import trace
from spade_core.pruning.sparsity import stage_of
from spade_core.pruning.trace import Trace
from spade_core.pruning.trace_file import trace_bytes
from spade_core.results.config import DIVERSITY, VisualizeConfig
from spade_core.results.drawing import visualization_files, visualize
from spade_core.results.manifest import ready, save
from spade_core.saliency.advice import advise_layers


def run_visualize(options: argparse.Namespace) -> int:
    given = open_picture(options)
    neuron = _neuron(options, given.model)
    target = None if options.target is None else resolve_target(given.model, options.target)
    render = {"steps": options.steps, "size": options.render_size, "seed": options.seed, "matching": options.matching}
    render |= {"parametrization": options.parametrization, "start": options.start}
    apart = DIVERSITY if options.images > 1 else 0.0
    render["diversity"] = apart if options.diversity is None else options.diversity
    traced = {**trace_options(options), "seed": options.seed}
    config = VisualizeConfig(neuron, target, options.images, render, traced)
    ready(options.out)
    found = visualize(given.model, given.picture, config, progress=Meter())
    files = visualization_files(found, given.source, given.paste)
    folder = save(files, options.out)
    notes = dict.fromkeys(note for item in found.drawings.values() for note in item.notes)
    fidelity = found.trace.fidelity
    warn(fidelity.warning, *notes)
    described = json.loads(files["manifest.json"])
    keys = ("model", "picture", "neuron", "target", "fidelity", "sparsity", "images", "region", "seconds")
    lines = [
        f"neuron        {described['neuron']['label']}",
        f"probability   dense {fidelity.dense_probability:.3f}, trace {fidelity.trace_probability:.3f}",
        f"seconds       {found.seconds:.1f}",
        f"written to    {folder}",
    ]
    return emit(options, {**{key: described[key] for key in keys}, "out": str(folder)}, lines)


def _neuron(options: argparse.Namespace, model: LoadedModel) -> Neuron | None:
    """Return what the options name; None: the neuron of the predicted class."""
    if options.class_ is not None:
        if any(given is not None for given in (options.layer, options.channel, options.position, options.direction)):
            others = "--layer and --channel out, --position and --direction too"
            raise ConfigError(f"--class names a neuron of its own: leave {others}.")
        return Neuron(LOGITS, resolve_target(model, options.class_))
    if options.direction is not None:
        return _along(options)
    if options.layer is None and options.channel is None:
        if options.position is not None:
            raise ConfigError("--position is a place in a channel: give --layer and --channel too.")
        return None
    if options.layer is None or options.channel is None:
        raise ConfigError("A channel is named by its layer and its number: give both --layer and --channel.")
    return Neuron(options.layer, options.channel, options.position)


def _along(options: argparse.Namespace) -> Neuron:
    """Return the direction of a layer whose weights a file holds, separated by commas or white space."""
    if options.layer is None or options.channel is not None or options.position is not None:
        raise ConfigError("--direction goes with --layer alone: leave --channel and --position out.")
    try:
        weights = tuple(float(part) for part in Path(options.direction).read_text("utf-8").replace(",", " ").split())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{options.direction} holds no numbers: give --direction a text file of weights.") from error
    if not np.isfinite(weights).all() or not np.any(weights):
        raise ConfigError(f"The weights in {options.direction} must be finite and not all 0.")
    return Neuron(options.layer, direction=weights)


def run_neurons(options: argparse.Namespace) -> int:
    if options.top < 1:
        raise ConfigError(f"--top must be at least 1, not {options.top}.")
    given, made = _trace(options, options.class_)
    found = rank_channels(made, given.picture, options.layer, by=options.by, top=options.top)
    rows = [{"channel": item.channel, "score": item.score, "place": list(item.place)} for item in found]
    lines = table([("channel", options.by, "place"), *((r["channel"], f"{r['score']:.4g}", r["place"]) for r in rows)])
    return emit(options, rows, lines)


def _trace(options: argparse.Namespace, target: str | None) -> tuple[Given, Trace]:
    given, asked = open_picture(options), {**trace_options(options), "seed": options.seed}
    return given, trace(given.model, given.picture, target=target, progress=Meter(), **asked)


def run_trace(options: argparse.Namespace) -> int:
    out = Path(options.out)
    ready(out.parent)
    _, made = _trace(options, options.target)
    data = trace_bytes(made)
    try:
        write_whole(out, data)
    except OSError as error:
        raise ConfigError(
            f"The trace cannot be written to {out} ({error.strerror or error}): give another file, or make room."
        ) from error
    warn(made.fidelity.warning)
    described: dict[str, object] = {"out": str(out), "bytes": len(data), "sparsity": made.report.sparsity}
    described |= {"fidelity": made.fidelity.to_dict(), "seconds": made.seconds}
    lines = [
        f"sparsity     {made.report.sparsity:.1%} of all weights",
        f"probability  dense {made.fidelity.dense_probability:.3f}, trace {made.fidelity.trace_probability:.3f}",
        f"written to   {out} ({len(data) / 2**20:.1f} MB)",
    ]
    return emit(options, described, lines)


def run_layers(options: argparse.Namespace) -> int:
    model = load(options)
    if options.advice:
        told = [(one.name, f"{one.channels} x {one.rows} x {one.columns}", one.reason) for one in advise_layers(model)]
        return emit(options, [asdict(one) for one in advise_layers(model)], table(told))
    rows = [(one.name, one.kind, list(one.shape), stage_of(one.name, model.family)) for one in model.layers]
    return emit_table(options, ("name", "kind", "shape", "stage"), rows)
