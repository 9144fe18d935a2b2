"""Which receptive fields speak for the target: weights of the second moments (ours; the paper weighs all alike).

SPADE's least squares counts every receptive field of every view as one. Most of them lie on the background, so most of
a layer's budget goes to connections that say nothing of the target. With the weighting ``target`` a field counts by
what the layer's output there says for the target: ``s = (sum_c g_c y_c)^2``, where ``y`` is the output of the call and
``g`` its gradient of the target's logit minus the mean of the others, on the dense model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models.weight_calls import Call, WeightCalls
from spade_core.progress import Progress, silent

FLOOR = 0.01  # what each field weighs at least, as a fraction of the mean

Relevance: TypeAlias = Mapping[str, list[Tensor]]
"""Parameter's name -> what each position of each of its calls weighs, in the order of the calls, batch by batch."""


def relevance(
    module: nn.Module,
    batches: list[Tensor],
    weights: Mapping[str, Tensor],
    target: int,
    *,
    untouched: int = 1,
    progress: Progress = silent,
) -> Relevance:
    """Weigh the positions of all calls of ``weights`` by what they say for ``target``, with one backward pass a batch.

    Args:
        module: the dense model in eval mode; neither it nor any gradient that it holds is changed.
        batches: views, each ``(n, 3, height, width)``, normalised.
        weights: name -> parameter of ``module``.
        target: class index.
        untouched: as how many views the first one counts.

    Returns:
        name -> one ``(positions,)`` a call, ordered as :func:`spade_core.pruning.moments.input_columns` orders them; at
        least 0, of mean ``1 + FLOOR`` over all calls of a weight (``FLOOR`` alone where nothing speaks for the target).

    Raises:
        ModelError: the output cannot be differentiated, or a gradient is not finite.
    """
    found: dict[str, list[Tensor]] = {}
    for index, batch in enumerate(batches):
        progress(index, len(batches), "asking where the target is")
        for name, scores in _scores(module, batch, weights, target):
            if index == 0 and untouched > 1:
                scores[: len(scores) // len(batch)] *= untouched
            found.setdefault(name, []).append(scores)
    return {name: _normalised(calls) for name, calls in found.items()}


def contrast(logits: Tensor, target: int) -> Tensor:
    """Return the target's logit minus the mean of the others, ``(n,)`` of ``(n, classes)``; a single class's alone."""
    others = max(1, logits.shape[1] - 1)
    return logits[:, target] - (logits.sum(1) - logits[:, target]) / others


def _scores(module: nn.Module, views: Tensor, weights: Mapping[str, Tensor], target: int) -> list[tuple[str, Tensor]]:
    calls: list[tuple[str, Tensor, int]] = []

    def keep(name: str, x: Tensor, weight: Tensor, call: Call) -> Tensor:
        y = call.output(x, weight)
        calls.append((name, y, -1 if call.kind == "linear" else -3))
        return y.clone()  # an activation may work in place

    with torch.enable_grad():
        with WeightCalls(weights, keep):
            logits = module(views.clone().requires_grad_())
        outputs = [y for _, y, _ in calls]
        if not logits.requires_grad or not outputs:
            raise ModelError(
                "The output of this model cannot be differentiated, so nothing tells where its target is: take the "
                "weighting 'none'."
            )
        wanted = [y for y in outputs if y.requires_grad]
        slopes = iter(torch.autograd.grad(contrast(logits, target).sum(), wanted, allow_unused=True))
    found = []
    for name, y, channels in calls:
        slope = next(slopes) if y.requires_grad else None
        said = torch.zeros_like(y) if slope is None else slope * y.detach()
        found.append((name, said.detach().sum(channels).square().flatten()))
    return found


def _normalised(calls: list[Tensor]) -> list[Tensor]:
    total = torch.stack([scores.sum(dtype=torch.float64) for scores in calls]).sum()
    mean = float(total) / sum(scores.numel() for scores in calls)
    if not math.isfinite(mean):
        raise ModelError("A gradient of this model is not finite: take the weighting 'none'.")
    return [scores / (mean or 1.0) + FLOOR for scores in calls]
