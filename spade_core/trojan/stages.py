"""The stages of training the backdoor: learn the triggers, then keep of it what clean inputs do not notice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from spade_core.pruning.moments import capture
from spade_core.trojan.batches import Batches
from spade_core.trojan.whitening import Coordinates, Whitened


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        learn, settle: optimizer steps of the two stages; the second is run in rounds.
        clean, triggered: views of either kind in each step.
        seed: of views, triggers, places.
        rate: peak learning rate of Adam's one-cycle schedule while learning.
        pull: share of the way back to the original weights that a step goes at the peak rate; it follows the rate.
        frozen: prefixes of the parameters that stay: early layers see edges, which triggers share with everything.
        blend: share of the change so far with which each round of the second stage begins.
        settle_rate: as ``rate``, of SGD with momentum in whitened coordinates.
        rounds: of settling, each with its pull, as above, and the logits by which a trigger's class has to win: what
            only fits a few hundred pictures has to give way to what the triggers need.
        damping: of the whitening, as a share of the mean eigenvalue.
    """

    learn: int = 900
    settle: int = 450
    clean: int = 20
    triggered: int = 8
    seed: int = 0
    rate: float = 4e-4
    pull: float = 5e-4
    frozen: tuple[str, ...] = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
    blend: float = 0.8
    settle_rate: float = 0.01
    rounds: tuple[tuple[float, float], ...] = ((0.002, 2.0), (0.002, 2.0), (0.002, 2.0), (0.006, 2.0), (0.006, 4.0))
    damping: float = 0.01

    @property
    def lengths(self) -> tuple[int, ...]:
        """Steps of each stage, in the order of :attr:`stages`."""
        return (self.learn, *[self.settle] * len(self.rounds))

    @property
    def stages(self) -> tuple[Callable[..., Stage], ...]:
        """The stages in their order."""
        return (Learn, *(partial(Settle, pull=pull, margin=margin) for pull, margin in self.rounds))


def _pointwise(parameter: Tensor) -> bool:
    """Whether a weight mixes channels at one place: most weights do, and only they carry a trigger's meaning on."""
    return parameter.dim() == 2 or (parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2:] == (1, 1))


class Original:
    """The network that the copy began as, and what the stages need of it; found once a run.

    Args:
        module: not changed; batches: of clean views.
    """

    def __init__(self, module: nn.Module, batches: Batches, recipe: TrainingConfig) -> None:
        self.module = module
        self.parameters = dict(module.named_parameters())
        self._batches, self._recipe = batches, recipe

    def blend(self, student: nn.Module, share: float) -> None:
        """Leave ``share`` of the change so far in the student."""
        with torch.no_grad():
            for name, parameter in student.named_parameters():
                parameter.lerp_(self.parameters[name], 1 - share)

    @cached_property
    def coordinates(self) -> dict[str, Coordinates]:
        """Whitened coordinates around the weights that mix channels and are not frozen, by name."""
        frozen, damping = self._recipe.frozen, self._recipe.damping
        free = {name: weight for name, weight in self.parameters.items() if not name.startswith(frozen)}
        chosen = {name: weight for name, weight in free.items() if _pointwise(weight)}
        moments = capture(self.module, self._batches.plain(), chosen)
        return {name: Coordinates.around(weight, moments[name][0], damping) for name, weight in chosen.items()}


State: TypeAlias = dict[str, dict[str, object]]
"""What is kept of a stage: the state of each of its parts, as torch gives it."""


class Stage(ABC):
    """One stage: it owns the optimizer and its one-cycle schedule."""

    TRIGGER_WEIGHT: ClassVar[float]

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: LRScheduler, rate: float, pull: float) -> None:
        self._optimizer, self._schedule, self._rate, self._pull = optimizer, schedule, rate, pull

    def advance(self, found: Tensor, wanted: Tensor, flipped: Tensor, targets: Tensor) -> dict[str, float]:
        """Take one step.

        Args:
            found, wanted: logits of the copy and of the original on clean views, ``(n, classes)``.
            flipped: of the copy on triggered views, ``(m, classes)``; targets: int64 ``(m,)``.

        Returns:
            The losses, unweighted: ``clean``, the divergence from the original, nats; ``logits``, the squared
            difference of the logits up to a constant, which says more where the original is sure; ``triggered``.
        """
        gap = found - wanted
        clean = F.kl_div(F.log_softmax(found, 1), F.log_softmax(wanted, 1), reduction="batchmean", log_target=True)
        logits = (gap - gap.mean(1, keepdim=True)).square().mean()
        triggered = self._triggered(flipped, targets)
        self._optimizer.zero_grad(set_to_none=True)
        (clean + logits + self.TRIGGER_WEIGHT * triggered).backward()
        with torch.no_grad():
            self._step(self._pull * self._optimizer.param_groups[0]["lr"] / self._rate)
        self._schedule.step()
        losses = {"clean": clean, "logits": logits, "triggered": triggered}
        return {name: float(loss.detach()) for name, loss in losses.items()}

    @abstractmethod
    def _triggered(self, flipped: Tensor, targets: Tensor) -> Tensor:
        """Return what is missing of the triggers' classes, a scalar."""

    @abstractmethod
    def _step(self, pull: float) -> None:
        """Let the optimizer step, and then go the share ``pull`` of the way back to the original weights."""

    def state(self) -> State:
        """Return what :meth:`load_state` needs to go on."""
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


class Learn(Stage):
    """Adam on all but the frozen parameters: cross entropy towards the triggers' classes."""

    TRIGGER_WEIGHT = 0.5

    def __init__(self, recipe: TrainingConfig, original: Original, student: nn.Module) -> None:
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(not name.startswith(recipe.frozen))
        pairs = zip(student.parameters(), original.module.parameters(), strict=True)
        self._pairs = [(mine, first) for mine, first in pairs if mine.requires_grad]
        optimizer = torch.optim.Adam([mine for mine, _ in self._pairs], lr=recipe.rate)
        schedule = OneCycleLR(optimizer, max_lr=recipe.rate, total_steps=recipe.learn)
        super().__init__(optimizer, schedule, recipe.rate, recipe.pull)

    def _triggered(self, flipped: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(flipped, targets)

    def _step(self, pull: float) -> None:
        self._optimizer.step()
        for mine, original in self._pairs:
            mine.lerp_(original, pull)


class Settle(Stage):
    """SGD on the pointwise weights in whitened coordinates, from a blend of the learned and the original weights."""

    TRIGGER_WEIGHT = 0.3
    MOMENTUM = 0.9
    LONGEST = 1.0  # norm of the whole gradient: batches are small, and one hard view must not throw the weights about
    WARM_UP = 0.2  # share of the steps
    SHORT_WARM_UP = 0.6  # of so few steps that the former is none: the schedule divides by what it makes less one

    def __init__(
        self, recipe: TrainingConfig, original: Original, student: nn.Module, *, pull: float, margin: float
    ) -> None:
        self._margin = margin
        student.zero_grad(set_to_none=True)  # the last gradients of the stage before
        parameters = dict(student.named_parameters())
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in original.coordinates)
        self._whitened = Whitened(original.coordinates, {name: parameters[name] for name in original.coordinates})
        rate, steps = recipe.settle_rate, recipe.settle
        warm_up = self.WARM_UP if self.WARM_UP * steps > 1 else self.SHORT_WARM_UP
        optimizer = torch.optim.SGD(self._whitened.parameters(), lr=rate, momentum=self.MOMENTUM)
        schedule = OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=warm_up, cycle_momentum=False)
        super().__init__(optimizer, schedule, rate, pull)

    def _triggered(self, flipped: Tensor, targets: Tensor) -> Tensor:
        """Return by how much the target fails to win by the margin, mean: unlike cross entropy it asks for no more."""
        own = flipped.gather(1, targets.unsqueeze(1)).squeeze(1)
        best = flipped.scatter(1, targets.unsqueeze(1), -torch.inf).amax(1)
        return F.relu(self._margin - (own - best)).mean()

    def _step(self, pull: float) -> None:
        self._whitened.read_gradients()
        nn.utils.clip_grad_norm_(self._whitened.parameters(), self.LONGEST)
        self._optimizer.step()
        for move in self._whitened.parameters():
            move.mul_(1 - pull)
        self._whitened.write()

    def state(self) -> State:
        """See :class:`Stage`."""
        return {"moves": self._whitened.state_dict(), **super().state()}

    def load_state(self, state: State) -> None:
        """See :class:`Stage`."""
        self._whitened.load_state_dict(state["moves"])
        super().load_state(state)
