"""The command ``study build``: a stimulus set from pictures, or the shipped one drawn anew."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from spade_core.cli.common import Meter, emit, warn
from spade_core.cli.subject import load
from spade_core.config import Settings
from spade_core.errors import ConfigError
from spade_core.models.loading import load_model
from spade_core.neurons.rendering import RenderConfig
from spade_core.pictures.splits import pictures_in, spread
from spade_core.study.design.design import TEMPLATE, load_design
from spade_core.study.stimuli.build import Builder, References, identity, plan
from spade_core.study.stimuli.demo import build_demo_set
from spade_core.study.stimuli.stimulus_report import finish
from spade_core.study.stimuli.stimulus_set import StimulusSet
from spade_core.trojan.triggers import TRIGGERS


def run_build(options: argparse.Namespace) -> int:
    if options.demo:
        made = build_demo_set(Path(options.out), steps=options.steps, device=options.device, progress=Meter())
        return _emit_set(options, made)
    if not options.images or not options.out:
        raise ConfigError("Give --images DIR and --out DIR, or --demo for a study of the shipped set.")
    paths = spread(pictures_in(options.images), options.count)
    trace = {"preset": "drawing", "seed": options.seed}
    model, out = load(options), Path(options.out)
    judge = load_model(options.model, device=options.device)
    config = RenderConfig(steps=options.steps, seed=options.seed)
    builder = Builder(model, judge, config, trace, out, _references(options.references, paths))
    triggers, side = list(TRIGGERS) if options.triggers else [], model.preprocessing.side("A study")
    candidates = plan(paths, practice=options.practice, catch=options.catch, triggers=triggers, side=side)
    out.parent.mkdir(parents=True, exist_ok=True)
    found = list(builder.drafts(candidates, rows=out.with_name(out.name + ".rows.jsonl"), progress=Meter()))
    drafts = [draft for draft, _ in found if draft is not None]
    settings = {"drawing": builder.config.to_dict(), "trace": trace, "model": model.sha256}
    if builder.references is not None:
        settings["references"] = {"folder": builder.references.folder.name, "state": builder.references.state()}
    dropped = [rule for _, rule in found if rule]
    return _emit_set(options, finish(out, drafts, demo=False, title=out.name, settings=settings, dropped=dropped))


def _emit_set(options: argparse.Namespace, made: StimulusSet) -> int:
    """Print what a built set holds, and warn of what stands in its way."""
    warn(made.warning)
    try:
        load_design(TEMPLATE).check_set(made)
    except ConfigError as error:
        warn(f"This set does not serve the template: {error}")
    counts = {role: len(made.of(role)) for role in ("main", "practice", "catch")}
    sources = dict(Counter(item.reference_source for item in made.of("main")))
    described = {"folder": str(made.folder), "sha256": made.sha256, **counts, "references_from": sources}
    described |= {"dropped": made.about["dropped"], **made.about["report"]}
    return emit(options, described, [f"{name:<22} {json.dumps(value)}" for name, value in described.items()])


def _references(folder: str | None, pictures: list[Path]) -> References | None:
    """Return where the crops of the condition ``reference`` come from, none of them a picture of the study; or None."""
    if folder is None:
        return None
    keep_in = Settings.from_environment().data_dir / "references"
    return References(Path(folder), keep_in, frozenset(filter(None, map(identity, pictures))))
