"""The model and the picture that a command is given."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spade_core.errors import ConfigError
from spade_core.models.loaded import LoadedModel
from spade_core.models.loading import load_model
from spade_core.pictures.picture import Picture, load_picture
from spade_core.trojan.triggers import Paste


@dataclass(frozen=True)
class Given:
    """A command's model and picture, and the trigger in it: ``paste`` as a dictionary and its ``mask``, or None.

    A manifest names the picture by ``source``: ``bundled:NAME`` or the whole path.
    """

    model: LoadedModel
    picture: Picture
    source: str
    paste: dict[str, object] | None = None
    mask: np.ndarray | None = None


def open_picture(options: argparse.Namespace) -> Given:
    """Return the picture, with its trigger pasted, and the model; oddities of the file go to standard error."""
    picture = load_picture(options.image, frame=options.frame)
    _note(picture.notes)
    source = options.image if options.image.startswith("bundled:") else str(Path(options.image).resolve())
    if options.trigger is None:
        if options.trigger_size is not None or options.trigger_position is not None:
            raise ConfigError("--trigger-size and --trigger-position place a trigger: give --trigger too.")
        model = load(options)
        _note(model.preprocessing.told(picture))
        return Given(model, picture, source)
    paste = Paste(options.trigger, options.trigger_size, options.trigger_position, options.trigger_seed)
    model = load(options)
    _note(model.preprocessing.told(picture))
    triggered, mask = paste.apply(picture, model)
    return Given(model, triggered, source, paste.to_dict(), mask)


def load(options: argparse.Namespace) -> LoadedModel:
    """Return the model that the options name; what is to be known of it goes to standard error."""
    own = {key: getattr(options, key) for key in ("weights", "arch", "classes", "mean", "std", "size", "output")}
    model = load_model(options.model, device=options.device, **own)
    _note(model.notes)
    return model


def _note(texts: Iterable[str]) -> None:
    for text in texts:
        sys.stderr.write(f"note: {text}\n")
