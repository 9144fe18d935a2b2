"""Which receptive fields speak for the target: weights of the second moments (ours; the paper weighs all alike).

SPADE's least squares counts every receptive field of every view as one. Most of them lie on the background, so most of
a layer's budget goes to connections that say nothing of the target. With the weighting ``target`` a field counts by
what the layer's output there says for the target: ``s = (sum_c g_c y_c)^2``, where ``y`` is the output of the call and
``g`` its gradient of what speaks for the target (:func:`contrast`), on the dense model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from spade_core.errors import ModelError
from spade_core.models.weight_calls import Call, WeightCalls
from spade_core.progress import Progress, silent
from spade_core.pruning.views import Views

FLOOR = 0.01  # what each field weighs at least, as a fraction of the mean

Relevance: TypeAlias = Mapping[str, list[Tensor]]
"""Parameter's name -> what each position of each of its calls weighs, in the order of the calls, batch by batch."""
Scores: TypeAlias = list[tuple[str, Tensor]]
"""Of one pass: each call's name, and the squared relevance of its positions, view by view."""


def relevance(
    module: nn.Module,
    views: Views,
    weights: Mapping[str, Tensor],
    targets: Sequence[int | Tensor],
    *,
    output: str = "logits",
    untouched: int = 1,
    batch: int = 32,
    progress: Progress = silent,
) -> list[Relevance]:
    """Weigh the positions of all calls of ``weights`` by what they say for each trace's target, in one backward pass.

    Args:
        module: the dense model in eval mode; neither it nor any gradient that it holds is changed.
        views: of all traces; traces that share a view share its target.
        weights: name -> parameter of ``module``.
        targets: class index of each trace, or of each of its views, int64 ``(views,)``.
        output: what the logits mean, a key of ``OUTPUTS``.
        untouched: as how many views the first one of each trace counts.
        batch: at most how many views a pass takes, here and where the result is used.

    Returns:
        for each trace, name -> one ``(positions,)`` a call, ordered as :func:`spade_core.pruning.moments.input_columns`
        orders them; at least 0, of mean ``1 + FLOOR`` over all calls of a weight (``FLOOR`` alone where nothing speaks
        for the target).

    Raises:
        ModelError: the output cannot be differentiated, or a gradient is not finite.
    """
    asked = torch.zeros(len(views.images), dtype=torch.int64, device=views.images.device)
    for rows, target in zip(views.rows, targets, strict=True):
        asked[rows] = target
    passes: list[Scores] = []
    batches = list(zip(views.images.split(batch), asked.split(batch), strict=True))
    for index, (images, wanted) in enumerate(batches):
        progress(index, len(batches), "asking where the target is")
        passes.append(_scores(module, images, weights, wanted, output))
    if len(views.rows) == 1:  # of a single trace the views need not be told apart
        return [_counted(passes, untouched, min(batch, len(views.images)))]
    return [_counted(_own(passes, rows, len(asked), batch), untouched, min(batch, len(rows))) for rows in views.rows]


def _own(passes: list[Scores], rows: Tensor, views: int, batch: int) -> list[Scores]:
    """Return the scores of one trace's views in batches, of those of all ``views``."""
    calls = [torch.cat([scores for _, scores in parts]).view(views, -1) for parts in zip(*passes, strict=True)]
    names = [name for name, _ in passes[0]]
    return [
        [(name, call[part].flatten()) for name, call in zip(names, calls, strict=True)] for part in rows.split(batch)
    ]


def _counted(passes: list[Scores], untouched: int, first: int) -> Relevance:
    """Return what each position counts; ``first``: number of views of the first pass."""
    found: dict[str, list[Tensor]] = {}
    for index, calls in enumerate(passes):
        for name, scores in calls:
            if index == 0 and untouched > 1:
                scores[: len(scores) // first] *= untouched
            found.setdefault(name, []).append(scores)
    return {name: _normalised(scores) for name, scores in found.items()}


def contrast(logits: Tensor, target: int | Tensor, output: str = "logits") -> Tensor:
    """Return what speaks for the target and against what it competes with, ``(n,)`` of logits ``(n, classes)``.

    Classes that exclude each other compete: it is the target's logit minus the mean of the others, for ``binary`` thus
    the logit of that answer. A label of ``multilabel`` competes with its own absence only, whose logit is 0 where its
    probability is a sigmoid: it is the label's logit, whatever the other labels say.

    Args:
        target: class index, or one for each row, int64 ``(n,)``.
        output: what the logits mean, a key of ``OUTPUTS``.
    """
    own = logits[torch.arange(len(logits), device=logits.device), target]
    if output == "multilabel":
        return own
    return own - (logits.sum(1) - own) / max(1, logits.shape[1] - 1)


def _scores(module: nn.Module, views: Tensor, weights: Mapping[str, Tensor], targets: Tensor, output: str) -> Scores:
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
        slopes = iter(torch.autograd.grad(contrast(logits, targets, output).sum(), wanted, allow_unused=True))
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
