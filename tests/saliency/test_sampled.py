"""NoiseGrad, FORGrad and expected gradients against loops that say what they are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import spade_core as sc
from spade_core.saliency.explanation import explain
from tests import nets
from tests.reference import saliency as reference


@pytest.fixture(scope="module")
def exact():
    return nets.plain(dtype=torch.float64)


def magnitude(module, x, target):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(module(x)[0, target], x)[0].abs().amax(1)[0]


def test_noisegrad_is_the_mean_over_networks_with_noisy_weights(exact, noise, untouched):
    with untouched(exact):
        found = explain(exact, noise, method="noisegrad", target=2, seed=5, samples=3, noise=0.3)
    torch.manual_seed(5)
    maps = []
    for _ in range(3):
        network = copy.deepcopy(exact.module)
        with torch.no_grad():
            for weight in network.parameters():
                weight *= 1 + 0.3 * torch.randn(weight.shape, dtype=weight.dtype)
        maps.append(magnitude(network, exact.input(noise), 2))
    np.testing.assert_allclose(found.map, torch.stack(maps).mean(0).float(), rtol=1e-5)
    still = explain(exact, noise, method="noisegrad", target=2, noise=0)
    np.testing.assert_allclose(still.map, explain(exact, noise, method="saliency", target=2).map, rtol=1e-6)


def test_noisegrad_leaves_what_a_trace_has_pruned_at_zero(small, noise, untouched):
    trace = sc.trace(small, noise, views=3, sparsity=0.6)
    zeros = {name: value == 0 for name, value in trace.module.named_parameters()}
    with untouched(small):
        dense, pruned = (explain(one, noise, method="noisegrad", target=0) for one in (small, trace))
    assert not np.array_equal(dense.map, pruned.map)
    assert all(torch.equal(value == 0, zeros[name]) for name, value in trace.module.named_parameters())


@pytest.mark.parametrize("cut", [1, 3, 11])
def test_forgrad_keeps_the_waves_of_few_cycles(exact, noise, cut):
    found = explain(exact, noise, method="forgrad", target=2, cut=cut).map
    values = magnitude(exact.module, exact.input(noise), 2)
    expected = reference.low_pass(values, cut).clamp(min=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * float(values.max()))


def test_forgrad_without_a_cut_is_the_gradient(exact, noise):
    found, plain = (
        explain(exact, noise, method=slug, target=2, **more).map
        for slug, more in (("forgrad", {"cut": 512}), ("saliency", {}))
    )
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-6 * plain.max())


@pytest.mark.parametrize("references", ["blurred", "uniform"])
def test_expected_gradients_add_up_to_the_mean_difference_from_the_references(exact, noise, references, monkeypatch):
    from spade_core.saliency import sampled

    drawn = []
    draw = getattr(sampled, f"_{references}")
    monkeypatch.setattr(sampled, f"_{references}", lambda task, x: drawn.append(draw(task, x)) or drawn[-1])
    found = explain(exact, noise, method="expected_gradients", target=2, samples=600, references=references)
    with torch.no_grad():
        starts = torch.cat([exact.module(start)[:, 2] for start in drawn])
        gap = float(exact.module(exact.input(noise))[0, 2] - starts.mean())
    assert len(drawn) == 600
    assert float(starts.std()) > 0, "references differ"
    assert found.map.sum() == pytest.approx(gap, rel=0.1)


def test_expected_gradients_are_the_loop_over_their_draws(exact, noise, monkeypatch):
    from spade_core.saliency import sampled

    starts = torch.randn(3, 1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    queue = list(starts)
    monkeypatch.setattr(sampled, "_uniform", lambda task, x: queue.pop(0))
    found = explain(
        exact, noise, method="expected_gradients", target=2, seed=4, samples=3, references="uniform", batch_size=2
    )
    torch.manual_seed(4)
    x, total = exact.input(noise), 0
    for start in starts:
        point = (start + (1 - torch.rand(1).double()) * (x - start)).requires_grad_()
        total = total + (x - start) * torch.autograd.grad(exact.module(point)[0, 2], point)[0] / 3
    np.testing.assert_allclose(found.map, total.sum(1)[0].float(), rtol=1e-5, atol=1e-7)
