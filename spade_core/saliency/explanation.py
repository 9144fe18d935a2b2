"""The map of one method: what it computes for a class, with everything that it depended on.

The map of a bundle of traces is the mean of theirs, and what they disagree on is said beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spade_core.errors import ConfigError, LayerError, ModelError, expect
from spade_core.isolation import alone
from spade_core.models.labels import resolve_target
from spade_core.models.layers import share_copy
from spade_core.models.loaded import Network
from spade_core.pictures.picture import Picture
from spade_core.pictures.scales import scale_of
from spade_core.progress import Progress, silent, span
from spade_core.pruning.kinds import OneOf, Seed
from spade_core.pruning.options import checked_bundle
from spade_core.pruning.trace import Bundle
from spade_core.saliency import METHODS, Method, colour_limits, top_of
from spade_core.saliency.base import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AGREEING = 0.5  # rank correlation of two traces' maps, below which their mean is read with caution


@dataclass(frozen=True, eq=False)
class Explanation:
    """A saliency map.

    Attributes:
        map: float32 ``(height, width)`` at the model's input size, the sum over the channels.
        absolute: the same, the sum of the channels' magnitudes.
        method: slug; target: class index; label: its name; signed: whether negative values mean evidence against.
        seconds: of the computation; settings: options, seed, batch size; notes: sentences about oddities.
        spread: of a bundle of several traces, the standard deviation of their maps (or magnitudes) at each pixel.
        agreement: of such a bundle, the lowest rank correlation of two traces' maps (or magnitudes).
    """

    map: np.ndarray
    absolute: np.ndarray
    method: str
    target: int
    label: str
    signed: bool
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    spread: np.ndarray | None = None
    agreement: float | None = None

    @property
    def warning(self) -> str | None:
        """One sentence where two traces of a bundle disagree, else None."""
        if self.agreement is None or self.agreement >= AGREEING:
            return None
        found = f"Two of the traces disagree on this map (rank correlation {self.agreement:.2f}, below {AGREEING})"
        return f"{found}: trust only what stands out from its spread, or take more traces or views."

    @property
    def colours(self) -> str:
        """Matplotlib's name of the scale that the map is shown in, zero-centred where it has signs."""
        return scale_of(self.signed).colours

    @property
    def pixels(self) -> np.ndarray:
        """The map as a picture in its own unit, see ``top_of``: uint8 ``(height, width, 3)``."""
        from spade_core.pictures.figures import colorize

        return colorize(self.map / top_of(self.map), colour_limits(self.signed), scale_of(self.signed))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the map in its own unit, see ``top_of``.

        Args:
            ax: matplotlib axes to draw on; None: those of a new figure.

        Returns:
            The axes; their image is ``ax.images[0]``, for a colour bar.
        """
        from spade_core.pictures.plotting import axes_for, draw_picture

        values = self.map / top_of(self.map)
        return draw_picture(axes_for(ax), values, self._title, self.colours, colour_limits(self.signed))

    @property
    def _title(self) -> str:
        return f"{METHODS[self.method].title}: {self.label}"

    def _repr_html_(self) -> str:
        from spade_core.pictures.markup import card_html, facts_html, picture_html

        unit = "1 is the top half percent of its magnitudes"
        alt = f"Saliency map by {METHODS[self.method].title} for the class {self.label}"
        facts = {"method": self.method, "class": f"{self.label} ({self.target})", "seconds": f"{self.seconds:.2f}"}
        return card_html(self._title, picture_html(self.pixels, unit, alt), facts_html(facts), notes=self.notes)


def explain(
    model: Network | Bundle,
    picture: Picture,
    *,
    method: str,
    target: int | str | None = None,
    seed: int = 0,
    batch_size: int = 16,
    average: str = "magnitude",
    progress: Progress = silent,
    **options: float | str | None,
) -> Explanation:
    """Attribute one logit to the pixels of ``picture``.

    Args:
        model: a dense model, a trace, or a bundle of traces, whose map is the mean of theirs.
        method: a slug of ``METHODS``.
        target: class index or label; None: the *dense* model's top-1, also for a trace.
        seed: of methods that draw; the global generators are restored afterwards.
        batch_size: at most how many inputs go through the network at once; halved where memory does not suffice.
        average: a slug of ``AVERAGES``, of a bundle: the mean of the maps' magnitudes, or of the maps as they are.
        progress: called at every forward pass and within long ones; may raise ``Cancelled``.
        options: of the method, see its ``options`` in ``METHODS``; None leaves one at its default.

    Raises:
        ConfigError: unknown method or option, or a value out of its range.
        LayerError: the method cannot be applied to this architecture, or reads no such layer.
        ModelError: unknown target.
    """
    chosen = METHODS[OneOf("method", METHODS).check(method)]
    settings = chosen.complete(options)
    _check(seed, batch_size)
    how, several = checked_bundle({"average": average}).average, isinstance(model, Bundle)
    if not isinstance(model, Bundle):
        expect(model, Network, "A model to explain is what load_model, wrap_model or trace gives", ModelError)
    networks: tuple[Network, ...] = model.traces if isinstance(model, Bundle) else (model,)
    found = []
    for index, network in enumerate(networks):
        part = span(progress, index / len(networks), (index + 1) / len(networks))
        found.append(_explain(network, picture, chosen, target, settings, seed, batch_size, part))
    return averaged(found, how) if several else found[0]


def _explain(
    model: Network,
    picture: Picture,
    chosen: Method,
    target: int | str | None,
    settings: dict[str, Any],
    seed: int,
    batch_size: int,
    progress: Progress,
) -> Explanation:
    dense = model.dense
    chosen.demand(dense)
    start = time.perf_counter()
    x = model.input(picture).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        index = int(dense.module(x).argmax()) if target is None else resolve_target(dense, target)
    twin, pixels = share_copy(model.module), dense.preprocessing.crop(picture)
    task = Task(twin, dense, x.requires_grad_(), pixels, index, chosen.title, settings, seed, batch_size, progress)
    with alone(seed, progress), torch.enable_grad():
        attribution = _attributed(chosen, task).detach()
    values, notes = _finite(_pixels(attribution), chosen.title)
    absolute, _ = _finite(_pixels(attribution.abs()), chosen.title)
    progress(1.0, 1.0, chosen.title)
    seconds = time.perf_counter() - start
    recorded = {**settings, "seed": seed, "batch_size": batch_size, **task.record}
    notes = (*task.notes, *notes)
    return Explanation(
        values, absolute, chosen.slug, index, dense.labels[index], chosen.signed, seconds, recorded, notes
    )


def averaged(found: Sequence[Explanation], average: str) -> Explanation:
    """Return the mean of maps of several traces by one method, with its spread and how far two of them agree.

    Args:
        found: at least one; average: a slug of ``AVERAGES``.
    """
    maps = np.stack([one.map for one in found]).astype(np.float64)
    maps = np.abs(maps) if average == "magnitude" else maps
    mean = replace(
        found[0],
        map=maps.mean(0).astype(np.float32),
        absolute=np.stack([one.absolute for one in found]).mean(0, dtype=np.float64).astype(np.float32),
        signed=found[0].signed and average == "signed",
        seconds=sum(one.seconds for one in found),
        settings={**found[0].settings, "traces": len(found), "average": average},
        notes=tuple(dict.fromkeys(note for one in found for note in one.notes)),
    )
    if len(found) == 1:
        return mean
    mean = replace(mean, spread=maps.std(0, ddof=1).astype(np.float32), agreement=_agreement(maps))
    return replace(mean, notes=(*mean.notes, *filter(None, [mean.warning])))


def _agreement(maps: np.ndarray) -> float:
    """Return the lowest rank correlation of two of ``maps`` ``(n, height, width)``; of a constant one 0."""
    from scipy.stats import rankdata  # here: a worker that starts does not wait for it

    ranks = rankdata(maps.reshape(len(maps), -1), axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(1))
    products = (ranks @ ranks.T) / np.maximum(np.outer(lengths, lengths), 1e-30)
    return float(products.min())


def _attributed(method: Method, task: Task) -> torch.Tensor:
    try:
        return method.attribute(task)
    except RuntimeError as error:
        if "require grad" in str(error):
            raise LayerError(
                f"{method.title} needs a gradient, and the forward of {task.dense.name} lets none through "
                "(torch.no_grad, detach or numpy): leave that out of it, and wrap it again."
            ) from error
        if "inplace operation" not in str(error):
            raise
        raise LayerError(
            f"{method.title} cannot go back through {task.dense.name}: its forward overwrites in place what a gradient "
            "needs. Write that step as x = x + y, and wrap it again."
        ) from error


def _check(seed: int, batch_size: int) -> None:
    Seed().check(seed)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"The batch size must be a whole number of at least 1, not {batch_size!r}.")


def _pixels(attribution: torch.Tensor) -> np.ndarray:
    """Return the sum over the channels of ``(1, channels, height, width)`` as float32 ``(height, width)``."""
    return attribution.sum(1)[0].float().cpu().numpy()


def _finite(values: np.ndarray, title: str) -> tuple[np.ndarray, tuple[str, ...]]:
    notes = []
    if broken := int((~np.isfinite(values)).sum()):
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        notes.append(f"{title} was not finite at {broken} pixels; they are set to 0.")
    if not values.any():
        notes.append(f"{title} is zero everywhere: the network no longer passes anything of this picture to the class.")
    return np.ascontiguousarray(values, dtype=np.float32), tuple(notes)
