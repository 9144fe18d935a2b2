"""The same flow on an accelerator; skipped, with a word, where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spade_core as sc
from spade_core.isolation import full_precision
from spade_core.neurons import LOGITS, Neuron, rendering
from spade_core.neurons.rendering import RenderConfig, render

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the GPU flow was not tested"),
]


def test_dense_and_spade_are_drawn_on_the_gpu(coffee):
    model = sc.load_model("efficientnet_lite0", device="cuda")
    made = sc.trace(model, coffee, views=8)
    networks = {"dense": model.module, "spade": made.module}
    neurons, config = [Neuron(LOGITS, made.fidelity.target)], RenderConfig(steps=32, size=128)
    found = render(model, networks, neurons, config)
    for item in (found["dense"][0], found["spade"][0]):
        assert item.dead is None
        assert item.image.shape == (128, 128, 3)
        assert np.mean(item.values[-8:]) > np.mean(item.values[:8]) + 1
    assert not np.array_equal(found["dense"][0].image, found["spade"][0].image)
    first = RenderConfig(steps=1, size=128, transforms=False)
    values = []
    for device in ("cpu", "cuda"):
        there = sc.load_model("efficientnet_lite0", device=device)
        values.append(render(there, {"dense": there.module}, neurons, first)["dense"][0].values[0])
    assert values[1] == pytest.approx(values[0], abs=0.1)


def test_cuda_agrees_with_the_cpu(coffee):
    found = {}
    for device in ("cpu", "cuda"):
        model = sc.load_model("efficientnet_lite0", device=device)
        trace = sc.trace(model, coffee, views=8)
        maps = [sc.explain(network, coffee, method="saliency").map for network in (model, trace)]
        found[device] = trace, maps, sc.predict(model, coffee), sc.predict(trace, coffee)
    cpu, cuda = found["cpu"], found["cuda"]
    assert cuda[0].report.sparsity == pytest.approx(cpu[0].report.sparsity, abs=1e-6)
    assert cuda[0].fidelity.target == cpu[0].fidelity.target
    assert np.abs(cuda[2] - cpu[2]).max() < 1e-5
    assert np.abs(cuda[3] - cpu[3]).max() < 0.05
    assert np.corrcoef(cuda[1][0].ravel(), cpu[1][0].ravel())[0, 1] > 0.9999
    # Rounding decides between weights of nearly equal scores: two CPU kernels give maps that correlate by about 0.9.
    assert np.corrcoef(cuda[1][1].ravel(), cpu[1][1].ravel())[0, 1] > 0.7


def test_convolutions_are_whole_float32():
    x, weight = torch.rand(1, 64, 32, 32, device="cuda"), torch.rand(64, 64, 3, 3, device="cuda")
    exact = torch.conv2d(x.double(), weight.double())
    with full_precision():
        assert (torch.conv2d(x, weight) - exact).abs().max() / exact.abs().max() < 1e-5  # with TF32 some 3e-4


def test_drawings_are_the_same_whether_their_passes_are_recorded_or_not(coffee, monkeypatch):
    model = sc.load_model("efficientnet_lite0", device="cuda")
    networks, neurons = {"dense": model.module}, [Neuron(LOGITS, 967), Neuron("blocks.4.1", 3)]
    config = RenderConfig(steps=24, size=96)
    recorded = render(model, networks, neurons, config)["dense"]
    monkeypatch.setattr(rendering, "fastest", lambda plain, _device: plain)
    launched = render(model, networks, neurons, config)["dense"]
    for one, other in zip(recorded, launched, strict=True):
        np.testing.assert_allclose(one.values[:4], other.values[:4], rtol=1e-3, atol=1e-4)
        assert np.corrcoef(one.values, other.values)[0, 1] > 0.95
