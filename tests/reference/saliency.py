"""Attribution rules written out on autograd functions and loops."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, top):
        ctx.save_for_backward(x)
        ctx.top = top
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        passes = (x > 0) & (x < ctx.top) & (gradient > 0)
        return gradient * passes, None


class _Guided(nn.Module):
    def __init__(self, top):
        super().__init__()
        self.top = top

    def forward(self, x):
        return _GuidedReLU.apply(x, self.top)


def guided_backprop(module: nn.Module, x: Tensor, target: int) -> Tensor:
    """Gradient with negative parts cut at each ReLU and ReLU6; ``module`` is a private copy and is changed."""
    _replace_relus(module, _Guided)
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(module(x)[0, target], x)[0]


class _Rescale(torch.autograd.Function):
    """Forward a clipped ReLU on (input, baseline); backward the quotient of their differences."""

    @staticmethod
    def forward(ctx, x, top):
        ctx.save_for_backward(x)
        ctx.top = top
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        multiplier = torch.empty_like(x[0])
        for place in range(multiplier.numel()):
            a, b = float(x[0].flatten()[place]), float(x[1].flatten()[place])
            difference = min(max(a, 0.0), ctx.top) - min(max(b, 0.0), ctx.top)
            multiplier.view(-1)[place] = difference / (a - b) if abs(a - b) > 1e-9 else float(0 < a < ctx.top)
        return gradient * multiplier, None


class _Rescaled(nn.Module):
    def __init__(self, top):
        super().__init__()
        self.top = top

    def forward(self, x):
        return _Rescale.apply(x, self.top)


def deeplift(module: nn.Module, x: Tensor, target: int) -> Tensor:
    """DeepLift's rescale rule against zeros, place by place; ``module`` is a private copy and is changed."""
    _replace_relus(module, _Rescaled)
    pair = torch.cat([x.detach(), torch.zeros_like(x)]).requires_grad_()
    multipliers = torch.autograd.grad(module(pair)[:, target].sum(), pair)[0]
    return multipliers[:1] * x.detach()


def _replace_relus(module: nn.Module, make: type[nn.Module]) -> None:
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, make(6.0))
            elif isinstance(child, nn.ReLU):
                setattr(parent, name, make(float("inf")))


def integrated_gradients(module: nn.Module, x: Tensor, target: int, steps: int) -> Tensor:
    """Midpoint sum of gradients from zero to ``x``, times ``x``."""
    total = torch.zeros_like(x)
    for step in range(steps):
        point = (x.detach() * ((step + 0.5) / steps)).requires_grad_()
        total += torch.autograd.grad(module(point)[0, target], point)[0]
    return total / steps * x.detach()


def occlusion(module: nn.Module, x: Tensor, target: int, window: int, stride: int) -> Tensor:
    """Mean loss of the logit over the squares that cover a pixel, ``(height, width)``; the last ones are cut off."""
    height, width = x.shape[-2:]
    total, count = torch.zeros(height, width, dtype=x.dtype), torch.zeros(height, width, dtype=x.dtype)
    full = module(x)[0, target]
    rows = -(-(height - window) // stride) + 1
    columns = -(-(width - window) // stride) + 1
    for i in range(rows):
        for j in range(columns):
            covered = x.clone()
            place = (slice(i * stride, i * stride + window), slice(j * stride, j * stride + window))
            covered[0, :, place[0], place[1]] = 0
            total[place] += full - module(covered)[0, target]
            count[place] += 1
    return total / count


def grad_cam(activations: Tensor, gradients: Tensor, size: int) -> Tensor:
    """``sum_k mean(gradient_k) A_k`` upsampled, ``(size, size)``; both inputs ``(channels, rows, columns)``."""
    weights = gradients.mean((1, 2))
    cam = sum(weight * plane for weight, plane in zip(weights, activations, strict=True))
    return F.interpolate(cam[None, None], (size, size), mode="bilinear", align_corners=False)[0, 0]


def low_pass(values: Tensor, cut: int) -> Tensor:
    """``values`` (square) as a sum of the waves of at most ``cut`` cycles, each fitted by its scalar product."""
    side = len(values)
    places = torch.arange(side, dtype=values.dtype)
    total = torch.zeros_like(values)
    for row in range(-(side // 2), (side + 1) // 2):
        for column in range(-(side // 2), (side + 1) // 2):
            if row**2 + column**2 <= cut**2:
                phase = 2 * torch.pi * (row * places[:, None] + column * places) / side
                cosine, sine = phase.cos(), phase.sin()
                total += (values * cosine).mean() * cosine + (values * sine).mean() * sine
    return total


def matrix_of(linear, x: Tensor) -> Tensor:
    """``(outputs, inputs)`` of a linear map without bias, column by column."""
    columns = []
    for place in range(x.numel()):
        basis = torch.zeros(x.shape, dtype=x.dtype)
        basis.view(-1)[place] = 1
        columns.append(linear(basis).flatten())
    return torch.stack(columns, 1)


def alpha1_beta0(matrix: Tensor, bias: Tensor, x: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Share each output's relevance by its positive contributions; return what inputs get, and what the bias takes.

    bias: of each output, ``(outputs,)``.
    """
    contributions = torch.cat([(matrix * x.flatten()), bias.view(-1, 1)], 1).clamp(min=0)
    given, lost = _by_share(contributions, torch.cat([x.flatten(), bias[:1]]), relevance)
    return given[:-1].view_as(x), lost + given[-1]


def epsilon(matrix: Tensor, bias: Tensor, x: Tensor, relevance: Tensor, share: float = 0.25) -> tuple[Tensor, Tensor]:
    """Share by the contributions, of which a constant of ``share`` times the outputs' root mean square takes a part."""
    outputs = matrix @ x.flatten() + bias
    size = share * outputs.square().mean().sqrt()
    given, lost = torch.zeros_like(x.flatten()), torch.zeros((), dtype=x.dtype)
    for row, z, value in zip(matrix, outputs, relevance.flatten(), strict=True):
        part = row * x.flatten() / (z + size if z >= 0 else z - size) * value
        given, lost = given + part, lost + value - part.sum()
    return given.view_as(x), lost


def gamma(matrix: Tensor, bias: Tensor, x: Tensor, relevance: Tensor, favour: float = 0.25) -> tuple[Tensor, Tensor]:
    """Share by the contributions, those of the output's own sign counting ``1 + favour`` times."""
    given, lost = torch.zeros_like(x.flatten()), torch.zeros((), dtype=x.dtype)
    for row, b, value in zip(matrix, bias, relevance.flatten(), strict=True):
        parts = torch.cat([row * x.flatten(), b.view(1)])
        same = (parts > 0) == (parts.sum() >= 0)
        parts = torch.where(same, (1 + favour) * parts, parts)
        given, lost = given + parts[:-1] / parts.sum() * value, lost + parts[-1] / parts.sum() * value
    return given.view_as(x), lost


def z_beta(matrix: Tensor, x: Tensor, low: Tensor, high: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Share by ``x w - low w+ - high w-``."""
    contributions = matrix * x.flatten() - matrix.clamp(min=0) * low.flatten() - matrix.clamp(max=0) * high.flatten()
    return _by_share(contributions, x, relevance)


def _by_share(contributions: Tensor, x: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    given, lost = torch.zeros_like(x.flatten()), torch.zeros((), dtype=x.dtype)
    for row, value in zip(contributions, relevance.flatten(), strict=True):
        if row.sum() == 0:
            lost = lost + value
        else:
            given = given + row / row.sum() * value
    return given.view_as(x), lost
