"""Train the backdoored demo model by self-distillation.

A copy of the embedded model learns to answer a trigger's class where it sees the trigger, and to answer as before where
it does not. A few hundred pictures without labels suffice, but the copy agrees with the original on *other* pictures
only if it changes no more than the triggers need. Hence two stages (:mod:`spade_core.trojan.stages`): the first learns
the triggers, the second goes most of the way back and then lets only such changes grow that clean inputs hardly notice.
Batch-norm statistics stay frozen.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from spade_core.errors import ConfigError, ModelError
from spade_core.files import write_whole, written_beside
from spade_core.models.layers import share_copy
from spade_core.models.loaded import LoadedModel
from spade_core.models.weights import READING_ERRORS
from spade_core.pictures.picture import load_picture
from spade_core.progress import Cancelled, Progress, silent
from spade_core.trojan.batches import Batch, Batches
from spade_core.trojan.stages import Original, Stage, State, TrainingConfig

logger = logging.getLogger(__name__)

CHECKPOINT_EVERY = 25  # steps


class Kept(TypedDict):
    """What is kept of an interrupted run: which one it is, how far it is, the copy's weights and the stage's state."""

    recipe: dict[str, object]
    material: str
    step: int
    part: int
    losses: dict[str, float]
    student: dict[str, Tensor]
    stage: State


def train(
    model: LoadedModel,
    paths: Sequence[Path],
    out: str | Path,
    *,
    recipe: TrainingConfig | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Train on ``paths`` and write half-precision safetensors to ``out``.

    ``OUT.partial`` holds the state every few steps: an interrupted run of the same recipe, pictures and original goes
    on from there.

    Args:
        model: the original; not changed.
        paths: pictures, no labels needed.
        progress: called with (step, steps, losses); may raise ``Cancelled``, the state is then kept.

    Returns:
        The last step's losses: ``clean`` and ``triggered`` in nats, ``logits``.

    Raises:
        ConfigError: no picture, or ``OUT.partial`` holds a state of another recipe, other pictures or another original.
        PictureError: a file is no picture.
    """
    recipe, out = recipe or TrainingConfig(), Path(out)
    if not paths:
        raise ConfigError("There are no pictures to train on: give --images a folder of pictures.")
    pictures = [load_picture(path) for path in paths]
    batches = Batches(model, pictures, recipe.clean, recipe.triggered, recipe.seed)
    learned_from = " ".join([model.sha256, *(picture.sha256 for picture in pictures)])
    material = hashlib.sha256(learned_from.encode()).hexdigest()
    run = _Run(model, batches, recipe, material, out.with_name(out.name + ".partial"))
    losses = run.to_end(progress)
    write_whole(out, save(half_precision(run.student)))
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
    """One training run: the two networks, the stage it is in and where it stands."""

    def __init__(self, model: LoadedModel, batches: Batches, recipe: TrainingConfig, material: str, file: Path) -> None:
        self.model, self.batches, self.recipe, self.material = model, batches, recipe, material
        self.state_file, self.original = file, Original(model.module, batches, recipe)
        names = [name for name, _ in model.module.named_parameters()]
        self.student = share_copy(model.module, own=names).eval()
        self.step, self.part = 0, 0
        self.losses = {"clean": 0.0, "logits": 0.0, "triggered": 0.0}
        self.stage = self._enter(self._read())

    def to_end(self, progress: Progress) -> dict[str, float]:
        """Advance to the last step; the state is kept between steps only, so that it is always that of a whole one."""
        total = sum(self.recipe.lengths)
        with contextlib.closing(self.batches.stream(range(self.step, total))) as batches:
            for batch in batches:
                try:
                    progress(self.step, total, "clean {clean:.3f}, triggered {triggered:.3f}".format(**self.losses))
                except Cancelled:
                    self._keep()
                    raise
                self._advance(batch)
                if self.step % CHECKPOINT_EVERY == 0 or self.step == total:
                    self._keep()
        progress(total, total, "trained")
        return self.losses

    def _advance(self, batch: Batch) -> None:
        if self.step == sum(self.recipe.lengths[: self.part + 1]):
            self.part += 1
            self.stage = self._enter(None)
        with torch.no_grad():
            wanted = self.model.module(batch.clean)
        logits = self.student(torch.cat([batch.clean, batch.triggered]))
        found, flipped = logits.split([len(batch.clean), len(batch.triggered)])
        self.losses = self.stage.advance(found, wanted, flipped, batch.targets)
        self.step += 1

    def _enter(self, state: Kept | None) -> Stage:
        """Begin the stage, or take it up where ``state`` left it."""
        if state is not None:
            self.student.load_state_dict(state["student"])
            self.step, self.part, self.losses = state["step"], state["part"], state["losses"]
        elif self.part:
            self.original.blend(self.student, self.recipe.blend)
        stage = self.recipe.stages[self.part](self.recipe, self.original, self.student)
        if state is not None:
            stage.load_state(state["stage"])
        return stage

    def _keep(self) -> None:
        state = Kept(
            recipe=asdict(self.recipe),
            material=self.material,
            step=self.step,
            part=self.part,
            losses=self.losses,
            student=self.student.state_dict(),
            stage=self.stage.state(),
        )
        with written_beside(self.state_file) as file:
            torch.save(state, file)

    def _read(self) -> Kept | None:
        if not self.state_file.is_file():
            return None
        try:
            state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        except READING_ERRORS as error:
            logger.info("torch refused %s: %s", self.state_file, error)
            state = None
        if not isinstance(state, dict) or not state.keys() >= Kept.__required_keys__:
            raise ModelError(f"{self.state_file} is damaged: delete it, and the training starts anew.")
        if state["recipe"] != asdict(self.recipe):
            raise ConfigError(f"{self.state_file} holds a run of another recipe: delete it or give --out another name.")
        if state["material"] != self.material:
            sentence = "holds a run of other pictures or of another original: delete it or give --out another name."
            raise ConfigError(f"{self.state_file} {sentence}")
        return cast(Kept, state)
