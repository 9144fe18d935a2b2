"""Saliency methods against references, on networks where a wrong rule cannot hide."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from captum.attr._core import deep_lift
from torch import nn

from spade_core.errors import ConfigError, LayerError, ModelError
from spade_core.models.layers import share_copy
from spade_core.models.layouts import Layout
from spade_core.models.loading import wrap_model
from spade_core.pictures.picture import Picture
from spade_core.progress import Cancelled
from spade_core.saliency import METHODS, base, colour_limits, perturbation, top_of
from spade_core.saliency.base import blur
from spade_core.saliency.cam import choose_layer
from spade_core.saliency.explanation import explain
from spade_core.saliency.rules import MaxOfRelus
from tests import nets
from tests.reference import saliency as reference

EVERYWHERE = [
    "saliency",
    "smoothgrad",
    "noisegrad",
    "forgrad",
    "input_x_gradient",
    "integrated_gradients",
    "gradient_shap",
    "expected_gradients",
    "occlusion",
    "lime",
    "gradcam",
]
RELU_ONLY = ["deeplift", "guided_backprop", "guided_gradcam"]
QUICK = {
    "integrated_gradients": {"steps": 2, "most_steps": 2},
    "gradient_shap": {"samples": 2},
    "smoothgrad": {"samples": 2},
    "noisegrad": {"samples": 2},
    "expected_gradients": {"samples": 2},
    "occlusion": {"window": 0.5, "stride": 0.5},
    "lime": {"samples": 8, "segments": 6},
}
TRANSFORMERS = ["attention_rollout", "libragrad", "legrad"]
SLUGS = [*EVERYWHERE, *RELU_ONLY, *TRANSFORMERS, "lrp"]
OF_SMALL = [slug for slug in SLUGS if slug not in TRANSFORMERS]


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
        if slug in TRANSFORMERS and METHODS[slug].unsupported(model):
            assert name != "vit_b_16"
            continue
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
    x = model.preprocessing(noise)
    with torch.no_grad():
        gaps = (model.module(x) - model.module(torch.zeros_like(x)))[0]
    target = int(gaps.abs().argmax())
    gap = float(gaps[target])
    found = explain(model, noise, method="deeplift", target=target)
    assert abs(gap) > 0.05, "the network must tell the picture from the baseline"
    assert found.map.sum() == pytest.approx(gap, rel=0.01)
    product = explain(model, noise, method="input_x_gradient", target=target)
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


def test_deeplift_equals_the_rule_written_out(exact, noise):
    x = exact.preprocessing(noise, dtype=torch.float64)
    expected = reference.deeplift(share_copy(exact.module), x, 2).sum(1)[0].numpy()
    found = explain(exact, noise, method="deeplift", target=2).map
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


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
        assert (layout.kind, layout.rows, layout.columns) == (kind, 2, 2)
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


@pytest.mark.parametrize("slug", OF_SMALL)
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


class Fails(nn.Module):
    """Passes its input through until it is told to fail."""

    failing = False

    def forward(self, x):
        if Fails.failing:
            raise ArithmeticError("forward failed")
        return x


@pytest.mark.parametrize("slug", OF_SMALL)
def test_nothing_leaks_when_the_network_itself_fails(noise, untouched, slug, monkeypatch):
    net = nets.randomize(nets.Plain(), 16)
    net.pool = nn.Sequential(Fails(), net.pool)
    model = wrap_model(net, size=16, name="fails", device="cpu")
    assert METHODS[slug].unsupported(model) is None
    monkeypatch.setattr(Fails, "failing", True)
    with untouched(model), pytest.raises(ArithmeticError, match="forward failed"):
        explain(model, noise, method=slug, target=1)


def test_a_cancel_gets_into_a_long_pass_forwards_and_backwards(small, noise, untouched, monkeypatch):
    monkeypatch.setattr(base, "TICK", 0.0)
    reports = []
    explain(small, noise, method="saliency", target=0, progress=lambda *report: reports.append(report))
    layers = 5  # with weights, in the small network
    assert len(reports) == 1 + 2 * layers + 1, "the pass, each layer forwards and backwards, the end"
    fractions = [done / total for done, total, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1

    def stop_at(count):
        def stop(done, total, note):
            nonlocal count
            count -= 1
            if count == 0:
                raise Cancelled

        return stop

    for count in (3, len(reports) - 2):
        with untouched(small), pytest.raises(Cancelled):
            explain(small, noise, method="saliency", target=0, progress=stop_at(count))


def test_two_users_at_once_get_what_each_gets_alone(small, coffee, untouched):
    orders = [("gradient_shap", 1), ("lime", 2), ("deeplift", 0), ("guided_backprop", 0), ("gradient_shap", 3)]

    def order(index):
        slug, seed = orders[index]
        return explain(small, coffee, method=slug, seed=seed, **QUICK.get(slug, {})).map

    alone = [order(index) for index in range(len(orders))]
    filters = list(warnings.filters)
    with untouched(small), ThreadPoolExecutor(4) as pool:
        together = list(pool.map(order, [*range(len(orders))] * 3))
    assert filters == warnings.filters
    for index, found in enumerate(together):
        assert np.array_equal(found, alone[index % len(orders)]), orders[index % len(orders)]


def test_smoothgrad_is_the_mean_over_noisy_copies(exact, noise):
    found = explain(exact, noise, method="smoothgrad", target=2, seed=5, samples=5, batch_size=2, noise=0.3)
    x = exact.input(noise)
    torch.manual_seed(5)
    copies = torch.cat([torch.randn(count, *x.shape[1:], dtype=x.dtype) for count in (2, 2, 1)])
    maps = []
    for copy in x + 0.3 * (x.max() - x.min()) * copies:
        one = copy[None].clone().requires_grad_()
        maps.append(torch.autograd.grad(exact.module(one)[0, 2], one)[0].abs().amax(1)[0])
    np.testing.assert_allclose(found.map, torch.stack(maps).mean(0).float(), rtol=1e-5)
    still = explain(exact, noise, method="smoothgrad", target=2, noise=1e-9)
    np.testing.assert_allclose(still.map, explain(exact, noise, method="saliency", target=2).map, rtol=1e-4)


@pytest.mark.parametrize("slug", ["gradient_shap", "expected_gradients", "noisegrad", "lime"])
def test_the_seed_decides(small, coffee, slug):
    first, again, other = (explain(small, coffee, method=slug, seed=seed, **QUICK[slug]).map for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("slug", ["integrated_gradients", "expected_gradients", "occlusion"])
def test_batches_do_not_change_the_map(small, noise, slug):
    one, many = (explain(small, noise, method=slug, batch_size=size).map for size in (1, 64))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_batches_are_halved_when_memory_is_short(small, coffee, error, monkeypatch):
    tried = []
    attribute = perturbation.Lime.attribute

    def short(self, *args, perturbations_per_eval, **kwargs):
        tried.append(perturbations_per_eval)
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002
        if perturbations_per_eval > 3:
            raise error
        return attribute(self, *args, perturbations_per_eval=perturbations_per_eval, **kwargs)

    enough = explain(small, coffee, method="lime", batch_size=2, samples=8)
    monkeypatch.setattr(perturbation.Lime, "attribute", short)
    found = explain(small, coffee, method="lime", samples=8)
    again = explain(small, coffee, method="lime", batch_size=2, samples=8)
    assert tried[:4] == [16, 8, 4, 2]
    assert found.settings["batch_size"] == 2
    assert enough.settings["batch_size"] == 2
    assert np.array_equal(found.map, again.map), "a failed attempt must not change what is drawn"


def test_other_errors_are_not_taken_for_short_memory(small, coffee, monkeypatch):
    def broken(self, *args, **kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(perturbation.Lime, "attribute", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        explain(small, coffee, method="lime")


def test_an_incomplete_sum_is_reported(exact, noise):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)

        def forward(self, x):
            x = self.act(self.conv(x))
            return self.head((x * x * x).mean((2, 3)))

    torch.manual_seed(0)
    model = wrap_model(Product(), size=8, name="product", device="cpu")
    (note,) = explain(model, noise, method="deeplift", target=0).notes
    assert "no rule" in note
    (note,) = explain(model, noise, method="integrated_gradients", target=0, steps=1, most_steps=1).notes
    assert "more steps" in note
    assert not explain(exact, noise, method="integrated_gradients", target=2, steps=200).notes
    assert not explain(exact, noise, method="deeplift", target=2).notes


def test_integrated_gradients_double_their_steps_until_the_map_adds_up(small, noise, untouched):
    x = small.preprocessing(noise)
    gap = logit(small, x, 1) - logit(small, torch.zeros_like(x), 1)
    with untouched(small):
        few, enough = (
            explain(small, noise, method="integrated_gradients", target=1, steps=1, most_steps=most)
            for most in (1, 512)
        )
    taken = enough.settings["steps_taken"]
    assert taken in (2, 4, 8, 16, 32, 64, 128, 256, 512)
    assert few.settings["steps_taken"] == 1
    assert abs(few.map.sum() - gap) > 0.05 * abs(gap)
    assert few.notes
    assert abs(enough.map.sum() - gap) <= 0.05 * abs(gap)
    assert not enough.notes
    alone = explain(small, noise, method="integrated_gradients", target=1, steps=taken, most_steps=1)
    assert np.array_equal(alone.map, enough.map)
    half = explain(small, noise, method="integrated_gradients", target=1, steps=taken // 2, most_steps=1)
    assert half.notes, "no more steps than are needed"


def test_progress_of_doubled_steps_rises(small, noise):
    found = []
    explain(
        small,
        noise,
        method="integrated_gradients",
        target=1,
        steps=1,
        progress=lambda done, total, _: found.append(done / total),
    )
    assert found == sorted(found)
    assert found[-1] == 1


@pytest.mark.parametrize("baseline", ["black", "white", "blurred"])
def test_another_baseline_is_what_the_map_is_told_against(exact, noise, baseline):
    x = exact.preprocessing(noise, dtype=torch.float64)
    value = {"black": 0.0, "white": 1.0}.get(baseline)
    start = blur(x, 0.1) if value is None else exact.preprocessing.normalize(torch.full_like(x, value))
    gap = logit(exact, x, 2) - logit(exact, start, 2)
    for slug in ("integrated_gradients", "deeplift"):
        found = explain(exact, noise, method=slug, target=2, baseline=baseline).map
        assert found.sum() == pytest.approx(gap, rel=0.05), slug
    covered = explain(exact, noise, method="occlusion", target=2, baseline=baseline, window=1.0, stride=1.0).map
    assert covered[0, 0] == pytest.approx(3 * gap, rel=1e-5)


def test_blur_keeps_what_is_even_and_evens_out_the_rest():
    even = torch.full((1, 3, 16, 16), 0.7)
    torch.testing.assert_close(blur(even, 0.1), even)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert blur(x, 0.5).var() < blur(x, 0.1).var() < 0.1 * x.var()


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


def test_a_pair_of_grad_cams_shows_the_layer_that_suits_the_dense_model(small, noise):
    import spade_core as sc

    pruned = sc.trace(small, noise, sparsity=0.5, views=4)
    with torch.no_grad():
        pruned.module.grouped.weight.zero_()  # nothing of the last map but its bias is left
        pruned.module.head.weight.zero_()
    dense, empty = (explain(model, noise, method="gradcam") for model in (small, pruned))
    assert dense.settings["layer"] == empty.settings["layer"] == "act2"
    assert "zero everywhere" in empty.notes[0]


def test_values_inside_attention_are_not_taken_for_maps():
    class SelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.drop = nn.Linear(6, 18), nn.Dropout()

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            weights = self.drop((q @ k.mT).softmax(-1)[:, None])  # (n, 1, 17, 17)
            return weights[:, 0] @ v

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.norm, self.attention, self.head = (
                nn.Conv2d(3, 6, 4, 4),
                nn.LayerNorm(6),
                SelfAttention(),
                nn.Linear(6, 3),
            )

        def forward(self, x):
            x = self.patch(x).flatten(2).mT
            x = self.norm(torch.cat([x.mean(1, keepdim=True), x], 1))
            return self.head(self.attention(x)[:, 0])

    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 16).requires_grad_()
    assert choose_layer(Tokens().eval(), x, 0) == ("norm", Layout("tokens", 1, 4, 4))


def test_bad_options_are_named(small, noise):
    with pytest.raises(ConfigError, match="no method 'shap'"):
        explain(small, noise, method="shap")
    with pytest.raises(ConfigError, match=r"no option 'step'.*steps"):
        explain(small, noise, method="integrated_gradients", step=3)
    for bad in (0, -1, "many", True, 2.5, 10**9, float("nan")):
        with pytest.raises(
            ConfigError, match="Integrated gradients: the number of steps must be a whole number from 1 to"
        ):
            explain(small, noise, method="integrated_gradients", steps=bad)
    for bad in (0, 1.5, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=r"Occlusion: the window must lie between 0\.001 and 1, not"):
            explain(small, noise, method="occlusion", window=bad)
    for bad in (0, -1, 1.5):
        with pytest.raises(ConfigError, match="batch size"):
            explain(small, noise, method="saliency", batch_size=bad)
    for bad in (-1, 2**63, "one"):
        with pytest.raises(ConfigError, match="seed"):
            explain(small, noise, method="lime", seed=bad)
    with pytest.raises(ConfigError, match="has no option 'layer'"):
        explain(small, noise, method="saliency", layer="act2")


@pytest.mark.parametrize("slug", OF_SMALL)
def test_extreme_options_and_an_even_picture(small, slug):
    even = Picture(np.full((40, 40, 3), 200, np.uint8), "", "even")
    least = {
        "integrated_gradients": {"steps": 1},
        "gradient_shap": {"samples": 1, "noise": 1e-6},
        "occlusion": {"window": 1.0, "stride": 1.0},
        "lime": {"samples": 1, "segments": 1},
    }
    for options in ({}, least.get(slug, {})):
        found = explain(small, even, method=slug, batch_size=3, **options)
        assert found.map.shape == (16, 16)
        assert np.isfinite(found.map).all()


def test_each_map_has_its_own_unit():
    values = np.array([[-3.0, 2.0]])
    assert 2 < top_of(values) <= 3
    assert top_of(1e-9 * values) == pytest.approx(1e-9 * top_of(values)), "however faint, a map fills its colours"
    lonely = np.zeros((40, 40))
    assert top_of(lonely) == 1.0
    lonely[0, 0] = -5.0
    assert top_of(lonely) == 5.0
    assert (colour_limits(True), colour_limits(False)) == ((-1.0, 1.0), (0.0, 1.0))


def test_metadata_is_complete():
    assert set(METHODS) == {*SLUGS, "scorecam"}
    for slug, method in METHODS.items():
        assert method.slug == slug
        assert method.cost in ("fast", "medium", "slow")
        assert method.help.endswith(".")
        assert any(character.isdigit() for character in method.help), "the paper's year"
