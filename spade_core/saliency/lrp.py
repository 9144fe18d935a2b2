"""Layer-wise relevance propagation: the logit is handed back layer by layer, and (nearly) nothing is lost on the way.

Every rule is written as a forward that has the network's value and, as its gradient, what the rule hands back divided
by the activation (Montavon et al. 2019, section 10.3): activation times gradient is then the relevance everywhere, sums
and residual connections share it rightly by themselves, and one backward pass does it for any architecture.

Each kind of layer has its rule (``sharing.py``):

- convolutions: alpha1-beta0 (Bach et al. 2015), with a batch normalization right behind them folded in: the positive
  contributions share what an output receives, a positive bias among them (without it the few weights that a trace keeps
  would share what was never theirs). The option ``rule`` takes others: ``epsilon`` for convolutions and linear layers;
  ``gamma``, the composite of Montavon et al. 2019 (section 10.3): LRP-gamma in the first half of the convolutions,
  LRP-epsilon in the second, LRP-0 in linear layers;
- the convolution that reads the pixels: zB (Montavon et al. 2017), between the darkest and the brightest input;
- linear layers: plain contributions ``x w``; their bias absorbs its own share;
- activations and other normalizations hand on what they get; gates (sigmoids) and softmax weights, which only say how
  much of something passes, count as constants, and so does a layer normalization's scale (Ali et al. 2022).

On a transformer LRP-0 in every layer is the product of the input and the balanced gradient of LibraGrad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from spade_core.errors import LayerError
from spade_core.models.canonical.activations import FUNCTIONS, METHODS
from spade_core.saliency import sharing
from spade_core.saliency.base import Task, counted
from spade_core.saliency.sharing import Affine, Rule

_GATES = {"sigmoid", "hardsigmoid"}
_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}
_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_LAYER_NORM = ("input", "normalized_shape", "weight", "bias", "eps")
_LINEAR = ("input", "weight", "bias")
_CONV2D = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")
TOLERATED = 0.01  # of the logit: what may be missing in the sum without a note


def lrp(task: Task) -> Tensor:
    """Return the relevance of every channel of every pixel for the target's logit.

    ``logit`` and ``absorbed_by_biases``, what biases and LRP-epsilon's constants take, are recorded.
    """
    preprocessing = task.dense.preprocessing
    ends = [preprocessing.normalize(torch.full((1, 3, 1, 1), value)) for value in (0.0, 1.0)]
    low, high = (end.to(task.x).expand_as(task.x).clone().requires_grad_() for end in ends)
    convolution, linear = _rules_of(task)
    return _relevance(task, _Rules(convolution, linear, _one(task.x), (task.x, low, high)))


def libragrad(task: Task) -> Tensor:
    """Return the input times the balanced gradient (LibraGrad, Mehri et al. 2024).

    With what biases and learned tokens take it adds up to the logit.

    Backwards, attention's weights and what normalizes or gates count as constants, and an activation passes on its
    quotient instead of its slope; the gradient is then FullGrad-complete. Theirs balances other methods as well; this
    is their input x gradient.
    """
    return _relevance(task, _Rules(lambda _: sharing.plain, None, _one(task.x), (task.x,)))


def _rules_of(task: Task) -> tuple[Callable[[int], Rule], Rule | None]:
    """Return the rule of each convolution by its place in the network, and the one of linear layers; None: LRP-0."""
    epsilon = partial(sharing.epsilon, share=task.options["epsilon"])
    if task.options["rule"] == "alpha1-beta0":
        return lambda _: sharing.alpha1_beta0, None
    if task.options["rule"] == "epsilon":
        return lambda _: epsilon, epsilon
    half = sum(weight.ndim == 4 for weight in task.module.parameters()) / 2
    gamma = partial(sharing.gamma, favour=task.options["gamma"])
    return lambda place: gamma if place < half else epsilon, None


def _one(x: Tensor) -> Tensor:
    return torch.ones((), dtype=x.dtype, device=x.device, requires_grad=True)


def _relevance(task: Task, rules: _Rules) -> Tensor:
    """Return what the pixels get by the rules; what the rest is, and where it went, is recorded."""
    counted(task.module, 1, task.progress, task.title)
    with rules:
        logit = task.module(task.x)[0, task.target]
    if not logit.requires_grad:
        raise LayerError(
            f"{task.title} has nothing to hand back: {task.dense.name} ends in a softmax. Take another method."
        )
    slopes = torch.autograd.grad(logit, rules.leaves, materialize_grads=True)
    *parts, absorbed = (leaf.detach() * slope for leaf, slope in zip(rules.leaves, slopes, strict=True))
    relevance = sum(parts, torch.zeros_like(task.x))
    whole, shown, kept = float(logit.detach()), float(relevance.double().sum()), float(absorbed)
    task.record.update(logit=whole, absorbed_by_biases=kept)
    missed = abs(shown + kept - whole)
    if missed > TOLERATED * abs(whole):
        share = f"{missed / abs(whole):.0%} of the logit" if abs(whole) > missed else "more than the logit itself"
        task.notes.append(
            f"Map and biases together miss {share}: it lies in learned tokens, or is lost in operations without a rule."
        )
    return relevance


class _Rules(TorchFunctionMode):
    """Replace the calls that have a rule; what a bias takes is the gradient of ``one``, which is 1.

    Args:
        convolution: from a convolution's place in the network to its rule; linear: the rule of linear layers.
        pixels: the input, and the darkest and the brightest one where zB reads them.
    """

    def __init__(
        self, convolution: Callable[[int], Rule], linear: Rule | None, one: Tensor, pixels: tuple[Tensor, ...]
    ) -> None:
        super().__init__()
        self._convolution_rule, self._linear_rule, self._one = convolution, linear, one
        self.leaves = (*pixels, one)
        # The pixels also once padded; the tensors are kept, so that no id is used twice.
        self._pixels = {id(pixels[0]): pixels} if len(pixels) > 1 else {}
        self._convolved: dict[int, tuple[Tensor, Rule, Affine]] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = FUNCTIONS.get(func) or METHODS.get(getattr(func, "__name__", ""))
        if name in _GATES or func in _SOFTMAX:
            return func(*args, **kwargs).detach()
        if name is not None:
            x = args[0] if args else kwargs.pop("input")
            return self._handed_on(x, func(x.clone(), *args[1:], **kwargs))  # it may work in place
        if func in (F.conv2d, torch.conv2d):
            return self._convolution(func, dict(zip(_CONV2D, args, strict=False)) | kwargs)
        if func in (F.batch_norm, torch.batch_norm):
            return self._batch_norm(dict(zip(_BATCH_NORM, args, strict=False)) | kwargs)
        if func is F.linear:
            return self._linear(dict(zip(_LINEAR, args, strict=False)) | kwargs)
        if func in (F.layer_norm, torch.layer_norm):
            return self._layer_norm(**dict(zip(_LAYER_NORM, args, strict=False)) | kwargs)
        if func is F.scaled_dot_product_attention:
            return _attention(func, dict(zip(_ATTENTION, args, strict=False)) | kwargs)
        result = func(*args, **kwargs)
        if func is F.pad and args and id(args[0]) in self._pixels:
            _, low, high = self._pixels[id(args[0])]
            self._pixels[id(result)] = (result, *(func(end, *args[1:], **kwargs) for end in (low, high)))
        return result

    def _convolution(self, func: Callable[..., Tensor], given: Mapping[str, Any]) -> Tensor:
        layer, rule = Affine(func, given, self._one), self._convolution_rule(len(self._convolved))
        result = self._by_rule(layer, rule)
        self._convolved[id(result)] = (result, rule, layer)
        return result

    def _batch_norm(self, given: Mapping[str, Any]) -> Tensor:
        x, mean, variance = given["input"], given["running_mean"], given["running_var"]
        if given.get("training") or mean is None:
            return F.batch_norm(**given)
        scale = (variance + given.get("eps", 1e-5)).rsqrt()
        scale = scale if given.get("weight") is None else scale * given["weight"]
        shift = (0 if given.get("bias") is None else given["bias"]) - mean * scale
        if id(x) not in self._convolved:
            return self._handed_on(x, F.batch_norm(**given))
        _, rule, layer = self._convolved[id(x)]
        before = layer.given
        bias = shift if before.get("bias") is None else shift + before["bias"] * scale
        folded = {**before, "weight": before["weight"] * scale.view(-1, 1, 1, 1), "bias": bias}
        return self._by_rule(replace(layer, given=folded), rule)

    def _by_rule(self, layer: Affine, rule: Rule) -> Tensor:
        """Return the layer's output, with the gradient of zB where it reads the pixels, else of its rule."""
        x, value = layer.given["input"], layer.value()
        if id(x) in self._pixels:
            _, low, high = self._pixels[id(x)]
            return self._shared(sharing.z_beta(layer, low, high), value)
        return self._shared(rule(layer, value), value)

    def _shared(self, contributions: Tensor, value: Tensor) -> Tensor:
        """Return ``value`` with the gradient of ``contributions``, so scaled that they share all of its relevance."""
        empty = contributions.detach() == 0
        factor = (value / contributions.detach().masked_fill(empty, 1)).masked_fill(empty, 0)
        return contributions * factor + value * empty * self._one

    def _handed_on(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y`` with the gradient by which ``x`` takes over its relevance."""
        return self._shared(x, y.detach())

    def _linear(self, given: Mapping[str, Any]) -> Tensor:
        if not given["input"].requires_grad:  # made of constants, as where heads' attention weights are mixed
            return F.linear(**given)
        layer = Affine(F.linear, given, self._one)
        return layer.plain() if self._linear_rule is None else self._by_rule(layer, self._linear_rule)

    def _layer_norm(
        self,
        input: Tensor,  # noqa: A002 - as PyTorch's
        normalized_shape: tuple[int, ...],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        sides = tuple(range(-len(normalized_shape), 0))
        centred = input - input.mean(sides, keepdim=True)
        found = centred * (centred.square().mean(sides, keepdim=True) + eps).rsqrt().detach()
        found = found if weight is None else found * weight
        return found if bias is None else found + bias * self._one


def _attention(func: Callable[..., Tensor], given: Mapping[str, Any]) -> Tensor:
    """Return the attended values; how much each is attended to counts as a constant."""
    frozen = {key: value.detach() if isinstance(value, Tensor) else value for key, value in given.items()}
    return func(**{**frozen, "value": given["value"]})
