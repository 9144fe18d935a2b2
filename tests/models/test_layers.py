"""Copies of a network that share what is not pruned: ties stay ties, and the original is never written."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spade_core as sc
from spade_core.models.layers import prunable_layers, share_copy
from spade_core.pruning.trace_file import trace_bytes


class TiedWeight(nn.Module):
    """Two layers hold one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.third, self.classifier = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)
        self.third.weight = self.second.weight

    def forward(self, x):
        for layer in (self.first, self.second, self.third):
            x = F.relu(layer(x))
        return self.classifier(x.mean((2, 3)))


class RegisteredTwice(nn.Module):
    """One module under two names, and once more inside a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.classifier = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)
        self.again = self.body
        self.all = nn.ModuleList([self.first, self.body])

    def forward(self, x):
        for layer in (self.first, self.body, self.again):
            x = F.relu(layer(x))
        return self.classifier(x.mean((2, 3)))


class TiedProjections(nn.Module):
    """Two linear layers share weight and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.up, self.down = nn.Conv2d(3, 6, 5), nn.Linear(6, 6), nn.Linear(6, 6)
        self.down.weight, self.down.bias = self.up.weight, self.up.bias
        self.classifier = nn.Linear(6, 4)

    def forward(self, x):
        x = self.first(x).flatten(2).mean(2)
        return self.classifier(F.relu(self.down(F.relu(self.up(x)))))


NETWORKS = [TiedWeight, RegisteredTwice, TiedProjections]


def network_of(kind) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("calibration", ["sequential", "independent"])
def test_tracing_leaves_the_dense_model_as_it_was_and_a_tie_a_tie(kind, calibration, tmp_path):
    network = network_of(kind)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model, picture = sc.wrap_model(network, size=32), sc.load_picture("bundled:cat")
    trace = sc.trace(model, picture, sparsity=0.7, views=4, calibration=calibration)
    file = tmp_path / "trace.safetensors"
    file.write_bytes(trace_bytes(trace))
    reloaded = sc.load_trace(file, model=model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    for pruned in (trace.module, reloaded.module):
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        names = {}
        for name, tensor in network.named_parameters(remove_duplicate=False):
            names.setdefault(id(tensor), []).append(name)
        for tied in names.values():
            assert len({id(pruned.get_parameter(name)) for name in tied}) == 1
        shared = {tensor.data_ptr() for tensor in model.module.parameters()}
        for layer in trace.report.layers:
            own = pruned.get_parameter(f"{layer.name}.weight")
            assert (own.data_ptr() in shared) == (layer.status != "pruned")
    assert sum(layer.status == "pruned" for layer in trace.report.layers) == len(prunable_layers(network)) - 1


@pytest.mark.parametrize("name", ["second.weight", "third.weight"])
def test_a_tied_tensor_is_owned_under_every_name(name):
    network = network_of(TiedWeight)
    twin = share_copy(network, own=[name])
    assert twin.second.weight is twin.third.weight
    assert twin.second.weight is not network.second.weight
    assert twin.first.weight is network.first.weight
