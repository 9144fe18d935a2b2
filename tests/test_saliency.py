"""Saliency methods against references, on networks where a wrong rule cannot hide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr._core import deep_lift
from torch import nn

from spade_core.errors import ConfigError, LayerError, ModelError
from spade_core.layers import share_copy
from spade_core.models import wrap_model
from spade_core.progress import Cancelled
from spade_core.saliency import METHODS, explain, shared_range
from spade_core.saliency.cam import Layout, choose_layer, layout_of
from spade_core.saliency.rules import MaxOfRelus
from tests import nets
from tests.reference import saliency as reference

EVERYWHERE = ["saliency", "input_x_gradient", "integrated_gradients", "gradient_shap", "occlusion", "lime", "gradcam"]
RELU_ONLY = ["deeplift", "guided_backprop", "guided_gradcam"]
QUICK = {
    "integrated_gradients": {"steps": 2},
    "gradient_shap": {"samples": 2},
    "occlusion": {"window": 0.5, "stride": 0.5},
    "lime": {"samples": 8, "segments": 6},
}
SLUGS = EVERYWHERE + RELU_ONLY


@pytest.fixture(scope="module")
def models():
    """The nine architectures, built when first asked for."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = nets.loaded(name, 32 if name == "vgg16_bn" else 64)
        return made[name]

    return get


def logit(model, x, target):
    with torch.no_grad():
        return float(model.module(x)[0, target])


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_every_method_on_every_architecture(models, noise, name):
    model = models(name)
    size = model.preprocessing.size
    for slug in SLUGS:
        if slug in RELU_ONLY and name in nets.OTHER_NETS:
            assert "ReLU and ReLU6 only" in METHODS[slug].unsupported(model)
            with pytest.raises(LayerError, match="GELU"):
                explain(model, noise, method=slug)
            continue
        found = explain(model, noise, method=slug, **QUICK.get(slug, {}))
        assert found.map.shape == (size, size), slug
        assert found.map.dtype == np.float32
        assert np.isfinite(found.map).all()
        assert found.map.any(), slug
        assert found.signed is METHODS[slug].signed
        assert found.signed or found.map.min() >= 0


@pytest.mark.parametrize("name", nets.RELU_NETS)
def test_deeplift_is_complete(models, noise, name):
    model = models(name)
    found = explain(model, noise, method="deeplift", target=3)
    x = model.preprocessing(noise)
    gap = logit(model, x, 3) - logit(model, torch.zeros_like(x), 3)
    assert abs(gap) > 0.05, "the network must tell the picture from the baseline"
    assert found.map.sum() == pytest.approx(gap, rel=0.01)
    product = explain(model, noise, method="input_x_gradient", target=3)
    assert not np.allclose(found.map, product.map, rtol=1e-2), "DeepLift fell back to input x gradient"


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_guided_backprop_equals_the_reference_and_is_not_the_gradient(models, noise, name):
    model = models(name)
    found = explain(model, noise, method="guided_backprop", target=1).map
    x = model.preprocessing(noise)
    expected = reference.guided_backprop(share_copy(model.module), x, 1).sum(1)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    x.requires_grad_()
    gradient = torch.autograd.grad(model.module(x)[0, 1], x)[0].sum(1)[0].numpy()
    assert np.corrcoef(found.ravel(), gradient.ravel())[0, 1] < 0.99


@pytest.fixture(scope="module")
def exact():
    return nets.plain(dtype=torch.float64)


def test_gradient_maps_equal_autograd(exact, noise):
    x = exact.preprocessing(noise, dtype=torch.float64).requires_grad_()
    gradient = torch.autograd.grad(exact.module(x)[0, 2], x)[0]
    found = explain(exact, noise, method="saliency", target=2).map
    np.testing.assert_allclose(found, gradient.abs().amax(1)[0].numpy(), rtol=1e-6)
    found = explain(exact, noise, method="input_x_gradient", target=2).map
    np.testing.assert_allclose(found, (gradient * x).sum(1)[0].detach().numpy(), rtol=1e-5, atol=1e-9)


def test_integrated_gradients_are_complete_and_equal_the_reference(exact, noise):
    x = exact.preprocessing(noise, dtype=torch.float64)
    found = explain(exact, noise, method="integrated_gradients", target=2, steps=200).map
    gap = logit(exact, x, 2) - logit(exact, torch.zeros_like(x), 2)
    assert found.sum() == pytest.approx(gap, rel=0.01)
    expected = reference.integrated_gradients(exact.module, x, 2, 400).sum(1)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_occlusion_equals_the_loop(exact, noise):
    x = exact.preprocessing(noise, dtype=torch.float64)
    found = explain(exact, noise, method="occlusion", target=2, window=0.25, stride=0.25).map
    expected = 3 * reference.occlusion(exact.module, x, 2, 4, 4).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_gradcam_equals_its_formula(exact, noise):
    x = exact.preprocessing(noise, dtype=torch.float64).requires_grad_()
    twin = share_copy(exact.module)
    seen = []
    twin.act2.register_forward_hook(lambda module, args, output: seen.append(output))
    logits = twin(x)
    gradient = torch.autograd.grad(logits[0, 2], seen[0])[0]
    expected = reference.grad_cam(seen[0][0].detach(), gradient[0], 16).numpy()
    np.testing.assert_allclose(explain(exact, noise, method="gradcam", target=2).map, expected, rtol=1e-5, atol=1e-9)


def test_lime_finds_the_only_superpixel_that_matters():
    class Corner(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            brightness = x[:, :, :16, :16].mean((1, 2, 3))
            return torch.stack([brightness, -brightness], 1) + 0 * self.scale(x).sum()

    pixels = np.zeros((32, 32, 3), np.uint8)
    for k, (i, j) in enumerate(((0, 0), (0, 16), (16, 0), (16, 16))):
        pixels[i : i + 16, j : j + 16] = 255 if k == 0 else 60 * k
    from spade_core.images import Picture

    model = wrap_model(Corner(), size=32, resize=32, name="corner", device="cpu")
    found = explain(model, Picture(pixels, "", ""), method="lime", target=0, segments=4, samples=60).map
    assert found[:16, :16].mean() > 10 * np.abs(found[16:, 16:]).mean()


@pytest.mark.parametrize(
    ("name", "layer", "kind"),
    [
        ("resnet18", "layer4", "channels_first"),
        ("vgg16_bn", "features.42", "channels_first"),
        ("densenet121", "activation_0", "channels_first"),
        ("convnext_tiny", "features", "channels_first"),
        ("vit_b_16", "encoder.layers.encoder_layer_3.ln_1", "tokens"),
    ],
)
def test_gradcam_reads_the_last_map_the_class_listens_to(models, noise, name, layer, kind):
    model = models(name)
    if name == "vgg16_bn":
        model = nets.loaded(name, 64)
    x = model.preprocessing(noise).requires_grad_()
    found, layout = choose_layer(share_copy(model.module), x, 0)
    assert (found, layout.kind) == (layer, kind)


def test_gradcam_on_swin_keeps_places_and_channels_apart(models, noise):
    model = models("swin_t")
    for name, kind in ((None, "channels_first"), ("norm", "channels_last")):
        x = model.preprocessing(noise).requires_grad_()
        _, layout = choose_layer(share_copy(model.module), x, 0, name)
        assert (layout.kind, layout.side) == (kind, 2)
    last, before = (explain(model, noise, method="gradcam", layer=name).map for name in (None, "norm"))
    np.testing.assert_allclose(last, before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3, "stride": 1, "dilation": 2}],
)
def test_max_pooling_as_relus_is_max_pooling(options):
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    pool = nn.MaxPool2d(**options)
    torch.testing.assert_close(MaxOfRelus(pool)(x), pool(x), rtol=0, atol=1e-6)


def test_layouts_round_trip():
    for layout, y in (
        (Layout("tokens", 1, 3), torch.randn(2, 10, 5)),
        (Layout("channels_last", 0, 3), torch.randn(2, 3, 3, 5)),
        (Layout("channels_first", 0, 3), torch.randn(2, 5, 3, 3)),
    ):
        maps = layout.to_maps(y)
        assert maps.shape == (2, 5, 3, 3)
        assert torch.equal(layout.from_maps(maps, y), y)
        assert layout_of(y.shape) == layout
    assert layout_of((1, 512)) is None
    assert layout_of((1, 512, 1, 1)) is None
    tokens = torch.arange(10.0).view(1, 10, 1)
    assert Layout("tokens", 1, 3).to_maps(tokens)[0, 0, 0].tolist() == [1, 2, 3]


def test_another_layer_can_be_chosen_and_an_unknown_one_is_named(models, noise):
    model = models("resnet18")
    late = explain(model, noise, method="gradcam").map
    early = explain(model, noise, method="gradcam", layer="layer2").map
    assert not np.allclose(late, early)
    with pytest.raises(LayerError, match="did you mean layer4"):
        explain(model, noise, method="gradcam", layer="layer5")
    with pytest.raises(LayerError, match="no spatial map"):
        explain(model, noise, method="gradcam", layer="avgpool")


def test_networks_whose_activations_are_hidden_are_refused():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)

        def forward(self, x):
            for _ in range(int(x.sum() > -1e9) + 1):  # cannot be traced, and uses one module twice
                x = self.act(self.conv(x) if x.shape[1] == 3 else x)
            return self.head(x.mean((2, 3)))

    model = wrap_model(Hidden(), size=8, name="hidden", device="cpu")
    assert model.notes
    assert "called 2 times" in METHODS["deeplift"].unsupported(model)


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_leaks_after_success_error_and_cancel(small, noise, untouched, slug):
    tables = dict(deep_lift.SUPPORTED_NON_LINEAR)
    with untouched(small):
        explain(small, noise, method=slug, **QUICK.get(slug, {}))

    def stop(done, total, note):
        raise Cancelled

    with untouched(small), pytest.raises(Cancelled):
        explain(small, noise, method=slug, progress=stop, **QUICK.get(slug, {}))
    with untouched(small), pytest.raises(ModelError, match="between 0 and 9"):
        explain(small, noise, method=slug, target=10)
    assert tables == deep_lift.SUPPORTED_NON_LINEAR


def test_nothing_leaks_when_the_network_itself_fails(noise, untouched):
    model = nets.plain(seed=3)
    calls = []

    def fail(done, total, note):
        calls.append(done)
        if len(calls) > 1:
            raise RuntimeError("forward failed")

    for slug in ("gradient_shap", "occlusion"):
        calls.clear()
        with untouched(model), pytest.raises(RuntimeError, match="forward failed"):
            explain(model, noise, method=slug, progress=fail, batch_size=1)


@pytest.mark.parametrize("slug", ["gradient_shap", "lime"])
def test_the_seed_decides(small, coffee, slug):
    first, again, other = (explain(small, coffee, method=slug, seed=seed, **QUICK[slug]).map for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("slug", ["integrated_gradients", "occlusion"])
def test_batches_do_not_change_the_map(small, noise, slug):
    one, many = (explain(small, noise, method=slug, batch_size=size).map for size in (1, 64))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-6)


def test_batches_are_halved_when_memory_is_short():
    from spade_core.saliency.base import with_batches

    tried = []

    def compute(size):
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError
        return torch.ones(())

    assert with_batches(compute, 16) == 1
    assert tried == [16, 8, 4, 2]


def test_a_zero_map_is_reported(noise):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return 0 * self.conv(x).mean((2, 3)) + torch.tensor([1.0, 2.0])

    model = wrap_model(Constant(), size=8, name="constant", device="cpu")
    assert "zero everywhere" in explain(model, noise, method="saliency").notes[0]


def test_the_target_is_the_dense_top_1_also_for_a_trace(small, noise):
    import spade_core as sc

    top = int(sc.predict(small, noise).argmax())
    pruned = sc.trace(small, noise, sparsity=0.9, views=4)
    assert explain(pruned, noise, method="saliency").target == top
    assert explain(small, noise, method="saliency").target == top


def test_bad_options_are_named(small, noise):
    with pytest.raises(ConfigError, match="no method 'shap'"):
        explain(small, noise, method="shap")
    with pytest.raises(ConfigError, match="no option 'step'.*steps"):
        explain(small, noise, method="integrated_gradients", step=3)
    for bad in (0, -1, "many", True):
        with pytest.raises(ConfigError, match="positive number"):
            explain(small, noise, method="integrated_gradients", steps=bad)


def test_shared_range():
    a, b = np.array([[0.0, 1.0]]), np.array([[-3.0, 2.0]])
    low, high = shared_range(a, b, True)
    assert low == -high
    assert 2 < high <= 3
    assert shared_range(a, np.abs(b), False)[0] == 0
    assert shared_range(0 * a, 0 * b, True) == (-1.0, 1.0)


def test_metadata_is_complete():
    assert set(METHODS) == set(SLUGS)
    for slug, method in METHODS.items():
        assert method.slug == slug
        assert method.cost in ("fast", "medium", "slow")
        assert method.help.endswith(".")
        assert any(character.isdigit() for character in method.help), "the paper's year"
