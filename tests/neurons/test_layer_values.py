"""Values before the activation: of activations, and of whatever ends in one; whatever is done in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.layers import activations, activations_me
from torch import nn

from spade_core.errors import LayerError
from spade_core.models.canonical.canonize import canonize
from spade_core.models.layers import share_copy
from spade_core.models.loading import wrap_model
from spade_core.neurons import LOGITS
from spade_core.neurons.layer_values import as_maps, read_layers
from spade_core.neurons.ranking import rank_channels
from spade_core.pruning.spade import trace
from tests.nets import CLASSES, loaded, randomize

SIZE = 48


def read(module, *names, grad=False):
    """Return the values of a raw module's layers and its logits, of one random input."""
    x = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0), requires_grad=grad)
    twin = share_copy(module.eval())
    with torch.set_grad_enabled(grad), read_layers(twin, names) as seen:
        logits = twin(x)
        values = {name: seen[name] for name in names}
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in twin.modules())
    with torch.no_grad():
        assert torch.equal(logits.detach(), module(x)), "reading changes nothing"
    return values, logits


def raw(name):
    from torchvision.models import get_model

    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return randomize(get_model(name, weights=None, num_classes=CLASSES, **options), SIZE)


def sums(block, x):
    """What torchvision's blocks apply their last, shared, in-place ReLU to, step by step."""
    seen = {}
    last = block.bn3 if hasattr(block, "bn3") else block.bn2
    with torch.no_grad():
        last.register_forward_hook(lambda _m, _a, y: seen.__setitem__("y", y.clone()))
        block(x.clone())
        return seen["y"] + (x if block.downsample is None else block.downsample(x))


@pytest.mark.parametrize("canonical", [False, True])
@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer2.0"), ("resnet18", "layer3.1"), ("resnet50", "layer2.1")]
)
def test_a_residual_block_is_read_before_its_last_relu(name, layer, canonical):
    module = raw(name)
    example = torch.randn(2, 3, SIZE, SIZE)
    network = canonize(module, example)[0] if canonical else module
    block = module.get_submodule(layer)
    given = {}
    handle = block.register_forward_pre_hook(lambda _m, args: given.__setitem__("x", args[0].clone()))
    stage, _, number = layer.partition(".")
    values, _ = read(network, layer, stage)
    read(module, layer)
    handle.remove()
    assert values[layer].min() < 0
    torch.testing.assert_close(values[layer], sums(block, given["x"]), rtol=1e-5, atol=1e-5)
    if int(number) == len(module.get_submodule(stage)) - 1:
        assert torch.equal(values[stage], values[layer]), "the stage returns what its last block returns"


def test_a_sum_in_place_does_not_change_what_was_read_before_it():
    import timm

    torch.manual_seed(0)
    module = randomize(timm.create_model("resnet10t", num_classes=CLASSES), SIZE)
    values, _ = read(module, "layer2.0", "layer2.0.bn2", "layer2.0.downsample", "layer2.0.act2")
    total = values["layer2.0.bn2"] + values["layer2.0.downsample"]
    assert torch.equal(values["layer2.0"], total)
    assert torch.equal(values["layer2.0.act2"], total)


class Many(nn.Module):
    """One in-place ReLU used three times, a sum in place, a sequence that ends in an activation, a gate."""

    def __init__(self, inplace=True):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=inplace)
        self.ends = nn.Sequential(
            nn.Conv2d(6, 6, 1), nn.Sequential(nn.BatchNorm2d(6), nn.ReLU6(inplace=inplace)), nn.Dropout(0.5)
        )
        self.gated = nn.Sequential(nn.Conv2d(6, 12, 1), nn.GLU(1))
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        y = self.ends(x)
        y += x
        y = self.relu(y)
        z = self.gated(y)
        z += y
        self.relu(z)  # in place: what it returns is not looked at
        return self.head(z.mean((2, 3)))


def test_in_place_activations_and_sums_change_no_value():
    torch.manual_seed(0)
    module = randomize(Many(), SIZE)
    values, _ = read(module, "first", "norm", "relu", "ends", "ends.1", "ends.1.0", "gated")
    with torch.no_grad():
        x = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        first = module.first(x)
        norm = module.norm(first)
        before = module.ends[1][0](module.ends[0](norm.relu()))
        y = (before.clamp(0, 6) + norm.relu()).relu()
        gated = nn.functional.glu(module.gated[0](y), 1)
    expected = {"first": first, "norm": norm, "ends": before, "ends.1": before, "ends.1.0": before, "gated": gated}
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value, rtol=1e-5, atol=1e-5, msg=name)
    torch.testing.assert_close(values["relu"], gated + y, rtol=1e-5, atol=1e-5)  # its last call


def test_the_gradient_reaches_every_value():
    torch.manual_seed(0)
    module = randomize(Many(), SIZE)
    names = ("first", "norm", "relu", "ends", "gated")
    values, logits = read(module, *names, grad=True)
    found = torch.autograd.grad(logits[0, 0], [values[name] for name in names])
    assert all(gradient.abs().sum() > 0 for gradient in found)
    negative = values["ends"] < 0
    assert not found[names.index("ends")][negative].any(), "behind a ReLU that lets nothing through"


def test_other_architectures_of_torchvision():
    """Inception's convolutions call their ReLU as a function, which a canonical model turns into a module."""
    network, _ = canonize(raw("googlenet"), torch.randn(2, 3, SIZE, SIZE))
    values, _ = read(network, "inception4a.branch1", "inception4a.branch1.bn", "inception4a")
    assert torch.equal(values["inception4a.branch1"], values["inception4a.branch1.bn"])
    assert values["inception4a.branch1"].min() < 0
    assert values["inception4a"].min() == 0, "a concatenation is no activation's output"
    dense = loaded("densenet121", SIZE)
    values, _ = read(dense.module, "features", "features.norm0", "features.relu0", "features.norm5")
    assert torch.equal(values["features"], values["features.norm5"])
    assert torch.equal(values["features.relu0"], values["features.norm0"])
    assert values["features"].min() < 0
    assert values["features.norm0"].min() < 0


def test_rankings_by_gradient_know_tokens_and_logits(noise):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

        def forward(self, x):
            return self.head(self.mix(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    torch.manual_seed(0)
    model = wrap_model(Tokens(), size=32, device="cpu")
    made = trace(model, noise, sparsity=0.3, views=2)
    target = made.fidelity.target
    with torch.no_grad():
        x = model.preprocessing(noise)
        tokens = model.module.mix(model.module.embed(x).flatten(2).transpose(1, 2)).mean(1)[0]
        expected = (tokens * model.module.head.weight[target]).numpy()
    found = rank_channels(made, noise, "mix", by="gradient", top=None)
    assert [score.channel for score in found] == np.argsort(-expected).tolist()
    for score in found:
        assert score.score == pytest.approx(expected[score.channel], rel=1e-4, abs=1e-6)
    (first, *others) = rank_channels(made, noise, LOGITS, by="gradient", top=None)
    scores = {score.channel: score.score for score in (first, *others)}
    assert {channel for channel, score in scores.items() if score != 0} == {target}


def test_an_output_that_is_no_tensor_says_so():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    module.add_module("pair", Pair())
    with pytest.raises(LayerError, match="is no tensor"), read_layers(module, ["pair"]):
        module(torch.randn(1, 3, 8, 8))
    assert as_maps(torch.zeros(2, 5), None).shape == (2, 5, 1, 1)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "kind", ["Swish", "Mish", "HardSwish", "HardSigmoid", "HardMish", "GELUTanh", "QuickGELU", "SwishMe", "HardMishMe"]
)
def test_timms_own_activations_are_read_before_they_are_applied(kind, inplace):
    activation = getattr(activations, kind, None) or getattr(activations_me, kind)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), activation(inplace=inplace), nn.Conv2d(4, 2, 3), nn.Flatten(1)).eval()
    x = torch.randn(1, 3, 8, 8)
    canonical, notes = canonize(module, x)
    assert not notes
    with torch.no_grad(), read_layers(canonical, ["1"]) as seen:
        assert torch.allclose(canonical(x), module(x))
        assert torch.equal(seen["1"], module[0](x))
