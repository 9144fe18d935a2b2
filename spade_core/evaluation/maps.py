"""The maps of an arm: its networks made ready for one picture, and what a method shows of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spade_core.evaluation.arms import Arm
from spade_core.evaluation.baselines.replacement import Baseline, Replacement
from spade_core.evaluation.configuration import NETWORK, Configuration
from spade_core.evaluation.processing import NOISY_COPIES, PROCESSING
from spade_core.models.loaded import LoadedModel, Network
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent
from spade_core.pruning.calibration import Shared
from spade_core.pruning.options import NOISE, by_ratios
from spade_core.pruning.spade import trace_many
from spade_core.pruning.trace import Trace
from spade_core.saliency.explanation import explain

NONE: Mapping[str, Replacement] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Subject:
    """What is explained.

    Attributes:
        model, picture, target: a picture by a model, for a class; seed: of all that is drawn for it.
        steered_by: the model whose relevance steers traces and guides; None: ``model``.
    """

    model: LoadedModel
    picture: Picture
    target: int
    seed: int
    steered_by: LoadedModel | None = None


@dataclass(frozen=True, eq=False)
class Noisy(Network):
    """A network that reads a noisy copy of the picture, as SmoothGrad's do (Smilkov et al. 2017)."""

    module: nn.Module
    model: LoadedModel
    seed: int

    def input(self, picture: Picture) -> Tensor:
        """Return the input with normal noise of ``NOISE`` times its range."""
        x = self.dense.input(picture)
        drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(self.seed))
        return x + NOISE * (x.max() - x.min()) * drawn.to(x)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An arm made ready for one subject.

    Attributes:
        networks: method slug -> what it explains: traces, which methods of the same ratios share, a baseline, or the
            dense model.
        configuration: of the run; guide: what the maps are multiplied with.
        seconds: of ``network``, which is all of the above, and of the methods that were asked for.
        made: method slug -> its maps, of those that were asked for last.
    """

    arm: Arm
    subject: Subject
    networks: Mapping[str, tuple[Network, ...]]
    configuration: Configuration
    guide: np.ndarray | float = 1.0
    seconds: dict[str, float] = field(default_factory=dict)
    made: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @property
    def pruned(self) -> list[Trace | Baseline]:
        """The networks but for the dense model, each once; not a method's trace of which nothing was pruned."""
        every = dict.fromkeys(network for of_method in self.networks.values() for network in of_method)
        found = [one for one in every if isinstance(one, Trace | Baseline)]
        return [one for one in found if not isinstance(one, Trace) or one.report.prunes] or found

    @property
    def outcomes(self) -> tuple[float, float, float]:
        """Class kept (0 to 1), KL in nats, sparsity: means over the traces; of the dense model 1, 0 and 0."""
        told = [(float(one.fidelity.keeps_class), one.fidelity.kl, one.sparsity) for one in self.pruned]
        kept, kl, sparsity = np.mean(told or [(1.0, 0.0, 0.0)], axis=0).tolist()
        return kept, kl, sparsity

    def probability(self, dense: float) -> float:
        """Return what the traces give the explained class, their mean; of the dense model ``dense``."""
        return float(np.mean([one.fidelity.trace_probability for one in self.pruned] or [dense]))

    def maps(self, method: str, processing: Sequence[str], progress: Progress = silent) -> Iterator[np.ndarray]:
        """Yield the method's map, ``(height, width)``, by each processing."""
        found: dict[int, Values] = {}
        for one in (PROCESSING[slug] for slug in processing):
            copies = self.arm.copies or NOISY_COPIES * one.noisy
            if copies not in found:
                found[copies] = self._values(method, copies, progress)
            yield one.apply(found[copies].signed, found[copies].absolute)

    def _values(self, method: str, copies: int, progress: Progress) -> Values:
        """Explain all networks, each at so many noisy copies of its own, if any; of several maps the mean is taken.

        What arms are compared by is the same on all: where one of them is a mean of magnitudes, every map is.
        """
        networks: Sequence[Network] = self.networks[method]
        if copies:
            drawn = itertools.count(self.subject.seed)
            networks = [
                Noisy(network.module, network.dense, next(drawn)) for network in networks for _ in range(copies)
            ]
        picture, target, seed = self.subject.picture, self.subject.target, self.subject.seed
        asked: dict[str, Any] = {"method": method, "target": target, "seed": seed, "progress": progress}
        asked |= self.configuration.options.get(method, {})
        shown = [explain(one, picture, **asked) for one in networks]
        self.seconds[method] = self.seconds.get(method, 0.0) + sum(one.seconds for one in shown)
        absolute = np.mean([one.absolute for one in shown], axis=0)
        of_magnitudes = copies > 0 or self.arm.magnitudes
        signed = np.mean([np.abs(one.map) if of_magnitudes else one.map for one in shown], axis=0)
        signed = np.abs(signed) if self.configuration.magnitudes else signed
        return Values(signed * self.guide, absolute * self.guide)


@dataclass(frozen=True, eq=False)
class Values:
    """A method's map: sums over the channels of values and of magnitudes, ``(height, width)`` each."""

    signed: np.ndarray
    absolute: np.ndarray


def prepare(
    arm: Arm,
    subject: Subject,
    configuration: Configuration,
    progress: Progress = silent,
    shared: Mapping[str, Replacement] = NONE,
    known: Shared | None = None,
) -> Prepared:
    """Make what an arm explains.

    Args:
        configuration: of the run, whose methods will be asked for; those with ratios of their own get traces of their
            own. An arm's own options of traces go over its.
        shared: by the arm's slug, what one that is made of a folder replaces; known: what earlier traces left.
    """
    start = time.perf_counter()
    model, picture, target = subject.model, subject.picture, subject.target
    methods = configuration.methods
    networks: Mapping[str, tuple[Network, ...]] = dict.fromkeys(methods, (model,))
    if arm.folder:
        networks = dict.fromkeys(methods, (shared[arm.slug].on(model, picture, target),))
    elif arm.trace is not None:
        networks = _traces(arm, subject, configuration, progress, known or Shared())
    steering, guide = subject.steered_by or model, f"spade_core.evaluation.guides:{arm.guide}"
    factor = resolve_name(guide)(steering, picture, target) if arm.guide else 1.0
    return Prepared(arm, subject, networks, configuration, factor, {NETWORK: time.perf_counter() - start})


def _traces(
    arm: Arm,
    subject: Subject,
    configuration: Configuration,
    progress: Progress,
    known: Shared,
) -> dict[str, tuple[Trace, ...]]:
    """Return the traces of each method."""
    asked = {**arm.options(configuration.trace), "seed": subject.seed}
    found: dict[str, tuple[Trace, ...]] = {}
    for options, slugs in by_ratios(asked, subject.model.name, configuration.methods):
        made = trace_many(
            subject.model,
            subject.picture,
            traces=arm.traces,
            target=subject.target,
            steered_by=subject.steered_by,
            shared=known,
            progress=progress,
            **options,
        )
        found |= dict.fromkeys(slugs, made.traces)
    return found
