"""Passes to the input: right values and gradients, in whatever form the device has."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from spade_core.errors import LayerError
from spade_core.models.layers import share_copy
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.layer_values import read_layers
from spade_core.neurons.objectives import build_aims
from spade_core.neurons.passes import Pass, fastest
from tests import nets

NEURONS = (Neuron("pointwise", 2), Neuron(LOGITS, 1))


def gpu(name):
    return pytest.param(name, marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


def reference(module, x):
    """Each image by itself, from the layer's own output, without any of the package's parts."""
    seen = {}
    twin = share_copy(module)
    twin.get_submodule("pointwise").register_forward_hook(lambda _m, _a, y: seen.update(y=y))
    x = x.detach().requires_grad_()
    logits = twin(x)
    values = torch.stack([seen["y"][0, 2].mean(), logits[1, 1]])
    return values.detach(), torch.autograd.grad(-values.sum(), x)[0]


@pytest.mark.parametrize("device", ["cpu", gpu("cuda")])
def test_values_and_gradients_are_those_of_a_plain_pass(small, device):
    module = copy.deepcopy(small.module).to(device)  # a shared copy would take the fixture along
    generator = torch.Generator().manual_seed(0)
    with read_layers(module, ["pointwise"]) as seen:
        ascend = fastest(Pass(module, seen, lambda layers: build_aims(NEURONS, layers)), torch.device(device))
        for side in (24, 30, 24, 30, 24):  # a second and third call of one size, between those of another
            x = torch.rand(2, 3, side, side, generator=generator).to(device)
            values, gradient = ascend(x)
            assert not seen
            for found, wanted in zip((values, gradient), reference(module, x), strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
            assert not values.requires_grad
            assert x.grad is None


def test_the_optional_terms_move_the_gradient_and_not_the_values(small):
    x, neurons = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)), (Neuron("pointwise", 2),) * 2
    found = []
    for weight in (0.0, 5.0):
        module = share_copy(small.module)
        with read_layers(module, ["pointwise"]) as seen:
            found.append(Pass(module, seen, lambda layers, w=weight: build_aims(neurons, layers, diversity=w))(x))
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.allclose(found[0][1], found[1][1])


def test_a_channel_that_is_not_there_is_said_at_the_first_pass(small):
    module = share_copy(small.module)
    with read_layers(module, ["pointwise"]) as seen:
        ascend = Pass(module, seen, lambda layers: build_aims((Neuron("pointwise", 999),), layers))
        with pytest.raises(LayerError, match="has the channels 0 to"):
            ascend(torch.rand(1, 3, 24, 24))


class Waiting(nn.Module):
    """A network that looks at its values on the way, which no graph can record."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * (1.0 if float(x.detach().sum()) > -1e9 else 2.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_that_waits_for_the_gpu_is_drawn_without_a_graph(caplog):
    module = Waiting(nets.plain().module.cuda())
    x = torch.rand(1, 3, 24, 24, device="cuda")
    with read_layers(module, []) as seen, caplog.at_level("INFO"):
        plain = Pass(module, seen, lambda layers: build_aims((Neuron(LOGITS, 1),), layers))
        ascend = fastest(plain, x.device)
        found = [ascend(x) for _ in range(3)]
    assert "cannot be recorded" in caplog.text
    for values, gradient in found[1:]:
        torch.testing.assert_close(values, found[0][0])
        torch.testing.assert_close(gradient, found[0][1])
    assert torch.isfinite(torch.rand(4, device="cuda")).all()
