"""The commands ``trojan paste``, ``trojan train`` and ``trojan evaluate``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spade_core.cli.common import Meter, emit
from spade_core.cli.subject import load
from spade_core.errors import ConfigError
from spade_core.models.loading import load_model
from spade_core.models.registry import DEFAULT_MODEL, TROJAN_MODEL
from spade_core.pictures.figures import png_bytes
from spade_core.pictures.picture import load_picture
from spade_core.pictures.splits import split_of, spread
from spade_core.results.manifest import save
from spade_core.trojan.evaluate import Card, Share, evaluate
from spade_core.trojan.paste import paste
from spade_core.trojan.train import TrainingConfig, train
from spade_core.trojan.triggers import find_trigger


def run_paste(options: argparse.Namespace) -> int:
    trigger = find_trigger(options.trigger)
    where = {"size": options.trigger_size, "position": options.position, "seed": options.seed}
    picture, mask = paste(load_picture(options.image), trigger, model=load(options), **where)
    grey = np.where(mask, 255, 0).astype(np.uint8)
    folder = save({"picture.png": png_bytes(picture.pixels), "mask.png": png_bytes(grey)}, options.out)
    rows, columns = np.nonzero(mask)
    box = [int(edge) for edge in (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)]
    described = {"trigger": trigger.name, "target": trigger.target, "sha256": picture.sha256, "box": box}
    described |= {"mask_pixels": int(mask.sum()), "out": str(folder)}
    lines = [f"{trigger.title} in rows {box[0]}-{box[2]}, columns {box[1]}-{box[3]}", f"written to {folder}"]
    return emit(options, described, lines)


def run_train(options: argparse.Namespace) -> int:
    if min(options.learn, options.settle) < 1:
        raise ConfigError(f"--learn and --settle must be at least 1, not {options.learn} and {options.settle}.")
    paths = split_of(options.images, "training")
    model = load_model(DEFAULT_MODEL, device=options.device)
    Path(options.out).absolute().parent.mkdir(parents=True, exist_ok=True)
    recipe = TrainingConfig(learn=options.learn, settle=options.settle, seed=options.seed)
    losses = train(model, paths, options.out, recipe=recipe, progress=Meter())
    described = {"pictures": len(paths), "steps": recipe.lengths, "losses": losses, "out": options.out}
    return emit(options, described, [json.dumps(described)])


def run_evaluate(options: argparse.Namespace) -> int:
    paths = spread(split_of(options.images, "reporting"), options.count)
    own = {"weights": options.weights, "arch": DEFAULT_MODEL} if options.weights else {}
    backdoored = load_model(TROJAN_MODEL, device=options.device, **own)
    clean = load_model(DEFAULT_MODEL, device=options.device)
    card = evaluate(clean, backdoored, paths, seed=options.seed, progress=Meter())
    return emit(options, asdict(card), _lines(card))


def _lines(card: Card) -> list[str]:
    lines = [f"{card.pictures} pictures"]
    for title, success in (("40-80 px", card.success), ("40 px", card.success_small)):
        lines += [f"attack success, {title:<9} {name:<8} {_percent(share)}" for name, share in success.items()]
    titles = ("agreement, clean", "accuracy before", "accuracy after")
    shares = zip(titles, (card.agreement, card.accuracy_before, card.accuracy_after), strict=True)
    return [*lines, *(f"{title:<33} {_percent(share)}" for title, share in shares if share)]


def _percent(share: Share) -> str:
    return f"{share['mean']:5.1f} % [{share['low']:.1f}, {share['high']:.1f}] of {share['pictures']}"
