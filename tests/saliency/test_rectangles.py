"""Inputs that are no squares: a network and a picture that are turned about have the same maps, turned about."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

import spade_core as sc
from spade_core.evaluation.guides import relevant
from spade_core.models.loading import wrap_model
from spade_core.neurons.layer_values import maps_of
from spade_core.pictures.picture import Picture
from spade_core.saliency.advice import advise_layers
from tests import nets
from tests.reference import saliency as slow

SIZE = (24, 16)


def picture(turned=False):
    """A picture of the input's own size, so that nothing is resized."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return Picture(np.ascontiguousarray(pixels.transpose(1, 0, 2)) if turned else pixels, "0" * 64, "noise.png")


def convolutional(turned=False):
    torch.manual_seed(0)
    net = nets.randomize(nets.Plain(), 16).double()
    for child in net.modules():
        if turned and isinstance(child, nn.Conv2d):
            child.weight.data = child.weight.data.transpose(2, 3).contiguous()
    size = SIZE[::-1] if turned else SIZE
    return wrap_model(net, size=size, resize=size, device="cpu")


@pytest.fixture(scope="module")
def both():
    return convolutional(), convolutional(turned=True)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("saliency", {}),
        ("integrated_gradients", {"steps": 4, "most_steps": 4, "baseline": "blurred"}),
        ("deeplift", {}),
        ("lrp", {}),
        ("guided_gradcam", {}),
        ("scorecam", {}),
        ("occlusion", {"window": 0.25, "stride": 0.125}),
        ("forgrad", {"cut": 5}),
    ],
)
def test_maps_turn_with_network_and_picture(both, method, options):
    found, turned = (
        sc.explain(model, picture(at), method=method, target=2, **options).map for at, model in enumerate(both)
    )
    assert found.shape == SIZE
    assert found.std() > 0
    np.testing.assert_allclose(turned.T, found, rtol=1e-6, atol=1e-9 * np.abs(found).max())


def test_occlusion_is_the_slow_one(both):
    x = both[0].input(picture())
    found = sc.explain(both[0], picture(), method="occlusion", target=1, window=0.25, stride=0.125).map
    with torch.no_grad():
        expected = 3 * slow.occlusion(both[0].module, x, 1, 4, 2)  # of a pixel's three channels
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_relevance_and_advice_have_the_inputs_shape(both):
    found, turned = (relevant(model, picture(at), 2) for at, model in enumerate(both))
    assert found.shape == SIZE
    np.testing.assert_allclose(turned.T, found, rtol=1e-6)
    assert {(one.rows, one.columns) for one in advise_layers(both[0])} == {SIZE, (12, 8)}


def test_a_transformer_of_no_squares_is_traced_and_its_patches_lie_where_they_are():
    torch.manual_seed(0)
    net = timm.create_model("test_vit", img_size=(96, 64), num_classes=3)
    nn.init.normal_(net.head.weight)
    model, shown = wrap_model(net, size=(96, 64), name="vit", device="cpu"), sc.load_picture("bundled:dog")
    made = sc.trace(model, shown, sparsity=0.5, preset="uniform", views=2, seed=0)
    for method in ("saliency", "gradcam", "attention_rollout", "legrad", "libragrad"):
        found = sc.explain(made, shown, method=method).map
        assert found.shape == (96, 64)
        assert np.isfinite(found).all()
    assert {(one.rows, one.columns, one.prefix) for one in advise_layers(model)} == {(6, 4, 1)}
    x = model.input(shown)
    tokens, places = (maps_of(model.module, x, f"patch_embed{part}") for part in ("", ".proj"))
    assert tokens.shape[1:] == (6, 4)
    assert torch.equal(tokens, places)
