"""Canonical form: every activation a separate, out-of-place module; outputs unchanged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spade_core.activations import find_shared_activations
from spade_core.attention import ExplicitAttention
from spade_core.canonize import canonize
from spade_core.layers import share_copy
from tests import nets


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_all_architectures_keep_their_output_and_hide_no_activation(name):
    size = 32 if name == "vgg16_bn" else 64
    module = nets.randomize(nets.build(name, size), size)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = module(x)
        canonical, notes = canonize(module, x)
        after = canonical(x)
        copied = share_copy(canonical)(x)
    assert notes == ()
    if name == "vit_b_16":
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    else:
        assert torch.equal(after, before)
    assert torch.equal(after, copied)
    assert find_shared_activations(canonical, x) == []
    assert list(canonical.state_dict()) == list(module.state_dict())
    assert not any(getattr(child, "inplace", False) for child in canonical.modules())
    assert not any(type(child) is nn.MultiheadAttention for child in canonical.modules())


class Awkward(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.other, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.act, self.fn = nn.ReLU(inplace=True), F.gelu
        self.first = self.second = nn.ReLU6(inplace=True)

    def forward(self, x):
        x = self.act(self.conv(x))
        y = self.act(self.other(x))
        y += x
        y = self.second(self.first(y) - 0.5)
        y = F.relu(self.fn(y), inplace=True).relu_()
        return self.head(F.leaky_relu(y, 0.3).mean((2, 3)))


def test_functions_reuse_aliases_and_in_place_additions_are_rewritten():
    torch.manual_seed(0)
    module = Awkward().eval()
    x = torch.randn(2, 3, 8, 8)
    assert len(find_shared_activations(module, x)) >= 5
    with torch.no_grad():
        before = module(x)
        canonical, notes = canonize(module, x)
        assert torch.equal(canonical(x), before)
    assert notes == ()
    assert find_shared_activations(canonical, x) == []
    slopes = [child.negative_slope for child in canonical.modules() if isinstance(child, nn.LeakyReLU)]
    assert slopes == [0.3]
    assert module.act.inplace, "the caller's module was changed"
    assert find_shared_activations(module, x)


def test_what_cannot_be_traced_stays_and_is_noted():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            while x.abs().max() > 1:
                x = F.relu(self.conv(x)) / 10
            return x.mean((2, 3))

    module = Loop()
    x = 5 * torch.ones(1, 3, 4, 4)
    canonical, notes = canonize(module, x)
    assert "cannot be traced" in notes[0]
    assert find_shared_activations(canonical, x) == ["the model calls relu as a function"]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"kdim": 6, "vdim": 10}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"bias": False}]
)
def test_explicit_attention_equals_the_original(batch_first, options):
    torch.manual_seed(0)
    original = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).double().eval()
    explicit = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).double().eval()
    explicit.load_state_dict(original.state_dict())
    explicit.__class__ = ExplicitAttention
    query = torch.randn(3, 5, 8, dtype=torch.float64)
    key = torch.randn(3, 5, options.get("kdim", 8), dtype=torch.float64)
    value = torch.randn(3, 5, options.get("vdim", 8), dtype=torch.float64)
    inputs = (query, key, value) if options.get("kdim") else (query, query, query)
    mask = torch.triu(
        torch.ones(
            inputs[0].shape[1 if batch_first else 0], inputs[1].shape[1 if batch_first else 0], dtype=torch.bool
        ),
        1,
    )
    for arguments in ({}, {"need_weights": False}, {"attn_mask": mask}, {"average_attn_weights": False}):
        with torch.no_grad():
            for found, expected in zip(explicit(*inputs, **arguments), original(*inputs, **arguments), strict=True):
                if expected is not None:
                    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_encoder_layers_do_not_bypass_explicit_attention():
    torch.manual_seed(0)
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.encoder, self.head = nn.Conv2d(3, 8, 4, 4), module, nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    net = Net().eval()
    x = torch.randn(2, 3, 8, 8)
    canonical, _ = canonize(net, x)
    calls = []
    for child in canonical.modules():
        if isinstance(child, ExplicitAttention):
            child.out_proj.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        torch.testing.assert_close(canonical(x), net(x), rtol=1e-5, atol=1e-5)
    assert len(calls) == 2
