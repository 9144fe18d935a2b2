"""LRP against relevance handed back by explicit matrices, its conservation, and what a trace leaves of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spade_core as sc
from spade_core.models.loading import wrap_model
from spade_core.saliency.explanation import explain
from tests import nets
from tests.reference import saliency as reference

CONVOLUTIONAL = [*nets.RELU_NETS, "convnext_tiny"]


class Net(nn.Module):
    """Uneven padding in front of the pixels' layer, folded batch normalizations, depthwise, residual, gate, pooling."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4)
        self.deep, self.deep_bn = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=True), nn.BatchNorm2d(4)
        self.mix, self.gate = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.relu6, self.relu, self.sigmoid = nn.ReLU6(), nn.ReLU(), nn.Sigmoid()
        self.pool, self.last = nn.MaxPool2d(2), nn.Linear(4, 3)

    def forward(self, x):
        y = self.relu6(self.stem_bn(self.stem(F.pad(x, (0, 1, 0, 1)))))
        z = self.relu(self.deep_bn(self.deep(y)))
        z = z * self.sigmoid(self.gate(z.mean((2, 3), keepdim=True)))
        return self.last(self.pool(self.mix(z) + y).mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return wrap_model(nets.randomize(Net(), 8).double(), size=8, device="cpu")


def folded(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias
    return conv.weight * scale.view(-1, 1, 1, 1), norm.bias + (bias - norm.running_mean) * scale


RULES = {  # of the depthwise convolution, of the last one, and whether the linear layer has an epsilon
    "alpha1-beta0": (reference.alpha1_beta0, reference.alpha1_beta0, False),
    "epsilon": (reference.epsilon, reference.epsilon, True),
    "gamma": (reference.gamma, reference.epsilon, False),
}


def by_hand(net, x, low, high, target, rule):
    """Return the pixels' relevance, and what biases and epsilons take."""
    of_deep, of_mix, damped = RULES[rule]
    stem, stem_bias = folded(net.stem, net.stem_bn)
    deep, deep_bias = folded(net.deep, net.deep_bn)

    def read(pixels):
        return F.conv2d(F.pad(pixels, (0, 1, 0, 1)), stem, stride=2)

    def deepen(values):
        return F.conv2d(values, deep, padding=1, groups=4)

    y = (read(x) + stem_bias.view(1, -1, 1, 1)).clamp(0, 6)
    z = (deepen(y) + deep_bias.view(1, -1, 1, 1)).clamp(min=0)
    gated = z * net.sigmoid(net.gate(z.mean((2, 3), keepdim=True)))
    mixed = net.mix(gated)
    total = mixed + y
    pooled, places = F.max_pool2d(total, 2, return_indices=True)
    weights = net.last.weight[target].view(1, -1, 1, 1) / (pooled.shape[2] * pooled.shape[3])
    lost = net.last.bias[target].clone()
    if damped:
        logits = net.last(pooled.mean((2, 3)))[0]
        size = 0.25 * logits.square().mean().sqrt()
        weights = weights * logits[target] / (logits[target] + size * logits[target].sign())
        lost = logits[target] - (pooled * weights).sum()
    back = F.max_unpool2d(pooled * weights, places, 2, output_size=total.shape)  # relevance of the sum
    share = torch.where(total == 0, 0, back / total)
    to_mix, to_y = mixed * share, y * share
    bias = net.mix.bias.view(-1, 1, 1).expand_as(mixed[0]).flatten()
    matrix = reference.matrix_of(lambda values: F.conv2d(values, net.mix.weight), gated)
    to_z, more = of_mix(matrix, bias, gated, to_mix)
    lost = lost + more
    bias = deep_bias.view(-1, 1, 1).expand_as(z[0]).flatten()
    from_z, more = of_deep(reference.matrix_of(deepen, y), bias, y, to_z)
    lost = lost + more
    pixels, more = reference.z_beta(reference.matrix_of(read, x), x, low, high, to_y + from_z)
    return pixels, lost + more


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", [0, 2])
def test_relevance_is_what_explicit_matrices_hand_back(model, noise, target, rule):
    x = model.input(noise)
    ends = (model.preprocessing.normalize(torch.full((1, 3, 1, 1), value)) for value in (0.0, 1.0))
    low, high = (end.double().expand_as(x) for end in ends)
    with torch.no_grad():
        expected, lost = by_hand(model.module, x, low, high, target, rule)
    found = explain(model, noise, method="lrp", target=target, rule=rule)
    np.testing.assert_allclose(
        found.map, expected.sum(1)[0].float(), rtol=1e-4, atol=1e-6 * float(expected.abs().max())
    )
    assert found.settings["absorbed_by_biases"] == pytest.approx(float(lost), rel=1e-6)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_relevance_and_what_biases_take_are_the_logit(name, noise):
    model = nets.loaded(name, 32)
    with torch.no_grad():
        logit = float(model.module(model.input(noise))[0, 1])
    maps = []
    for rule in RULES:
        found = explain(model, noise, method="lrp", target=1, rule=rule)
        assert found.settings["logit"] == pytest.approx(logit, rel=1e-3, abs=1e-4)
        total = float(found.map.astype(np.float64).sum()) + found.settings["absorbed_by_biases"]
        assert total == pytest.approx(logit, rel=0.01, abs=1e-3), rule
        assert not found.notes
        maps.append(found.map)
    assert not any(np.allclose(one, other) for one, other in itertools.combinations(maps, 2))


def test_epsilon_and_gamma_can_be_set(model, noise):
    def found(rule, **more):
        return explain(model, noise, method="lrp", target=0, rule=rule, **more)

    much, none = found("epsilon", epsilon=10), found("epsilon", epsilon=0)
    assert np.abs(much.map).sum() < 0.05 * np.abs(none.map).sum(), "a large epsilon absorbs nearly all"
    assert much.settings["absorbed_by_biases"] == pytest.approx(much.settings["logit"], rel=0.1)
    assert not np.allclose(found("gamma").map, found("gamma", gamma=100).map)
    much, positive = found("gamma", gamma=100, epsilon=0).map, found("alpha1-beta0").map
    few = found("gamma", gamma=0, epsilon=0).map
    likeness = [np.corrcoef(one.ravel(), positive.ravel())[0, 1] for one in (few, much)]
    assert likeness[1] > likeness[0], "a large gamma leaves out what contradicts"


def test_activations_may_be_called_by_keywords(noise):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    class Called(nn.Module):
        def __init__(self, call):
            super().__init__()
            self.conv, self.last = layers
            self.call = call

        def forward(self, x):
            y = self.conv(F.pad(input=x, pad=(1, 1, 1, 1)))
            return self.last(self.call(y).mean((2, 3)))

    maps = [
        explain(wrap_model(Called(call), size=8, device="cpu"), noise, method="lrp", target=0).map
        for call in (lambda y: F.relu(y), lambda y: F.relu(input=y), lambda y: y.relu())
    ]
    for other in maps[1:]:
        np.testing.assert_array_equal(maps[0], other)


def test_what_is_lost_is_told(noise):
    class Lossy(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) + 5.0

    found = explain(wrap_model(Lossy(nets.randomize(Net(), 8)), size=8, device="cpu"), noise, method="lrp", target=0)
    assert any("operations without a rule" in note for note in found.notes)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_transformers_take_it_and_attention_counts_as_a_constant(name, noise, untouched):
    model = nets.loaded(name, 32)
    with untouched(model):
        found = explain(model, noise, method="lrp", target=1)
    assert np.isfinite(found.map).all()
    assert found.map.any()


def test_a_trace_is_explained_as_it_computes(small, noise):
    trace = sc.trace(small, noise, views=3, sparsity=0.6)
    dense, pruned = (explain(one, noise, method="lrp", target=0) for one in (small, trace))
    assert not np.array_equal(dense.map, pruned.map)
    assert not pruned.notes
