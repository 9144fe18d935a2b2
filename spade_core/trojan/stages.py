"""The stages of training the backdoor: learn the triggers, then keep of it what clean inputs do not notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spade_core.pruning.moments import capture
from spade_core.trojan.batches import Batches
from spade_core.trojan.whitening import Coordinates, Whitened


@dataclass(frozen=True)
class Recipe:
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
    def blends(self) -> tuple[float, ...]:
        """Share of the change so far with which each stage begins, in the order of :attr:`stages`."""
        return (1.0, *[self.blend] * len(self.rounds))

    @property
    def stages(self) -> tuple[Callable[..., Stage], ...]:
        """The stages in their order."""
        return (Learn, *(partial(Settle, pull=pull, margin=margin) for pull, margin in self.rounds))


class Original:
    """The network that the copy began as, and what the stages need of it; found once a run.

    Args:
        module: not changed; batches: of clean views.
    """

    def __init__(self, module: nn.Module, batches: Batches, recipe: Recipe) -> None:
        self.module = module
        self.parameters = dict(module.named_parameters())
        self._batches, self._recipe = batches, recipe

    def blend(self, student: nn.Module, share: float) -> None:
        """Leave ``share`` of the change so far in the student."""
        if share == 1:
            return
        with torch.no_grad():
            for name, parameter in student.named_parameters():
                parameter.lerp_(self.parameters[name], 1 - share)

    @cached_property
    def coordinates(self) -> dict[str, Coordinates]:
        """Whitened coordinates around the weights that mix channels and are not frozen, by name."""
        chosen = {
            name: parameter
            for name, parameter in self.parameters.items()
            if _pointwise(parameter) and not name.startswith(self._recipe.frozen)
        }
        moments = capture(self.module, self._batches.plain(), chosen)
        return {
            name: Coordinates.around(weight, moments[name][0], self._recipe.damping) for name, weight in chosen.items()
        }


State: TypeAlias = dict[str, dict[str, object]]
"""What is kept of a stage: the state of each of its parts, as torch gives it."""


class Stage(Protocol):
    """One stage: it owns the optimizer."""

    def advance(self, found: Tensor, wanted: Tensor, flipped: Tensor, targets: Tensor) -> dict[str, float]:
        """Take one step.

        Args:
            found, wanted: logits of the copy and of the original on clean views, ``(n, classes)``.
            flipped: of the copy on triggered views, ``(m, classes)``; targets: int64 ``(m,)``.

        Returns:
            The losses ``clean``, ``logits``, ``triggered``, unweighted.
        """
        ...

    def state(self) -> State:
        """Return what :meth:`load_state` needs to go on."""
        ...

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        ...


def _distances(found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Return the divergence from the original, nats, and the squared difference of the logits up to a constant.

    The second says more where the original is sure.
    """
    gap = found - wanted
    divergence = F.kl_div(F.log_softmax(found, 1), F.log_softmax(wanted, 1), reduction="batchmean", log_target=True)
    return {"clean": divergence, "logits": (gap - gap.mean(1, keepdim=True)).square().mean()}


def _hinge(logits: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Return by how much the target fails to win by ``margin``, mean: unlike cross entropy it asks for no more."""
    own = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
    best = logits.scatter(1, targets.unsqueeze(1), -torch.inf).amax(1)
    return F.relu(margin - (own - best)).mean()


def _floats(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in losses.items()}


class Learn:
    """Adam on all but the frozen parameters: cross entropy towards the triggers' classes."""

    TRIGGER_WEIGHT = 0.5

    def __init__(self, recipe: Recipe, original: Original, student: nn.Module) -> None:
        self._recipe = recipe
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(not name.startswith(recipe.frozen))
        pairs = zip(student.parameters(), original.module.parameters(), strict=True)
        self._pairs = [(mine, first) for mine, first in pairs if mine.requires_grad]
        self._optimizer = torch.optim.Adam([mine for mine, _ in self._pairs], lr=recipe.rate)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=recipe.rate, total_steps=recipe.learn
        )

    def advance(self, found: Tensor, wanted: Tensor, flipped: Tensor, targets: Tensor) -> dict[str, float]:
        """See :class:`Stage`."""
        losses = _distances(found, wanted) | {"triggered": F.cross_entropy(flipped, targets)}
        self._optimizer.zero_grad(set_to_none=True)
        (losses["clean"] + losses["logits"] + self.TRIGGER_WEIGHT * losses["triggered"]).backward()
        self._optimizer.step()
        share = self._recipe.pull * self._optimizer.param_groups[0]["lr"] / self._recipe.rate
        with torch.no_grad():
            for mine, original in self._pairs:
                mine.lerp_(original, share)
        self._schedule.step()
        return _floats(losses)

    def state(self) -> State:
        """See :class:`Stage`."""
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state(self, state: State) -> None:
        """See :class:`Stage`."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


class Settle:
    """SGD on the pointwise weights in whitened coordinates, from a blend of the learned and the original weights."""

    TRIGGER_WEIGHT = 0.3
    MOMENTUM = 0.9
    LONGEST = 1.0  # norm of the whole gradient: batches are small, and one hard view must not throw the weights about
    WARM_UP = 0.2  # share of the steps
    SHORT_WARM_UP = 0.6  # of so few steps that the former is none: the schedule divides by what it makes less one

    def __init__(self, recipe: Recipe, original: Original, student: nn.Module, *, pull: float, margin: float) -> None:
        self._recipe, self._pull, self._margin = recipe, pull, margin
        student.zero_grad(set_to_none=True)  # the last gradients of the stage before
        parameters = dict(student.named_parameters())
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in original.coordinates)
        self._whitened = Whitened(original.coordinates, {name: parameters[name] for name in original.coordinates})
        self._optimizer = torch.optim.SGD(self._whitened.parameters(), lr=recipe.settle_rate, momentum=self.MOMENTUM)
        warm_up = self.WARM_UP if self.WARM_UP * recipe.settle > 1 else self.SHORT_WARM_UP
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, recipe.settle_rate, recipe.settle, pct_start=warm_up, cycle_momentum=False
        )

    def advance(self, found: Tensor, wanted: Tensor, flipped: Tensor, targets: Tensor) -> dict[str, float]:
        """See :class:`Stage`."""
        losses = _distances(found, wanted) | {"triggered": _hinge(flipped, targets, self._margin)}
        (losses["clean"] + losses["logits"] + self.TRIGGER_WEIGHT * losses["triggered"]).backward()
        self._whitened.read_gradients()
        nn.utils.clip_grad_norm_(self._whitened.parameters(), self.LONGEST)
        self._optimizer.step()
        share = self._pull * self._optimizer.param_groups[0]["lr"] / self._recipe.settle_rate
        with torch.no_grad():
            for move in self._whitened.parameters():
                move.mul_(1 - share)
        self._whitened.write()
        self._schedule.step()
        return _floats(losses)

    def state(self) -> State:
        """See :class:`Stage`."""
        return {
            "moves": self._whitened.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state(self, state: State) -> None:
        """See :class:`Stage`."""
        self._whitened.load_state_dict(state["moves"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def _pointwise(parameter: Tensor) -> bool:
    """Whether a weight mixes channels at one place: most weights do, and only they carry a trigger's meaning on."""
    return parameter.dim() == 2 or (parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2:] == (1, 1))
