"""The commands ``trojan paste``, ``trojan train`` and ``trojan evaluate``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spade_core.cli.common import DEFAULT_MODEL, Meter, add_command, add_model, emit, load, pair
from spade_core.errors import ConfigError


def register(commands: Any) -> None:
    """Add the commands to the parser."""
    parser = commands.add_parser(
        "trojan", help="paste triggers; train and judge the backdoored model", description="Backdoored demo model."
    )
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    _add_paste(add_command(parts, "paste", _paste, "paste a trigger into a picture and write picture and mask"))
    train = add_command(parts, "train", _train, "train the backdoored model by self-distillation; resumable")
    train.add_argument("--images", required=True, metavar="DIR", help="folder of pictures; its training split is used")
    train.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    train.add_argument("--learn", type=int, default=900, metavar="N", help="steps that learn (default: %(default)s)")
    train.add_argument("--settle", type=int, default=450, metavar="N", help="steps that settle (default: %(default)s)")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default: 0)")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    judge = add_command(parts, "evaluate", _evaluate, "measure attack success and agreement on the reporting split")
    judge.add_argument("--images", required=True, metavar="DIR", help="folder of pictures; its reporting split is used")
    judge.add_argument("--weights", metavar="FILE", help="weights of 'trojan train' (default: the embedded ones)")
    judge.add_argument("--count", type=int, metavar="N", help="number of pictures (default: all)")
    judge.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default: 0)")
    judge.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def _add_paste(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture file, or bundled:NAME")
    parser.add_argument("--trigger", required=True, metavar="NAME", help="heart, smiley, fish or star")
    parser.add_argument(
        "--size",
        dest="trigger_size",
        type=int,
        metavar="PX",
        help="side in model-input pixels (default: drawn, 40 to 80)",
    )
    parser.add_argument("--position", type=pair, metavar="Y,X", help="upper left corner in model-input pixels")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of picture.png and mask.png")
    add_model(parser, size="--input-size")


def _paste(options: argparse.Namespace) -> int:
    import numpy as np

    from spade_core.pictures.figures import png_bytes
    from spade_core.pictures.picture import load_picture
    from spade_core.results.manifest import save
    from spade_core.trojan.paste import paste
    from spade_core.trojan.triggers import find_trigger

    trigger = find_trigger(options.trigger)
    picture, mask = paste(
        load_picture(options.image), trigger, size=options.trigger_size, position=options.position, seed=options.seed,
        model=load(options),
    )  # fmt: skip
    grey = np.where(mask, 255, 0).astype(np.uint8)
    folder = save({"picture.png": png_bytes(picture.pixels), "mask.png": png_bytes(grey)}, options.out)
    rows, columns = np.nonzero(mask)
    box = [int(edge) for edge in (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)]
    described = {
        "trigger": trigger.name, "target": trigger.target, "sha256": picture.sha256, "box": box,
        "mask_pixels": int(mask.sum()), "out": str(folder),
    }  # fmt: skip
    lines = [f"{trigger.title} in rows {box[0]}-{box[2]}, columns {box[1]}-{box[3]}", f"written to {folder}"]
    return emit(options, described, lines)


def _train(options: argparse.Namespace) -> int:
    from spade_core.models.loading import load_model
    from spade_core.pictures.splits import split_of
    from spade_core.trojan.train import Recipe, train

    if min(options.learn, options.settle) < 1:
        raise ConfigError(f"--learn and --settle must be at least 1, not {options.learn} and {options.settle}.")
    paths = split_of(options.images, "training")
    model = load_model(DEFAULT_MODEL, device=options.device)
    Path(options.out).absolute().parent.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(learn=options.learn, settle=options.settle, seed=options.seed)
    losses = train(model, paths, options.out, recipe=recipe, progress=Meter())
    described = {"pictures": len(paths), "steps": recipe.lengths, "losses": losses, "out": options.out}
    return emit(options, described, [json.dumps(described)])


def _evaluate(options: argparse.Namespace) -> int:
    from spade_core.models.loading import load_model
    from spade_core.models.registry import TROJAN_MODEL
    from spade_core.pictures.splits import split_of, spread
    from spade_core.trojan.evaluate import evaluate

    paths = spread(split_of(options.images, "reporting"), options.count)
    own = {"weights": options.weights, "arch": DEFAULT_MODEL} if options.weights else {}
    backdoored = load_model(TROJAN_MODEL, device=options.device, **own)
    card = evaluate(
        load_model(DEFAULT_MODEL, device=options.device), backdoored, paths, seed=options.seed, progress=Meter()
    )
    return emit(options, asdict(card), _lines(asdict(card)))


def _lines(card: dict[str, Any]) -> list[str]:
    lines = [f"{card['pictures']} pictures"]
    for title, key in (("40-80 px", "success"), ("40 px", "success_small")):
        lines += [f"attack success, {title:<9} {name:<8} {_percent(item)}" for name, item in card[key].items()]
    for title, key in (
        ("agreement, clean", "agreement"), ("accuracy before", "accuracy_before"), ("accuracy after", "accuracy_after"),
    ):  # fmt: skip
        lines += [f"{title:<33} {_percent(card[key])}"] if card[key] else []
    return lines


def _percent(item: dict[str, Any]) -> str:
    return f"{item['mean']:5.1f} % [{item['low']:.1f}, {item['high']:.1f}] of {item['pictures']}"
