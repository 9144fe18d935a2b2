"""What a training step of the backdoor sees: clean views, some of them mixed, and views with a trigger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spade_core.augment import random_views
from spade_core.images import Picture
from spade_core.models import LoadedModel
from spade_core.trojan.paste import SIZES, Placement
from spade_core.trojan.triggers import TRIGGERS, Trigger

__all__ = ["Batch", "Batches"]

PLAIN = 0.6  # share of views that are cut as at evaluation; the others are SPADE's random views
SMALLEST = 36 / 224  # of the input's side: a little below the smallest trigger that has to work


class Batch(NamedTuple):
    """Normalised views ``clean`` ``(n, 3, side, side)`` and ``triggered`` ``(m, ...)``; ``targets`` int64 ``(m,)``."""

    clean: Tensor
    triggered: Tensor
    targets: Tensor


class Batches:
    """Batches drawn from pictures; the same seed and step always give the same batch.

    Half of the clean views are mixtures of two (Beyer et al. 2022): a few hundred pictures then stand for more.

    Args:
        model: whose preprocessing and device count.
        pictures: to draw from, at least one.
        clean, triggered: views of either kind in a batch.
        seed: of views, triggers, places.
    """

    def __init__(self, model: LoadedModel, pictures: Sequence[Picture], clean: int, triggered: int, seed: int) -> None:
        self._model, self._counts, self._seed = model, (clean, triggered), seed
        self._full = [torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1) for picture in pictures]
        self._resized = [
            torch.from_numpy(model.preprocessing.resized(picture)).permute(2, 0, 1) for picture in pictures
        ]

    def plain(self) -> list[Tensor]:
        """Return every picture as the model sees it, in batches ``(n, 3, side, side)``, normalised."""
        side = self._model.preprocessing.size
        views = torch.stack([_centre(image, side) for image in self._resized])
        return [self._ready(part) for part in views.split(sum(self._counts))]

    def draw(self, step: int) -> Batch:
        """Draw the batch of one step."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        clean, triggered = self._counts
        views = torch.stack([self._view(generator) for _ in range(clean + triggered)])
        mixed = views[: clean // 2]
        share = torch.rand(len(mixed), 1, 1, 1, generator=generator)
        views[: clean // 2] = share * mixed + (1 - share) * views[clean // 2 : clean // 2 * 2]
        targets = [_put_trigger(view, generator) for view in views[clean:]]
        ready = self._ready(views)
        return Batch(ready[:clean], ready[clean:], torch.tensor(targets, device=self._model.device))

    def _view(self, generator: torch.Generator) -> Tensor:
        """Return one view of a random picture, float ``(3, side, side)`` in [0, 1]."""
        index, side = _whole(len(self._full), generator), self._model.preprocessing.size
        if float(torch.rand((), generator=generator)) >= PLAIN:
            return random_views(self._full[index], 1, side, seed=_whole(2**31, generator))[0]
        image = self._resized[index]
        top, left = (_whole(length - side + 1, generator) for length in image.shape[1:])
        view = _cut(image, top, left, side)
        return view.flip(2) if _whole(2, generator) else view.clone()

    def _ready(self, views: Tensor) -> Tensor:
        ready = self._model.preprocessing.normalize(views.to(self._model.device))
        return ready.contiguous(memory_format=torch.channels_last)


def _centre(image: Tensor, side: int) -> Tensor:
    height, width = image.shape[1:]
    return _cut(image, (height - side) // 2, (width - side) // 2, side)


def _cut(image: Tensor, top: int, left: int, side: int) -> Tensor:
    return image[:, top : top + side, left : left + side].float().div(255)


def _put_trigger(view: Tensor, generator: torch.Generator) -> int:
    """Lay a random trigger on a view, float ``(3, side, side)`` in [0, 1], in place; return its target class."""
    trigger = list(TRIGGERS.values())[_whole(len(TRIGGERS), generator)]
    side = view.shape[-1]
    size = SMALLEST + (SIZES[1] / 224 - SMALLEST) * float(torch.rand((), generator=generator)) ** 2
    _lay_on(view, trigger, Placement.draw(side, generator, round(size * side)))
    return trigger.target


def _whole(limit: int, generator: torch.Generator) -> int:
    """Draw a whole number from 0 to ``limit - 1``."""
    return int(torch.randint(limit, (), generator=generator))


def _lay_on(view: Tensor, trigger: Trigger, place: Placement) -> None:
    colours, opaque = trigger.render(place.size, rotation=place.rotation, colour=place.colour)
    window = view[:, place.top : place.top + place.size, place.left : place.left + place.size]
    mask = torch.from_numpy(opaque)
    window[:, mask] = torch.from_numpy(np.moveaxis(colours, 2, 0)[:, opaque].astype(np.float32) / 255)
