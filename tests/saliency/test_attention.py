"""Attention rollout and LibraGrad against matrices and modules that say what they are, and whom they are refused to."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spade_core as sc
from spade_core.errors import LayerError
from spade_core.models.loading import wrap_model
from spade_core.progress import Cancelled
from spade_core.saliency import METHODS
from spade_core.saliency.attention import Weights
from spade_core.saliency.explanation import explain
from tests import nets

SLUGS = ("attention_rollout", "libragrad", "legrad")


class Attention(nn.Module):
    """Two heads of width 3; ``fused`` by PyTorch's one call, or step by step."""

    def __init__(self, fused):
        super().__init__()
        self.qkv, self.out, self.fused = nn.Linear(6, 18), nn.Linear(6, 6), fused

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / 3**0.5).softmax(-1) if not self.fused else None
        y = weights @ v if weights is not None else F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A layer as one module; its second argument is not used."""

    def __init__(self, fused):
        super().__init__()
        self.norms, self.attention = nn.ModuleList(nn.LayerNorm(6) for _ in range(2)), Attention(fused)
        self.mlp = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))

    def forward(self, x, mask=None):
        x = x + self.attention(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class Blocks(nn.Module):
    """Three layers on 4 x 4 patches and a class token."""

    def __init__(self, fused=True):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.zeros(1, 1, 6))
        self.blocks, self.norm = nn.ModuleList(Block(fused) for _ in range(3)), nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def tokens(self, x):
        x = self.patch(x).flatten(2).mT
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1)

    def forward(self, x):
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x, None)
        return self.head(self.norm(x)[:, 0])


class Transformer(nn.Module):
    """Two blocks on 4 x 4 patches and a class token."""

    def __init__(self, fused=True):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.zeros(1, 1, 6))
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(5))
        self.attentions = nn.ModuleList(Attention(fused) for _ in range(2))
        self.mlps = nn.ModuleList(nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6)) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for place in range(2):
            x = x + self.attentions[place](self.norms[2 * place](x))
            x = x + self.mlps[place](self.norms[2 * place + 1](x))
        return self.head(self.norms[4](x)[:, 0])


def made(fused=True, kind=Transformer):
    torch.manual_seed(3)
    net = nets.randomize(kind(fused), 16).double()
    return wrap_model(net, size=16, name="transformer", device="cpu")


@pytest.fixture(scope="module")
def model():
    return made()


def attention_by_hand(attention, x):
    q, k, _ = attention.qkv(x[0]).view(17, 3, 2, 3).permute(1, 2, 0, 3)
    return torch.stack([torch.softmax(q[head] @ k[head].T / 3**0.5, -1) for head in range(2)])


@pytest.mark.parametrize("heads", ["mean", "max"])
def test_rollout_is_the_product_of_the_layers_attention(model, noise, heads, untouched):
    net, rolled = model.module, torch.eye(17, dtype=torch.float64)
    with torch.no_grad():
        x = net.patch(model.input(noise)).flatten(2).mT
        x = torch.cat([net.token, x], 1)
        for place in range(2):
            weights = attention_by_hand(net.attentions[place], net.norms[2 * place](x))
            joined = weights.mean(0) if heads == "mean" else weights.max(0).values
            layer = (
                0.5 * joined / joined.sum(1, keepdim=True) + 0.5 * torch.eye(17)
                if heads == "mean"
                else joined + torch.eye(17)
            )
            rolled = (layer / layer.sum(1, keepdim=True)) @ rolled
            x = x + net.attentions[place](net.norms[2 * place](x))
            x = x + net.mlps[place](net.norms[2 * place + 1](x))
    with untouched(model):
        found = explain(model, noise, method="attention_rollout", heads=heads).map
    expected = F.interpolate(rolled[0, 1:].view(1, 1, 4, 4), (16, 16), mode="bilinear")[0, 0]
    np.testing.assert_allclose(found, expected.float(), rtol=1e-5)


def test_fused_attention_is_caught_as_well_as_one_that_is_written_out(noise):
    maps = [explain(made(fused), noise, method="attention_rollout").map for fused in (True, False)]
    np.testing.assert_allclose(*maps, rtol=1e-5)


def test_masks_and_scales_of_fused_attention_are_heeded():
    q, k, v = torch.randn(3, 1, 2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keep = torch.ones(5, 5, dtype=torch.bool).tril()
    away = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~keep, -torch.inf)
    for mask in (None, keep, away):
        with Weights() as caught:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.7)
        torch.testing.assert_close(caught.found[0] @ v, y)


def test_rollout_knows_no_target_but_a_trace_looks_elsewhere(noise):
    model = nets.loaded("vit_b_16", 32)
    first, second = (explain(model, noise, method="attention_rollout", target=target).map for target in (0, 1))
    assert np.array_equal(first, second)
    pruned = sc.trace(model, noise, views=2, sparsity=0.6)
    assert not np.array_equal(first, explain(pruned, noise, method="attention_rollout").map)


def through(block, x):
    """A layer step by step; also its attention, ``(2, 17, 17)``, as the tensor that the values are weighted with."""
    q, k, v = block.attention.qkv(block.norms[0](x[0])).view(17, 3, 2, 3).permute(1, 2, 0, 3)
    weights = torch.stack([torch.softmax(q[head] @ k[head].T / 3**0.5, -1) for head in range(2)])
    weights = weights.detach().requires_grad_()
    mixed = torch.cat([weights[head] @ v[head] for head in range(2)], -1)
    x = x + block.attention.out(mixed)[None]
    return x + block.mlp(block.norms[1](x)), weights


@pytest.mark.parametrize("fused", [True, False])
def test_legrad_is_the_positive_slope_of_each_layers_own_logit(noise, fused, untouched):
    model = made(fused, Blocks)
    net, layers = model.module, []
    x = net.tokens(model.input(noise))
    for block in net.blocks:
        x, weights = through(block, x.detach())
        logit = net.head(net.norm(x)[:, 0])[0, 2]
        layers.append(torch.autograd.grad(logit, weights)[0].clamp(min=0).mean((0, 1))[1:])
    values = torch.stack(layers).mean(0)
    values = (values - values.min()) / (values.max() - values.min())
    expected = F.interpolate(values.view(1, 1, 4, 4), (16, 16), mode="bilinear")[0, 0]
    with untouched(model):
        found = explain(model, noise, method="legrad", target=2).map
    np.testing.assert_allclose(found, expected.float(), rtol=1e-5, atol=1e-7)
    assert not np.allclose(found, explain(model, noise, method="legrad", target=0).map, rtol=1e-2)


def test_layers_that_are_no_modules_cannot_be_left_out(model, noise):
    with pytest.raises(LayerError, match="LeGrad needs every layer of a transformer to be one module, and transformer"):
        explain(model, noise, method="legrad")


class Balanced(nn.Module):
    """A layer whose backward pass takes its normalizer, gate or weights as constants: for LibraGrad written out."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        if isinstance(self.layer, nn.GELU):
            return x * (F.gelu(x) / x).detach()
        if isinstance(self.layer, nn.LayerNorm):
            scale = (x.var(-1, keepdim=True, unbiased=False) + self.layer.eps).sqrt().detach()
            return (x - x.mean(-1, keepdim=True)) / scale * self.layer.weight + self.layer.bias
        q, k, v = self.layer.qkv(x).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        return self.layer.out(((q @ k.mT / 3**0.5).softmax(-1).detach() @ v).transpose(1, 2).flatten(2))


def test_libragrad_is_the_input_times_the_gradient_of_balanced_layers(model, noise, untouched):
    net = copy.deepcopy(model.module)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GELU | nn.LayerNorm | Attention):
                setattr(parent, name, Balanced(child))
    x = model.input(noise).requires_grad_()
    logits = net(x)
    torch.testing.assert_close(logits, model.module(x), msg="forwards nothing changes")
    expected = (x * torch.autograd.grad(logits[0, 1], x)[0]).sum(1)[0].detach()
    with untouched(model):
        found = explain(model, noise, method="libragrad", target=1)
    np.testing.assert_allclose(found.map, expected.float(), rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    plain = explain(model, noise, method="input_x_gradient", target=1)
    assert not np.allclose(found.map, plain.map, rtol=1e-2)
    assert not found.notes
    total = float(found.map.astype(np.float64).sum()) + found.settings["absorbed_by_biases"]
    assert total == pytest.approx(float(logits[0, 1].detach()), rel=0.01), "this network's token is zero"


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "densenet121"])
def test_networks_without_attention_are_refused_by_name(slug, name, noise):
    model = nets.loaded(name, 32)
    sentence = f"{METHODS[slug].title} is made for transformers, and {name} has no attention."
    assert METHODS[slug].unsupported(model) == sentence
    with pytest.raises(LayerError) as caught:
        explain(model, noise, method=slug)
    assert str(caught.value) == f"{sentence} Choose another method."


def test_attention_in_windows_cannot_be_rolled_out_but_its_gradient_balanced(noise):
    model = nets.loaded("swin_t", 64)
    assert "attend to all patches, and swin_t attends otherwise" in METHODS["attention_rollout"].unsupported(model)
    found = explain(model, noise, method="libragrad", target=1)
    total = float(found.map.astype(np.float64).sum()) + found.settings["absorbed_by_biases"]
    assert total == pytest.approx(found.settings["logit"], rel=0.01, abs=1e-3)


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_leaks_after_an_error_or_a_cancel(noise, untouched, slug, monkeypatch):
    model = made(kind=Blocks)
    assert METHODS[slug].unsupported(model) is None

    def stop(done, total, note):
        raise Cancelled

    with untouched(model), pytest.raises(Cancelled):
        explain(model, noise, method=slug, progress=stop)
    monkeypatch.setattr(F, "gelu", None)
    with untouched(model), pytest.raises(TypeError):
        explain(model, noise, method=slug, target=1)
    monkeypatch.undo()
    assert explain(model, noise, method=slug, target=1).map.any()
