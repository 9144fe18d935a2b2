"""Paths along true sources: every edge is tried out by changing the source, with all other layers held as they are."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch import nn

from spade_core.inspection.paths import paths
from spade_core.inspection.survivors import alive
from spade_core.inspection.wiring import PICTURE, wire
from spade_core.models.loading import wrap_model
from spade_core.models.weight_calls import WeightCalls
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace, measure_fidelity
from tests import nets

EVERYTHING = {"fan": 10**6, "width": 10**6, "depth": 20}


def weights_of(model, module):
    return {layer.name: module.get_parameter(layer.parameter) for layer in model.layers}


def dense_trace(model, picture):
    """A trace in which nothing was pruned, without the time that pruning takes."""
    return Trace(model, model.module, None, None, measure_fidelity(model, model.module, picture, None), "", 0.0)


class Held:
    """A network whose layers all give what they once gave, whatever they read; one of them may be changed."""

    def __init__(self, model, module, x):
        self.module, self.x, self.weights = module, x, weights_of(model, module)
        self.outputs, self.axes, self.inputs = {}, {}, {}

        def note(name, x, weight, call):
            self.outputs[name], self.inputs[name] = call.output(x, weight), x.clone()
            self.axes[name] = 1 if call.kind == "conv2d" else -1

        with torch.no_grad(), WeightCalls(self.weights, note):
            module(x)

    def readers(self, source, channel=None):
        """Return the layers whose input changes when the output of ``source``, or one channel of it, does."""
        changed = self.outputs[source].clone()
        part = changed if channel is None else changed.select(self.axes[source], channel)
        part += torch.randn(part.shape, generator=torch.Generator().manual_seed(0)) * (1 + part.abs().mean())
        found = set()

        def compare(name, x, weight, call):
            if not torch.equal(x, self.inputs[name]):
                found.add(name)
            return changed.clone() if name == source else self.outputs[name].clone()

        with torch.no_grad(), WeightCalls(self.weights, compare):
            self.module(self.x)
        return found


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_the_sources_in_every_architecture_are_those_that_feed_the_sink(name, noise):
    model = nets.loaded(name, 64)
    x = model.preprocessing(noise)
    held = Held(model, model.module, x)
    reads = defaultdict(set)
    for node in wire(model.module, held.weights, x):
        if node.base is None:
            cotangent = torch.randn(node.value.shape, generator=torch.Generator().manual_seed(1))
            for source, gradient in node.pull(cotangent).items():
                if gradient.any():  # ViT's head reads no patch: what the graph names may still be cut away
                    reads[source.layer].add(node.layer)
    assert set(held.outputs) <= set(reads), "every layer is read by another, or by the output"
    for source in list(held.outputs)[:: max(1, len(held.outputs) // 16)]:
        assert held.readers(source) == reads[source] - {""}, source
    found = paths(dense_trace(model, noise), noise)
    assert len(found.edges) > 20
    for edge in found.edges[:: max(1, len(found.edges) // 16)]:
        assert edge.sink in held.readers(edge.source, edge.source_channel), edge
    assert found.starts == ((found.layers[0], found.starts[0][1]),)
    order = {layer: place for place, layer in enumerate(found.layers)}
    assert all(order[edge.sink] < order[edge.source] for edge in found.edges)


class Residual(nn.Module):
    """A shortcut with a convolution of its own, then one without; batch norm everywhere, in-place ReLUs and sums."""

    expected = {"head": {"c", "a", "b"}, "c": {"a", "b"}, "b": {"stem"}, "a": {"stem"}}  # noqa: RUF012
    values = {"a": "bn_a", "b": "bn_b", "c": "bn_c", "stem": "stem"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.c = (nn.Conv2d(n, 6, 3, padding=1) for n in (3, 6, 6, 6))
        self.bn_a, self.bn_b, self.bn_c = (nn.BatchNorm2d(6) for _ in range(3))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = self.bn_a(self.a(x))
        y += self.bn_b(self.b(x))
        y = y.relu_()
        y = (y + self.bn_c(self.c(y))).relu_()
        return self.head(y.mean((2, 3)))


class Concatenated(nn.Module):
    """Branches of different width side by side, in other orders at two places, as in Inception and DenseNet."""

    expected = {"joint": {"one", "two", PICTURE}, "head": {"joint", "two"}}  # noqa: RUF012
    values = {name: name for name in ("one", "two", "joint")}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.one, self.two, self.joint = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(10, 5, 1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        y = torch.cat([self.one(x), self.two(x)], 1)
        z = self.joint(torch.cat([x, y], 1))
        return self.head(self.norm(torch.cat([z, y[:, 4:]], 1)).mean((2, 3)))


class Gated(nn.Module):
    """Squeeze and excitation after a depthwise convolution: channels are gated by channels."""

    expected = {"out": {"depthwise", "expand"}, "expand": {"reduce"}, "reduce": {"depthwise"}}  # noqa: RUF012
    values = {name: name for name in ("stem", "depthwise", "reduce", "expand", "out")}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6)
        self.reduce, self.expand = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.out, self.head = nn.Conv2d(6, 7, 1), nn.Linear(7, 5)

    def forward(self, x):
        x = self.depthwise(self.stem(x).relu())
        x = x * torch.sigmoid(self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu()))
        return self.head(self.out(x).relu().mean((2, 3)))


class Tokens(nn.Module):
    """Patches as tokens with a class token, attention, a normalization over channels: everything is mixed."""

    expected = {"head": {"embed", "proj"}, "proj": {"qkv"}, "qkv": {"embed"}}  # noqa: RUF012
    values = {name: name for name in ("embed", "qkv", "proj")}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.embed, self.qkv, self.proj = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)
        self.token = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x).flatten(2).transpose(1, 2)], 1)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.proj(nn.functional.scaled_dot_product_attention(q, k, v))
        return self.head(self.norm(x).mean(1))


@pytest.mark.parametrize("kind", [Residual, Concatenated, Gated, Tokens])
def test_strengths_add_up_to_each_channels_value_times_gradient(kind, noise):
    """Of every channel, over all layers that read it: what plain autograd says of the whole network."""
    torch.manual_seed(0)
    model = wrap_model(nets.randomize(kind(), 16).double(), size=16, device="cpu")
    made = dense_trace(model, noise)
    seen = {}
    modules = {name: model.module.get_submodule(kind.values[name]) for name in kind.values}
    handles = [
        module.register_forward_hook(lambda _m, _a, y, name=name: seen.__setitem__(name, y.clone()) or seen[name])
        for name, module in modules.items()
    ]
    with torch.enable_grad():
        x = model.preprocessing(noise, dtype=torch.float64).requires_grad_()
        logit = model.module(x)[0, made.fidelity.target]
        gradients = torch.autograd.grad(logit, list(seen.values()))
    for handle in handles:
        handle.remove()
    found = paths(made, noise, **EVERYTHING)
    sums = defaultdict(float)
    for edge in found.edges:
        sums[edge.source, edge.source_channel] += edge.strength
    for (name, value), gradient in zip(seen.items(), gradients, strict=True):
        maps = (value * gradient).movedim(-1, 1) if name in ("qkv", "proj") else value * gradient
        for channel, expected in enumerate((maps.flatten(2).sum(2) if maps.dim() > 2 else maps)[0].tolist()):
            assert sums[name, channel] == pytest.approx(expected, rel=1e-9, abs=1e-12), (name, channel)
    sources = defaultdict(set)
    for edge in found.edges:
        sources[edge.sink].add(edge.source)
    for sink, expected in kind.expected.items():
        assert sources[sink] == expected - {PICTURE}, sink
    held = Held(model, model.module, x.detach())
    for edge in found.edges[::23]:
        assert edge.sink in held.readers(edge.source, edge.source_channel), edge


def test_a_concatenation_keeps_its_offsets_and_a_shortcut_its_own_share(noise):
    torch.manual_seed(0)
    net = nets.randomize(Concatenated(), 16)
    with torch.no_grad():
        net.head.weight[:, :5] = 0  # of the joint layer
        net.head.weight[:, 5:7] = 0
    model = wrap_model(net, size=16, device="cpu")
    found = paths(dense_trace(model, noise), noise, depth=1)
    assert {(edge.source, edge.source_channel) for edge in found.edges} == {("two", 2)}
    net = nets.randomize(Residual(), 16)
    with torch.no_grad():
        net.bn_c.weight.zero_()
        net.bn_c.bias.zero_()
    model = wrap_model(net, size=16, device="cpu")
    found = paths(dense_trace(model, noise), noise, **{**EVERYTHING, "depth": 1})
    assert {edge.source for edge in found.edges} == {"a", "b"}, "what adds nothing is no path"


class Chain(nn.Module):
    """Linear layers without biases: then every level's strengths add up to the logit."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(48, 6, bias=False), nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)

    def forward(self, x):
        return self.c(self.b(self.a(x.flatten(1))))


def test_paths_add_up_to_the_logit_follow_the_strongest_and_say_where_they_end(noise, untouched):
    torch.manual_seed(0)
    model = wrap_model(Chain(), size=4, device="cpu")
    made = trace(model, noise, sparsity=0.3, views=4)
    target = made.fidelity.target
    with untouched(model):
        found = paths(made, noise, fan=100, width=100, depth=3)
    with torch.no_grad():
        logit = float(made.module(model.preprocessing(noise))[0, target])
    for sink, source in (("c", "b"), ("b", "a")):
        level = [edge for edge in found.edges if (edge.sink, edge.source) == (sink, source)]
        assert sum(edge.strength for edge in level) == pytest.approx(logit, rel=1e-4)
        assert all(alive(made, sink)[edge.sink_channel, edge.source_channel] for edge in level)
    assert (found.starts, found.layers) == ((("c", target),), ("c", "b", "a"))
    assert {(end.layer, end.reason) for end in found.ends} == {("a", "reads the picture itself")}
    (top,) = paths(made, noise, fan=1, width=1, depth=1).edges
    assert abs(top.strength) == max(abs(edge.strength) for edge in found.edges if edge.sink == "c")
    assert top.sink_channel == target
    other = paths(made, noise, target=(target + 1) % 4, depth=1)
    assert {edge.sink_channel for edge in other.edges} == {(target + 1) % 4}


def test_paths_of_groups_name_the_real_input_channel(small, noise):
    found = paths(trace(small, noise, sparsity=0.6, views=4), noise, fan=100, width=100, depth=2)
    grouped = [edge for edge in found.edges if edge.sink == "grouped"]
    assert {edge.source for edge in grouped} == {"pointwise"}
    for edge in grouped:
        assert edge.sink_channel // 4 == edge.source_channel // 4


class EndsNormalized(nn.Module):
    """The class neuron's own layer is normalized: it is still that layer's channel."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.norm = nn.Conv2d(3, 6, 3), nn.Linear(6, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.head(self.body(x).mean((2, 3))))


def test_the_class_neuron_is_its_layers_channel_behind_a_normalization(noise):
    torch.manual_seed(0)
    model = wrap_model(nets.randomize(EndsNormalized(), 16), size=16, device="cpu")
    found = paths(dense_trace(model, noise), noise, target=2)
    assert found.starts == (("head", 2),)
    assert {(edge.source, edge.sink) for edge in found.edges} == {("body", "head")}
    assert found == paths(dense_trace(model, noise), noise, target=2)


class Twice(nn.Module):
    """A layer used twice, and a class neuron that nothing reaches."""

    def __init__(self):
        super().__init__()
        self.same, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)
        nn.init.zeros_(self.head.weight)
        self.head.weight.data[0] = 1

    def forward(self, x):
        return self.head(self.same(torch.tanh(self.same(x))).mean((2, 3)))


def test_a_layer_used_twice_is_told_apart_and_a_dead_end_is_said(noise):
    torch.manual_seed(0)
    model = wrap_model(Twice(), size=8, device="cpu")
    found = paths(dense_trace(model, noise), noise, target=0)
    assert found.layers == ("head", "same (call 2)", "same")
    (end,) = paths(dense_trace(model, noise), noise, target=1).ends
    assert (end.layer, end.channel) == ("head", 1)
    assert end.reason == "reads nothing that counts here: all of it is pruned, zero or clipped"
