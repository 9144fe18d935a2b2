"""Score-CAM against a slow loop over channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spade_core.models.layers import share_copy
from spade_core.pruning.spade import trace
from spade_core.saliency import METHODS
from spade_core.saliency.explanation import explain
from tests import nets


def slow_scorecam(network, x, target, layer):
    seen = {}
    twin = share_copy(network)
    twin.get_submodule(layer).register_forward_hook(lambda _m, _a, y: seen.update(y=y))
    with torch.no_grad():
        twin(x)
        total = torch.zeros(seen["y"].shape[2:])
        for channel in seen["y"][0]:
            if channel.max() == channel.min():
                continue
            scaled = (channel - channel.min()) / (channel.max() - channel.min())
            window = F.interpolate(scaled[None, None], x.shape[-2:], mode="bilinear", align_corners=False)
            total += network(x * window).softmax(1)[0, target] * channel
    return F.interpolate(total.clamp(min=0)[None, None], x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]


@pytest.mark.parametrize("layer", ["act2", "pointwise"])
def test_scorecam_is_the_loop_over_channels(small, noise, layer, untouched):
    made = trace(small, noise, sparsity=0.5, views=4)
    x = small.preprocessing(noise)
    with untouched(small):
        for network, module in ((small, small.module), (made, made.module)):
            found = explain(network, noise, method="scorecam", layer=layer, target=3, batch_size=5)
            np.testing.assert_allclose(found.map, slow_scorecam(module, x, 3, layer), rtol=1e-4, atol=1e-6)
            assert found.map.min() >= 0
            assert found.settings["layer"] == layer


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "vit_b_16"])
def test_scorecam_finds_a_layer_everywhere(name, noise):
    model = nets.loaded(name, 64)
    found = explain(model, noise, method="scorecam", batch_size=64)
    assert found.map.shape == (64, 64)
    assert np.isfinite(found.map).all()
    assert found.map.any()
    assert METHODS["scorecam"].unsupported(model) is None


def test_fewer_channels_are_those_that_vary_most(small, noise):
    whole, most, all_of_them = (
        explain(small, noise, method="scorecam", layer="act2", target=3, channels=count) for count in (0, 3, 12)
    )
    assert np.array_equal(whole.map, all_of_them.map) or np.allclose(whole.map, all_of_them.map, rtol=1e-5, atol=1e-8)
    assert not np.allclose(whole.map, most.map)
    seen = []
    twin = share_copy(small.module)
    twin.act2.register_forward_hook(lambda _m, _a, y: seen.append(y))
    x = small.preprocessing(noise)
    total = 0
    with torch.no_grad():
        twin(x)
        for channel in sorted(seen[0][0], key=lambda one: -one.var())[:3]:
            scaled = (channel - channel.min()) / (channel.max() - channel.min())
            window = F.interpolate(scaled[None, None], x.shape[-2:], mode="bilinear", align_corners=False)
            total = total + small.module(x * window).softmax(1)[0, 3] * channel
    expected = F.interpolate(total.clamp(min=0)[None, None], x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(most.map, expected, rtol=1e-4, atol=1e-6)
