"""The map of one method: what it computes for a class, with everything that it depended on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from spade_core.errors import ConfigError, LayerError
from spade_core.isolation import alone
from spade_core.models.labels import resolve_target
from spade_core.models.layers import share_copy
from spade_core.models.loaded import Network
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent
from spade_core.pruning.kinds import OneOf
from spade_core.saliency import METHODS
from spade_core.saliency.base import Task


@dataclass(frozen=True, eq=False)
class Explanation:
    """A saliency map.

    Attributes:
        map: float32 ``(height, width)`` at the model's input size, the sum over the channels.
        absolute: the same, the sum of the channels' magnitudes.
        method: slug; target: class index; label: its name; signed: whether negative values mean evidence against.
        seconds: of the computation; settings: options, seed, batch size; notes: sentences about oddities.
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


def explain(
    model: Network,
    picture: Picture,
    *,
    method: str,
    target: int | str | None = None,
    seed: int = 0,
    batch_size: int = 16,
    progress: Progress = silent,
    **options: float | str | None,
) -> Explanation:
    """Attribute one logit to the pixels of ``picture``.

    Args:
        method: a slug of ``METHODS``.
        target: class index or label; None: the *dense* model's top-1, also for a trace.
        seed: of methods that draw; the global generators are restored afterwards.
        batch_size: at most how many inputs go through the network at once; halved where memory does not suffice.
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
    dense = model.dense
    if reason := chosen.unsupported(dense):
        raise LayerError(reason)
    start = time.perf_counter()
    x = model.input(picture).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        index = int(dense.module(x).argmax()) if target is None else resolve_target(dense, target)
    twin, pixels = share_copy(model.module), dense.preprocessing.crop(picture)
    task = Task(twin, dense, x.requires_grad_(), pixels, index, chosen.title, settings, seed, batch_size, progress)
    with alone(seed, progress), torch.enable_grad():
        attribution = chosen.attribute(task).detach()
    values, notes = _finite(_pixels(attribution), chosen.title)
    absolute, _ = _finite(_pixels(attribution.abs()), chosen.title)
    progress(1.0, 1.0, chosen.title)
    seconds = time.perf_counter() - start
    recorded = {**settings, "seed": seed, "batch_size": batch_size, **task.record}
    notes = (*task.notes, *notes)
    return Explanation(values, absolute, method, index, dense.labels[index], chosen.signed, seconds, recorded, notes)


def _check(seed: int, batch_size: int) -> None:
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"The seed must be a whole number from 0 to 2^63 - 1, not {seed!r}.")
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
