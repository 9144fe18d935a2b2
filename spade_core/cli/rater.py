"""The command ``rater``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

from spade_core.cli.common import Meter, emit
from spade_core.cli.options import trace_options
from spade_core.cli.subject import load
from spade_core.errors import ConfigError
from spade_core.files import resumed
from spade_core.models.loading import load_model
from spade_core.neurons.rendering import RenderConfig
from spade_core.pictures.splits import split_of, spread
from spade_core.study.stimuli.model_rater import Rater, agreement
from spade_core.trojan.triggers import TRIGGERS, Paste


def run_rater(options: argparse.Namespace) -> int:
    if options.count is not None and options.count < 1:
        raise ConfigError(f"--count must be at least 1, not {options.count}.")
    paths = spread(split_of(options.images, options.split), options.count)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    model, judge = load(options), load_model(options.judge, device=options.device)
    render = RenderConfig(steps=options.steps, seed=options.seed)
    rater = Rater(model, judge, render, {**trace_options(options), "seed": options.seed}, out)
    pastes = (Paste(name, seed=number) if options.triggers else None for number, name in enumerate(cycle(TRIGGERS)))
    items = {path.name: (path, paste) for path, paste in zip(paths, pastes, strict=False)}

    def row(_key: str, item: tuple[Path, Paste | None]) -> dict[str, object] | None:
        rating = rater.rate(*item)
        return None if rating is None else asdict(rating)

    settings = {"model": rater.model.sha256, "judge": rater.judge.sha256, "drawing": rater.config.to_dict()}
    settings |= {"trace": rater.trace, "triggers": options.triggers}
    rows = list(resumed(out / "rows.jsonl", items, row, settings=settings, progress=Meter()))
    if not rows:
        raise ConfigError("No picture could be rated: with --triggers the model must answer to them.")
    found = {key: asdict(interval) for key, interval in agreement(rows).items()}
    told = {"rater": "a model, not a person", "model": rater.model.name, "judge": rater.judge.name}
    described = {**told, "reference": rows[0]["reference"], **found}
    (out / "summary.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    sys.stderr.write("note: the rater is a model, not a person\n")
    lines = [f"reference   {rows[0]['reference']}, {len(rows)} pictures"]
    for key, title in (("dense", "dense"), ("spade", "SPADE"), ("gap", "difference")):
        lines.append(f"{title:<11} {found[key]['mean']:+.1f} % [{found[key]['low']:.1f}, {found[key]['high']:.1f}]")
    return emit(options, described, lines)
