"""Layer inputs and their second moments ``H = E[x x^T]``, read where the weight is used.

Modules pad their own inputs, attention calls ``F.linear`` directly, wrappers differ; only the call of ``F.conv2d`` or
``F.linear`` sees the input that the weight really meets. :class:`WeightCalls` intercepts these calls by the weight's
identity (a torch function mode, local to the thread), and :func:`capture` uses it to collect every second moment in
one pass over the views. The inputs of a convolution are the receptive fields of all views (SPADE, Algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spade_core.models.weight_calls import Call, Pair, WeightCalls
from spade_core.progress import Progress, silent
from spade_core.pruning.relevance import Relevance

_CHUNK = 2**22  # numbers gathered at once
_STRIPE = 128  # columns at once where half of a symmetric product is copied from the other half


def input_columns(x: Tensor, call: Call, chosen: Tensor | None = None) -> Tensor:
    """Unfold the input of one call.

    Args:
        x: ``(n, channels, height, width)`` or ``(channels, height, width)`` for convolutions, ``(..., in)`` for linear
            layers.
        chosen: int64 ``(k,)``, which positions to return; None: all.

    Returns:
        ``(groups, positions, cols)``, cols ordered as the weight's ``(in / groups, kh, kw)``; positions are ordered
        view by view, row by row.
    """
    if call.kind == "linear":
        rows = x.reshape(1, -1, x.shape[-1])
        return rows if chosen is None else rows[:, chosen]
    x = x if x.dim() == 4 else x.unsqueeze(0)
    if is_pointwise(call):  # no copy in channels_last memory
        rows = x[:, :, :: call.stride[0], :: call.stride[1]].permute(0, 2, 3, 1).reshape(1, -1, x.shape[1])
        return rows if chosen is None else rows[:, chosen]
    planes, index = _unfolding(x, call)
    return _gather(planes, index if chosen is None else index[:, chosen]).transpose(1, 2)


def is_pointwise(call: Call) -> bool:
    """Return whether a convolution reads single pixels, all channels of them."""
    return call.kernel == (1, 1) and call.groups == 1 and not any(call.padding)


def _unfolding(x: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    """Return ``planes`` ``(groups, channels / groups, pixels of all views)`` and which pixel each tap meets.

    The second value is int64 ``(kh * kw, positions)``. One plane fits the processor's first cache, so gathering from it
    is several times faster than copying strided windows.
    """
    x = F.pad(x, call.padding) if any(call.padding) else x
    views, channels, height, width = x.shape
    planes = x.transpose(0, 1).reshape(call.groups, channels // call.groups, -1)
    rows, columns = _output_size(x.shape[2:], call)
    first = torch.arange(views).view(-1, 1, 1) * (height * width)  # pixel of each view
    line = torch.arange(rows).view(-1, 1) * (call.stride[0] * width)
    corner = first + line + torch.arange(columns) * call.stride[1]
    line = torch.arange(call.kernel[0]).view(-1, 1) * (call.dilation[0] * width)
    taps = line + torch.arange(call.kernel[1]) * call.dilation[1]
    return planes, (taps.reshape(-1, 1) + corner.reshape(1, -1)).to(x.device)


def _output_size(padded: Sequence[int], call: Call) -> Pair:
    sides = zip(padded, call.dilation, call.kernel, call.stride, strict=True)
    rows, columns = ((side - dilation * (kernel - 1) - 1) // stride + 1 for side, dilation, kernel, stride in sides)
    return rows, columns


def _gather(planes: Tensor, index: Tensor) -> Tensor:
    """Return the columns ``(groups, channels / groups * kh * kw, positions)``."""
    return planes.flatten(0, 1).index_select(1, index.reshape(-1)).view(planes.shape[0], -1, index.shape[1])


def cross_moment(
    x: Tensor, other: Tensor | None, call: Call, positions: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Return the mean of ``x other^T`` over views and positions.

    Args:
        x: input of one call, see :func:`input_columns`.
        other: a second input of the same shape; None stands for ``x`` itself.
        positions: at most about this many positions, the same random ones for both inputs; None: all of them, in
            memory-bounded chunks of views.
        weights: ``(all positions,)``, positive: what each counts in the mean; None: all alike.

    Returns:
        ``(groups, cols, cols)`` in the dtype of ``x``.
    """
    batched = x.dim() == 4 if call.kind == "conv2d" else x.dim() > 1
    x = x if batched else x.unsqueeze(0)
    other = x if other is None else other.reshape(x.shape)
    if call.kind == "linear" or is_pointwise(call):
        left, right = input_columns(x, call), input_columns(other, call)
        if positions is not None and positions < left.shape[1]:
            chosen = _draw_positions(left.shape[1], positions).to(x.device)
            left, right = left[:, chosen], right[:, chosen]
            weights = None if weights is None else weights[chosen]
        if weights is not None:
            left = left * (weights * (len(weights) / weights.sum())).unsqueeze(1)
        elif other is x:
            return _gram(left).div_(left.shape[1])
        return (left.transpose(1, 2) @ right).div_(left.shape[1])
    if other is x and weights is None and _shifts(x, call, positions):
        return _moment_by_shifts(x, call)
    return _spatial_moment(x, other, call, positions, weights)


def takes_all(x: Tensor, call: Call, positions: int | None) -> bool:
    """Return whether :func:`cross_moment` takes all positions of an input, ``(n, ...)``, with itself."""
    if positions is None:
        return True
    if call.kind == "linear" or is_pointwise(call):
        return positions >= len(x) * math.prod(
            x.shape[1:-1] if call.kind == "linear" else _output_size(x.shape[2:], call)
        )
    return _shifts(x, call, positions)


def _shifts(x: Tensor, call: Call, positions: int | None) -> bool:
    """Return whether all receptive fields of a spatial kernel cost no more than ``positions`` of them."""
    if call.groups != 1 or call.dilation != (1, 1):
        return False
    left, right, top, bottom = call.padding
    height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
    return positions is None or positions >= _multiplied(call) * len(x) * math.prod(_output_size((height, width), call))


def _gram(rows: Tensor) -> Tensor:
    """Return ``rows^T rows`` of ``(groups, positions, cols)``, half of it multiplied out and half copied."""
    cols = rows.shape[2]
    if cols <= _STRIPE:
        return rows.transpose(1, 2) @ rows
    total = rows.new_empty(len(rows), cols, cols)
    for start in range(0, cols, _STRIPE):
        part, later = slice(start, start + _STRIPE), slice(start + _STRIPE, cols)
        total[:, part, start:] = rows[..., part].transpose(1, 2) @ rows[..., start:]
        total[:, later, part] = total[:, part, later].transpose(1, 2)
    return total


def _spatial_moment(x: Tensor, other: Tensor, call: Call, positions: int | None, weights: Tensor | None) -> Tensor:
    """Gather and multiply in blocks of groups and positions that stay small."""
    planes, index = _unfolding(x, call)
    partner = planes if other is x else _unfolding(other, call)[0]
    if positions is not None and positions < index.shape[1]:
        chosen = _draw_positions(index.shape[1], positions).to(x.device)
        index, weights = index[:, chosen], None if weights is None else weights[chosen]
    shares = None if weights is None else weights * (len(weights) / weights.sum())
    cols = planes.shape[1] * index.shape[0]
    stretch = max(1, _CHUNK // cols)
    band = max(1, _CHUNK // (cols * min(stretch, index.shape[1])))
    total = x.new_zeros(planes.shape[0], cols, cols)
    for start in range(0, planes.shape[0], band):
        part = slice(start, start + band)
        for begin in range(0, index.shape[1], stretch):
            taps = index[:, begin : begin + stretch]
            left = _gather(planes[part], taps)
            right = left if partner is planes else _gather(partner[part], taps)
            left = left if shares is None else left * shares[begin : begin + stretch]
            total[part] += _gram(left.transpose(1, 2)) if left is right else left @ right.transpose(1, 2)
    return total.div_(index.shape[1])


def _multiplied(call: Call) -> float:
    """Return which share of a kernel's pairs of taps :func:`_moment_by_shifts` multiplies out."""
    sides = zip(call.kernel, call.stride, strict=True)
    return math.prod(1 - (max(0, side - stride) / side) ** 2 for side, stride in sides) / 2


def _moment_by_shifts(x: Tensor, call: Call) -> Tensor:
    """Return the mean of ``x x^T`` over all receptive fields of an ungrouped, undilated kernel, ``(1, cols, cols)``.

    Two taps meet the same pairs of pixels as the two taps a stride before them, but for those at the edges. So of the
    45 pairs of a 3x3 kernel's taps 13 are multiplied out; the others follow from a pair before, less its first line and
    with a last line of their own, where these lines are no padding.

    Args:
        x: input of one call, ``(n, channels, height, width)``.
    """
    taps = [(row, column) for row in range(call.kernel[0]) for column in range(call.kernel[1])]
    padded, margins = F.pad(x, call.padding), (call.padding[2:], call.padding[:2])
    pixels = _Pixels(padded.permute(0, 2, 3, 1), call.stride, _output_size(padded.shape[2:], call), margins)
    whole = [pixels.met(tap) for tap in taps]
    channels = x.shape[1]
    total = x.new_empty(len(taps), len(taps), channels, channels)
    for one, other in combinations_with_replacement(range(len(taps)), 2):
        pair = taps[one], taps[other]
        axis = next((axis for axis in (0, 1) if min(tap[axis] for tap in pair) >= call.stride[axis]), None)
        if axis is None:
            total[one, other] = whole[one].T @ whole[other]
        else:
            before = _before(pair[0], axis, call.stride), _before(pair[1], axis, call.stride)
            total[one, other] = total[taps.index(before[0]), taps.index(before[1])]
            if (last := pixels.line(pair, axis, -1)) is not None:
                total[one, other] += last
            if (first := pixels.line(before, axis, 0)) is not None:
                total[one, other] -= first
        if one != other:
            total[other, one] = total[one, other].T
    cols = channels * len(taps)
    return total.permute(2, 0, 3, 1).reshape(1, cols, cols).div_(len(whole[0]))


def _before(tap: Pair, axis: int, stride: Pair) -> Pair:
    return (tap[0] - stride[0], tap[1]) if axis == 0 else (tap[0], tap[1] - stride[1])


@dataclass(frozen=True)
class _Pixels:
    """A padded input, ``(n, height, width, channels)``, as a kernel's taps meet it at ``sides`` positions.

    ``margins`` are the padding's lines along both axes, before and after.
    """

    x: Tensor
    stride: Pair
    sides: Pair
    margins: tuple[Sequence[int], Sequence[int]]

    def met(self, tap: Pair, axis: int = 0, line: int | None = None) -> Tensor:
        """Return the pixels that a tap meets, ``(positions, channels)``; of one line of positions along ``axis``."""
        parts = [
            slice(at, at + step * (side - 1) + 1, step)
            for at, step, side in zip(tap, self.stride, self.sides, strict=True)
        ]
        met = self.x[:, parts[0], parts[1]]
        met = met if line is None else met.select(1 + axis, line)
        return met.reshape(-1, met.shape[-1])

    def line(self, pair: tuple[Pair, Pair], axis: int, line: int) -> Tensor | None:
        """Return the product of what two taps meet on one line of positions; None where one of them meets padding."""
        before, after = self.margins[axis]
        at = (line % self.sides[axis]) * self.stride[axis]
        met = [tap[axis] + at for tap in pair]
        if min(met) < before or max(met) >= self.x.shape[1 + axis] - after:
            return None
        one, other = (self.met(tap, axis, line) for tap in pair)
        return one.T @ other


def _draw_positions(available: int, wanted: int) -> Tensor:
    """Draw one position from each of ``wanted`` equal stretches, so that every view and region has its share."""
    generator = torch.Generator().manual_seed(available)
    edges = torch.linspace(0, available, wanted + 1, dtype=torch.float64)
    inside = torch.rand(wanted, generator=generator, dtype=torch.float64)
    return (edges[:-1] + inside * (edges[1:] - edges[:-1])).long().clamp_(max=available - 1)


def capture(
    module: nn.Module,
    batches: list[Tensor],
    weights: Mapping[str, Tensor],
    *,
    positions: Mapping[str, int] | None = None,
    relevant: Relevance | None = None,
    energies: dict[str, float] | None = None,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """Collect the second moments of all ``weights`` in one pass of ``module`` over ``batches``.

    Args:
        module: in eval mode; not changed.
        batches: views, each ``(n, 3, height, width)``, normalised.
        weights: name -> parameter of ``module``.
        positions: name -> at most how many positions of all batches together; a missing name takes all.
        relevant: what each position of the same batches counts; None: all alike.
        energies: is given the mean squared length of each weight's output without its bias, where every position is in
            the second moment and counts alike: ``trace(W H W^T)`` for the price of reading the output.

    Returns:
        name -> ``(groups, cols, cols)``, the mean of ``x x^T`` over views and positions (no factor 2), in the dtype of
        the activations. A weight whose call was never seen is missing.
    """
    total = sum(len(batch) for batch in batches)
    sums: dict[str, Tensor] = {}
    seen: dict[str, float] = {}
    lengths: dict[str, float] = {}
    share = 0.0
    waiting = {name: iter(calls) for name, calls in (relevant or {}).items()}

    def add(name: str, x: Tensor, weight: Tensor, call: Call) -> Tensor | None:
        limit = (positions or {}).get(name)
        limit = None if limit is None else max(1, round(limit * share))
        counts = next(waiting[name]) if name in waiting else None
        mass = share if counts is None else share * float(counts.mean())
        moment = cross_moment(x, None, call, limit, counts)
        moment = moment if mass == 1 else moment.mul_(mass)
        sums[name] = sums[name].add_(moment) if name in sums else moment
        seen[name] = seen.get(name, 0.0) + mass
        if energies is None:
            return None
        known = counts is None and x.dim() == (2 if call.kind == "linear" else 4) and takes_all(x, call, limit)
        output = call.output(x, weight)
        lengths[name] = lengths.get(name, 0.0) + (mass * _mean_square(output, call) if known else math.nan)
        return output

    with torch.no_grad(), WeightCalls(weights, add):
        for index, batch in enumerate(batches):
            progress(index, len(batches), "reading the layers' inputs")
            share = len(batch) / total
            module(batch)
    if energies is not None:
        energies |= {name: length / seen[name] for name, length in lengths.items() if not math.isnan(length)}
    return {name: moment if seen[name] == 1 else moment.div_(seen[name]) for name, moment in sums.items()}


def _mean_square(output: Tensor, call: Call) -> float:
    """Return the mean squared length of an output ``(n, channels, ...)``, or ``(n, out)``, without its bias."""
    if call.bias is not None:
        output = output - call.bias.view(-1, *[1] * (output.dim() - 2))
    each = torch.linalg.vector_norm(
        output, dim=tuple(range(1, output.dim()))
    )  # by views: none is rounded by the others
    return float(each.double().square().sum()) * output.shape[1] / output.numel()
