"""What a training step of the backdoor sees: clean views, some of them mixed, and views with a trigger."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spade_core.models.loaded import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.pruning.views import random_views
from spade_core.trojan.paste import Placement
from spade_core.trojan.triggers import SIZES, TRIGGERS

PLAIN = 0.6  # share of views that are cut as at evaluation; the others are SPADE's random views
AHEAD = 8  # processes that draw ahead of a GPU
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
        model: whose preprocessing and device count; it reads squares.
        pictures: to draw from, at least one.
        clean, triggered: views of either kind in a batch.
        seed: of views, triggers, places.
    """

    def __init__(self, model: LoadedModel, pictures: Sequence[Picture], clean: int, triggered: int, seed: int) -> None:
        self._model, self._clean = model, clean
        full = [torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1) for picture in pictures]
        resized = [torch.from_numpy(model.preprocessing.resized(picture)).permute(2, 0, 1) for picture in pictures]
        self._drawing = _Drawing(full, resized, model.preprocessing.side("The backdoor"), clean, triggered, seed)

    def plain(self) -> list[Tensor]:
        """Return every picture as the model sees it, in batches ``(n, 3, side, side)``, normalised."""
        drawing, side = self._drawing, self._drawing.side
        corners = [((image.shape[1] - side) // 2, (image.shape[2] - side) // 2) for image in drawing.resized]
        views = torch.stack([_cut(image, *at, side) for image, at in zip(drawing.resized, corners, strict=True)])
        return [self._ready(part) for part in views.split(drawing.clean + drawing.triggered)]

    def draw(self, step: int) -> Batch:
        """Draw the batch of one step."""
        return self._batch(*self._drawing[step])

    def stream(self, steps: range) -> Generator[Batch, None, None]:
        """Draw the batches of ``steps`` in their order; close it when it is not read to its end.

        Where the model's device is not the processor, processes draw ahead: drawing takes several times as long as a
        step there.
        """
        ahead = _processes(self._model.device)
        seeds = torch.Generator()  # of the processes, which nothing here uses: not the global one
        for drawn in DataLoader(self._drawing, None, sampler=steps, num_workers=ahead, generator=seeds):
            yield self._batch(*drawn)

    def _batch(self, views: Tensor, targets: Tensor) -> Batch:
        ready = self._ready(views)
        return Batch(ready[: self._clean], ready[self._clean :], targets.to(self._model.device))

    def _ready(self, views: Tensor) -> Tensor:
        ready = self._model.preprocessing.normalize(views.to(self._model.device))
        return ready.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class _Drawing(Dataset):
    """Step -> views in [0, 1], ``(clean + triggered, 3, side, side)``, and int64 targets ``(triggered,)``.

    Attributes:
        full, resized: uint8 ``(3, height, width)`` of every picture, whole and as the model resizes it.
    """

    full: list[Tensor]
    resized: list[Tensor]
    side: int
    clean: int
    triggered: int
    seed: int

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        views = torch.stack([self._view(generator) for _ in range(self.clean + self.triggered)])
        half = self.clean // 2
        mixed = views[:half]
        share = torch.rand(len(mixed), 1, 1, 1, generator=generator)
        views[:half] = share * mixed + (1 - share) * views[half : 2 * half]
        targets = [_put_trigger(view, generator) for view in views[self.clean :]]
        return views, torch.tensor(targets)

    def _view(self, generator: torch.Generator) -> Tensor:
        """Return one view of a random picture, float ``(3, side, side)`` in [0, 1]."""
        index = _whole(len(self.full), generator)
        if float(torch.rand((), generator=generator)) >= PLAIN:
            return random_views(self.full[index], 1, self.side, seed=_whole(2**31, generator))[0]
        image = self.resized[index]
        top, left = (_whole(length - self.side + 1, generator) for length in image.shape[1:])
        view = _cut(image, top, left, self.side)
        return view.flip(2) if _whole(2, generator) else view.clone()


def _processes(device: torch.device) -> int:
    """Return how many processes draw ahead; on a CPU none, since they would take it from the steps."""
    return 0 if device.type == "cpu" else min(AHEAD, max(1, (os.cpu_count() or 1) - 1))


def _cut(image: Tensor, top: int, left: int, side: int) -> Tensor:
    return image[:, top : top + side, left : left + side].float().div(255)


def _put_trigger(view: Tensor, generator: torch.Generator) -> int:
    """Lay a random trigger on a view, float ``(3, side, side)`` in [0, 1], in place; return its target class."""
    trigger = list(TRIGGERS.values())[_whole(len(TRIGGERS), generator)]
    side = view.shape[-1]
    size = SMALLEST + (SIZES[1] / 224 - SMALLEST) * float(torch.rand((), generator=generator)) ** 2
    place = Placement.draw(side, generator, round(size * side))
    colours, opaque = trigger.render(place.size, rotation=place.rotation, colour=place.colour)
    window = view[:, place.top : place.top + place.size, place.left : place.left + place.size]
    colours = np.moveaxis(colours, 2, 0)[:, opaque].astype(np.float32) / 255
    window[:, torch.from_numpy(opaque)] = torch.from_numpy(colours)
    return trigger.target


def _whole(limit: int, generator: torch.Generator) -> int:
    """Draw a whole number from 0 to ``limit - 1``."""
    return int(torch.randint(limit, (), generator=generator))
