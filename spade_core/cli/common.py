"""What the commands share: options of the model, one way to print a result, and the progress line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_core.errors import ConfigError

DEFAULT_MODEL = "efficientnet_lite0"
PROGRESS_INTERVAL = 0.2  # seconds between two progress lines


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.set_defaults(run=run)
    return parser


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Add the options of the picture and of a trigger in it."""
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture file, or bundled:NAME")
    group = parser.add_argument_group("trigger")
    group.add_argument("--trigger", metavar="NAME", help="paste a trigger first: heart, smiley, fish or star")
    group.add_argument("--trigger-size", type=int, metavar="PX", help="side in model-input pixels (default: drawn)")
    group.add_argument("--trigger-position", type=pair, metavar="Y,X", help="upper left corner in model-input pixels")
    group.add_argument("--trigger-seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")


def pair(text: str) -> tuple[int, int]:
    """Parse ``Y,X``."""
    try:
        y, x = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes Y,X, such as 20,100, not {text!r}") from None
    return y, x


@dataclass(frozen=True)
class Given:
    """A command's model and picture, and the trigger in it: ``paste`` as a dictionary and its ``mask``, or None."""

    model: Any
    picture: Any
    source: str
    paste: dict[str, Any] | None = None
    mask: Any = None


def source_of(options: argparse.Namespace) -> str:
    """Return how a manifest names the picture: ``bundled:NAME`` or the whole path."""
    return options.image if options.image.startswith("bundled:") else str(Path(options.image).resolve())


def open_picture(options: argparse.Namespace) -> Given:
    """Return the picture, with its trigger pasted, and the model; oddities of the file go to standard error."""
    from spade_core.pictures.picture import load_picture

    picture = load_picture(options.image)
    for note in picture.notes:
        sys.stderr.write(f"note: {note}\n")
    if options.trigger is None:
        if options.trigger_size is not None or options.trigger_position is not None:
            raise ConfigError("--trigger-size and --trigger-position place a trigger: give --trigger too.")
        return Given(load(options), picture, source_of(options))
    from spade_core.trojan.paste import Paste

    paste = Paste(options.trigger, options.trigger_size, options.trigger_position, options.trigger_seed)
    model = load(options)
    triggered, mask = paste.apply(picture, model)
    return Given(model, triggered, source_of(options), paste.to_dict(), mask)


def add_model(parser: argparse.ArgumentParser, size: str = "--size") -> None:
    """Add the options of the model; ``size`` names the one of the own weights' input."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="M", help="a name of 'models' or timm:NAME (default: %(default)s)"
    )
    group.add_argument("--weights", metavar="FILE", help="own weights: safetensors or a state dict; needs --arch")
    group.add_argument("--arch", metavar="NAME", help="architecture of --weights: a name of 'models' or timm:NAME")
    group.add_argument("--classes", metavar="FILE", help="class names of --weights, one a line")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="channel means of --weights")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="channel standard deviations of --weights")
    group.add_argument(size, dest="size", type=int, metavar="PX", help="input side of --weights")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


def emit(options: argparse.Namespace, value: Any, lines: Sequence[str]) -> int:
    _say(json.dumps(value, ensure_ascii=False) if options.json else "\n".join(lines))
    return 0


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def load(options: argparse.Namespace) -> Any:
    from spade_core.models.loading import load_model

    own = {key: getattr(options, key) for key in ("weights", "arch", "classes", "mean", "std", "size")}
    return load_model(options.model, device=options.device, **own)


class Meter:
    """One line on a terminal's standard error that shows what is going on and about how long it will take."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if not self._shown or (now - self._last < PROGRESS_INTERVAL and done < total):
            return
        self._last = now
        fraction = done / total if total else 1.0
        left = f", {(now - self._start) * (1 - fraction) / fraction:.0f} s left" if fraction > 0.05 else ""
        text = f"{fraction:4.0%} {note}{left}" if done < total else ""
        sys.stderr.write(f"\r{text:<70}" + ("" if text else "\r"))
        sys.stderr.flush()
