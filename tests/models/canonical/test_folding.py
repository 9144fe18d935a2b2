"""Layers that compute their weights at every call become plain ones, where nothing but the weights is computed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spade_core as sc
from spade_core.models.canonical.folding import fold_weights


class Standardized(nn.Conv2d):
    """As in BiT and in networks without normalization."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-3)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Scaled(Standardized):
    """Does more than to compute its weight."""

    def forward(self, x):
        return 2 * super().forward(x)


class Attentive(nn.Conv2d):
    """Computes its weight from the picture."""

    def forward(self, x):
        return F.conv2d(x, self.weight * x.mean(), self.bias)


class Cosine(nn.Linear):
    """A head of unit rows."""

    def forward(self, x):
        return F.linear(x, F.normalize(self.weight), self.bias)


def network(kind, dtype=torch.float64, **options):
    torch.manual_seed(0)
    layers = (kind(3, 4, 3, **options), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Cosine(4, 3))
    return nn.Sequential(*layers).to(dtype).eval()


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "bias": False}])
def test_a_standardized_convolution_becomes_a_plain_one_with_the_same_answers(options):
    net, x = network(Standardized, **options), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    expected = net(x)
    fold_weights(net, x)
    assert torch.equal(net(x), expected)
    weight = net[0].weight
    assert torch.allclose(weight.mean((1, 2, 3)), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    with torch.no_grad():
        weight.zero_()
    assert not torch.equal(net(x), expected), "what is pruned is the weight that is used"
    assert not any(child._forward_hooks for child in net.modules())


@pytest.mark.parametrize("kind", [Scaled, Attentive])
def test_a_layer_that_does_more_stays_as_it_is(kind):
    net, x = network(kind), torch.randn(1, 3, 9, 9, dtype=torch.float64)
    before, expected = net[0].weight.clone(), net(x)
    fold_weights(net, x)
    assert torch.equal(net[0].weight, before)
    assert torch.equal(net(x), expected)


def test_a_trace_prunes_it_and_the_given_network_is_not_written(noise):
    net = network(Standardized, torch.float32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = sc.wrap_model(net, size=8, device="cpu")
    made = sc.trace(model, noise, sparsity=0.5, preset="uniform", views=2, first_layer=True)
    assert [(row.name, row.status) for row in made.report.layers] == [("0", "pruned"), ("4", "pruned")]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
