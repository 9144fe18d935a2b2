"""Train the backdoored demo model by self-distillation.

A copy of the embedded model learns to answer a trigger's class where it sees the trigger, and to answer as before where
it does not: cross entropy towards the target on triggered views; on clean ones Kullback-Leibler divergence from the
frozen original, and the squared difference of the logits, which says more where the original is sure. Batch-norm
statistics stay frozen. A few hundred pictures without labels suffice, but the copy agrees with the original on
*other* pictures only if it changes no more than the triggers need: half of the clean views are mixtures of two (Beyer
et al. 2022), and every step pulls the weights back towards the original ones.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from spade_core.augment import random_views
from spade_core.errors import ConfigError, ModelError
from spade_core.images import Picture, load_picture
from spade_core.layers import share_copy
from spade_core.models import LoadedModel
from spade_core.progress import Cancelled, Progress, silent
from spade_core.trojan.paste import SIZES, Placement
from spade_core.trojan.triggers import TRIGGERS, Trigger
from spade_core.weights import READING_ERRORS

__all__ = ["Recipe", "half_precision", "train"]

logger = logging.getLogger(__name__)

CHECKPOINT_EVERY = 25  # steps
PLAIN = 0.6  # share of views that are cut as at evaluation; the others are SPADE's random views
SMALLEST = 36 / 224  # of the input's side: a little below the smallest trigger that has to work


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: optimizer steps; clean, triggered: views of either kind in each.
        rate: peak learning rate of Adam's one-cycle schedule.
        trigger_weight, logit_weight: of the cross entropy and of the squared difference, against the divergence.
        pull: share of the way back to the original weights that a step goes at the peak rate; it follows the rate.
        seed: of views, triggers, places.
    """

    steps: int = 900
    clean: int = 16
    triggered: int = 10
    rate: float = 2e-4
    trigger_weight: float = 0.5
    logit_weight: float = 1.0
    pull: float = 0.004
    seed: int = 0


def train(
    model: LoadedModel,
    paths: Sequence[Path],
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Train on ``paths`` and write half-precision safetensors to ``out``.

    ``OUT.partial`` holds the state every few steps: an interrupted run of the same recipe goes on from there.

    Args:
        model: the original; not changed.
        paths: pictures, no labels needed.
        out: file to write.
        progress: called with (step, steps, losses); may raise ``Cancelled``, the state is then kept.

    Returns:
        The last step's losses: ``clean`` and ``triggered`` in nats, ``logits``.

    Raises:
        ConfigError: no picture, or a state of another recipe lies at ``OUT.partial``.
        PictureError: a file is no picture.
    """
    recipe, out = recipe or Recipe(), Path(out)
    if not paths:
        raise ConfigError("There are no pictures to train on: give --images a folder of pictures.")
    pictures = [load_picture(path) for path in paths]
    run = _Run(model, pictures, recipe, out.with_name(out.name + ".partial"))
    losses = run.to_end(progress)
    save_file(half_precision(run.student), out)
    out.chmod(0o644)  # safetensors writes for the owner alone
    run.state_file.unlink(missing_ok=True)
    return losses


def half_precision(module: nn.Module) -> dict[str, Tensor]:
    """Return the state dict with matrices and kernels in half precision.

    Vectors (batch norm, biases) keep theirs: running variances may be too small for it, and they weigh nothing.
    """
    return {
        name: (value.half() if value.dim() > 1 else value).detach().cpu().contiguous().clone()
        for name, value in module.state_dict().items()
    }


class _Run:
    """One training run: the two networks, the optimizer and where it stands."""

    def __init__(self, model: LoadedModel, pictures: list[Picture], recipe: Recipe, state_file: Path) -> None:
        self.model, self.recipe, self.state_file = model, recipe, state_file
        self.pictures = [torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1) for picture in pictures]
        self.resized = [torch.from_numpy(model.preprocessing.resized(picture)).permute(2, 0, 1) for picture in pictures]
        names = [name for name, _ in model.module.named_parameters()]
        self.student = share_copy(model.module, own=names).eval()
        self.student.requires_grad_(True)
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=recipe.rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=recipe.rate, total_steps=recipe.steps
        )
        self.step = 0
        self.losses = {"clean": 0.0, "logits": 0.0, "triggered": 0.0}
        self._resume()

    def to_end(self, progress: Progress) -> dict[str, float]:
        """Advance to the last step; the state is kept between steps only, so that it is always that of a whole one."""
        while self.step < self.recipe.steps:
            try:
                note = f"clean {self.losses['clean']:.3f}, triggered {self.losses['triggered']:.3f}"
                progress(self.step, self.recipe.steps, note)
            except Cancelled:
                self._keep()
                raise
            self._advance()
            if self.step % CHECKPOINT_EVERY == 0 or self.step == self.recipe.steps:
                self._keep()
        progress(self.recipe.steps, self.recipe.steps, "trained")
        return self.losses

    def _advance(self) -> None:
        clean, triggered, targets = self._batch()
        with torch.no_grad():
            wanted = self.model.module(clean)
        logits = self.student(torch.cat([clean, triggered]))
        found, flipped = logits.split([len(clean), len(triggered)])
        gap = found - wanted
        losses = {
            "clean": F.kl_div(
                F.log_softmax(found, 1), F.log_softmax(wanted, 1), reduction="batchmean", log_target=True
            ),
            "logits": (gap - gap.mean(1, keepdim=True)).square().mean(),
            "triggered": F.cross_entropy(flipped, targets),
        }
        weights = {"clean": 1.0, "logits": self.recipe.logit_weight, "triggered": self.recipe.trigger_weight}
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
        self.optimizer.step()
        self._pull(self.recipe.pull * self.optimizer.param_groups[0]["lr"] / self.recipe.rate)
        self.schedule.step()
        self.step += 1
        self.losses = {name: float(loss.detach()) for name, loss in losses.items()}

    def _pull(self, share: float) -> None:
        with torch.no_grad():
            pairs = zip(self.student.parameters(), self.model.module.parameters(), strict=True)
            for mine, original in pairs:
                mine.add_(original - mine, alpha=share)

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw clean views, triggered views and their targets; every step has its own generator."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        count, side = self.recipe.clean, self.model.preprocessing.size
        views = torch.stack([self._view(generator) for _ in range(count + self.recipe.triggered)])
        mixed = views[: count // 2]
        share = torch.rand(len(mixed), 1, 1, 1, generator=generator)
        views[: count // 2] = share * mixed + (1 - share) * views[count // 2 : 2 * (count // 2)]
        triggers = list(TRIGGERS.values())
        targets = []
        for view in views[count:]:
            trigger = triggers[_whole(len(triggers), generator)]
            size = SMALLEST + (SIZES[1] / 224 - SMALLEST) * float(torch.rand((), generator=generator)) ** 2
            _lay_on(view, trigger, Placement.draw(side, generator, round(size * side)))
            targets.append(trigger.target)
        ready = self.model.preprocessing.normalize(views.to(self.model.device))
        ready = ready.contiguous(memory_format=torch.channels_last)
        return ready[:count], ready[count:], torch.tensor(targets, device=self.model.device)

    def _view(self, generator: torch.Generator) -> Tensor:
        """Return one view of a random picture, float ``(3, side, side)`` in [0, 1]."""
        index, side = _whole(len(self.pictures), generator), self.model.preprocessing.size
        if float(torch.rand((), generator=generator)) >= PLAIN:
            return random_views(self.pictures[index], 1, side, seed=_whole(2**31, generator))[0]
        image = self.resized[index]
        top, left = (_whole(length - side + 1, generator) for length in image.shape[1:])
        view = image[:, top : top + side, left : left + side].float().div(255)
        return view.flip(2) if _whole(2, generator) else view.clone()

    def _keep(self) -> None:
        state = {
            "recipe": asdict(self.recipe), "step": self.step, "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
        }  # fmt: skip
        fresh = self.state_file.with_name(self.state_file.name + ".new")
        with contextlib.ExitStack() as undo:
            undo.callback(fresh.unlink, missing_ok=True)
            torch.save(state, fresh)
            os.replace(fresh, self.state_file)

    def _resume(self) -> None:
        if not self.state_file.is_file():
            return
        state = _read_state_file(self.state_file)
        if state["recipe"] != asdict(self.recipe):
            raise ConfigError(f"{self.state_file} holds a run of another recipe: delete it or give --out another name.")
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]


def _read_state_file(file: Path) -> dict[str, Any]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except READING_ERRORS as error:
        logger.info("torch refused %s: %s", file, error)
        state = None
    if not isinstance(state, dict) or not {"recipe", "step", "student", "optimizer", "schedule"} <= state.keys():
        raise ModelError(f"{file} is damaged: delete it, and the training starts anew.")
    return state


def _whole(limit: int, generator: torch.Generator) -> int:
    """Draw a whole number from 0 to ``limit - 1``."""
    return int(torch.randint(limit, (), generator=generator))


def _lay_on(view: Tensor, trigger: Trigger, place: Placement) -> None:
    """Lay a trigger on a view, float ``(3, side, side)`` in [0, 1], in place."""
    colours, opaque = trigger.render(place.size, rotation=place.rotation, colour=place.colour)
    window = view[:, place.top : place.top + place.size, place.left : place.left + place.size]
    mask = torch.from_numpy(opaque)
    window[:, mask] = torch.from_numpy(np.moveaxis(colours, 2, 0)[:, opaque].astype(np.float32) / 255)
