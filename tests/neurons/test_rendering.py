"""Drawing neurons: right values, same bits, nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lucent.optvis import transform as lucent_transform
from lucent.optvis.param import spatial
from torch import nn

from spade_core.errors import ConfigError, LayerError
from spade_core.models.layers import share_copy
from spade_core.models.loading import wrap_model
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.layer_values import layer_shapes, read_layers
from spade_core.neurons.parametrizations import Images, lucent_on
from spade_core.neurons.rendering import RenderConfig, Rendering, render
from spade_core.progress import Cancelled
from tests import nets

QUICK = RenderConfig(steps=4, size=24)


def draw(model, neuron, config=QUICK, **options):
    return render(model, {"dense": model.module}, [neuron], config, **options)["dense"][0]


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_every_architecture_renders_a_late_channel_and_the_class_neuron(name):
    model = nets.loaded(name, 64)
    x = torch.zeros(1, 3, 64, 64)
    shapes = [row for row in layer_shapes(share_copy(model.module), x) if row.rows > 1]
    late = shapes[-1]
    found = render(
        model, {"dense": model.module}, [Neuron(late.name, 1), Neuron(LOGITS, 3)], RenderConfig(steps=2, size=32)
    )["dense"]
    for item in found:
        assert item.image.shape == (32, 32, 3)
        assert np.isfinite(item.values).all()
    assert (found[0].network_size == 64) == (name == "vit_b_16")
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in model.module.modules())


def test_same_seed_same_bits_and_the_model_is_untouched(small, untouched):
    with untouched(small):
        first, second = (draw(small, Neuron("pointwise", 2)) for _ in range(2))
        other = draw(small, Neuron("pointwise", 2), RenderConfig(steps=4, size=24, seed=1))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.values, second.values)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("ending", ["error", "cancel"])
def test_nothing_is_left_behind_after_an_error_or_a_cancel(small, untouched, ending):
    devices = spatial.device, lucent_transform.device

    def stop(_done, _total, note):
        if note == "drawing pointwise, channel 2: step 3 of 4":
            raise Cancelled if ending == "cancel" else ZeroDivisionError

    with untouched(small), pytest.raises((Cancelled, ZeroDivisionError)):
        draw(small, Neuron("pointwise", 2), progress=stop)
    assert (spatial.device, lucent_transform.device) == devices


def test_networks_share_everything_but_their_weights(small):
    found = render(small, {"a": small.module, "b": share_copy(small.module)}, [Neuron(LOGITS, 1)], QUICK)
    assert np.array_equal(found["a"][0].image, found["b"][0].image)
    other = share_copy(small.module, own=["pointwise.weight"])
    with torch.no_grad():
        other.get_parameter("pointwise.weight")[0] = 0
    found = render(small, {"a": small.module, "b": other}, [Neuron(LOGITS, 1)], QUICK)
    assert not np.array_equal(found["a"][0].image, found["b"][0].image)


def test_a_batch_draws_what_each_neuron_draws_alone(small):
    neurons = [Neuron("pointwise", 2), Neuron("grouped", 5), Neuron("pointwise", 2, position=(3, 4))]
    config = RenderConfig(steps=4, size=24, transforms=False)
    together = render(small, {"dense": small.module}, neurons, config)["dense"]
    for neuron, item in zip(neurons, together, strict=True):
        alone = draw(small, neuron, config)
        np.testing.assert_allclose(item.values, alone.values, rtol=1e-3, atol=1e-4)
        assert np.abs(item.image.astype(int) - alone.image.astype(int)).max() <= 1


def test_ascent_raises_the_value(small):
    found = draw(small, Neuron("pointwise", 2), RenderConfig(steps=40, size=24, transforms=False))
    assert found.values[-1] > found.values[0] + 0.1
    assert found.dead is None


def test_the_first_value_is_the_networks_own(small):
    config = RenderConfig(steps=1, size=24, transforms=False, seed=3)
    with lucent_on(torch.device("cpu")):
        x = small.preprocessing.normalize(Images.begin("fourier", [3], 24, torch.device("cpu"))())
    seen = {}
    twin = share_copy(small.module)
    twin.get_submodule("pointwise").register_forward_hook(lambda _m, _a, y: seen.update(y=y.detach()))
    twin(x)
    weights = np.random.default_rng(0).normal(size=12)
    unit = torch.tensor(weights, dtype=torch.float32)[:, None, None]
    expected = {
        Neuron("pointwise", 2): seen["y"][0, 2].mean(),
        Neuron("pointwise", 2, position=(3, 5)): seen["y"][0, 2, 3, 5],
        Neuron("pointwise", direction=tuple(weights)): torch.cosine_similarity(unit, seen["y"][0], dim=0).mean(),
    }
    for neuron, value in expected.items():
        assert draw(small, neuron, config).values[0] == pytest.approx(float(value), rel=1e-4, abs=1e-5), neuron


def test_values_are_read_before_the_activation(small, noise):
    x = small.preprocessing(noise)
    module = share_copy(small.module)
    with torch.no_grad(), read_layers(module, ["act0", "stem"]) as seen:
        module(x)
        assert torch.equal(seen["act0"], seen["stem"])
        assert seen["act0"].min() < 0


def test_a_fused_normalisation_is_read_before_its_activation(lite0, coffee):
    module = share_copy(lite0.module)
    with torch.no_grad(), read_layers(module, ["blocks.0.0.bn1"]) as seen:
        module(lite0.preprocessing(coffee))
        assert seen["blocks.0.0.bn1"].min() < 0


def test_a_dead_neuron_is_retried_and_said(small):
    dead = share_copy(small.module, own=["pointwise.weight", "pointwise.bias"])
    with torch.no_grad():
        dead.get_parameter("pointwise.weight")[2] = 0
        dead.get_parameter("pointwise.bias")[2] = 0
    found = render(small, {"dense": small.module, "spade": dead}, [Neuron("pointwise", 2)], QUICK)
    item = found["spade"][0]
    assert item.dead == "the neuron did not respond"
    assert "another seed was taken" in item.notes[0]
    assert item.notes[-1].startswith("Nothing was drawn")
    assert item.seed == found["dense"][0].seed == 2000


def test_an_image_of_one_colour_is_dead_and_one_with_a_faint_pattern_is_not():
    image = np.zeros((24, 24, 3), np.uint8)
    image[..., 0] = 200
    values = np.array([0.0, 1.0])
    flat = Rendering(image, values, Neuron(LOGITS, 1), 0, 2, None, 0.1)
    assert flat.dead == "the image stayed of one colour"
    image = image.copy()
    image[::2, :, 2] = 12
    assert Rendering(image, values, Neuron(LOGITS, 1), 0, 2, None, 0.1).dead is None


def test_an_early_stop_holds_for_all_networks(small):
    config = RenderConfig(steps=60, size=24, rate=1e-9, patience=3)
    found = render(small, {"dense": small.module, "b": small.module}, [Neuron("pointwise", 2)], config)
    assert found["dense"][0].steps == found["b"][0].steps < 60


def test_diversity_and_matching_change_the_images(small, noise):
    pair = [Neuron("pointwise", 2)] * 2
    plain = render(small, {"dense": small.module}, pair, QUICK)["dense"]
    assert not np.array_equal(plain[0].image, plain[1].image)
    config = RenderConfig(steps=4, size=24, diversity=1.0)
    diverse = render(small, {"dense": small.module}, pair, config)["dense"]
    assert not np.array_equal(diverse[0].image, plain[0].image)
    config = RenderConfig(steps=4, size=24, matching=5.0)
    matched = render(small, {"dense": small.module}, pair[:1], config, picture=noise)["dense"]
    assert not np.array_equal(matched[0].image, plain[0].image)


def test_options_that_could_do_nothing_are_refused(small):
    for options, said in (({"diversity": 1.0}, "at least two"), ({"matching": 1.0}, "mean activation of a picture")):
        with pytest.raises(ConfigError, match=said):
            draw(small, Neuron("pointwise", 2), RenderConfig(steps=1, size=24, **options))


def test_intermediate_pictures_come_while_it_draws(small, monkeypatch):
    from spade_core.neurons import rendering as module

    monkeypatch.setattr(module, "LIVE", 0.0)
    seen = []
    config = RenderConfig(steps=4, size=24, transforms=False)
    draw(
        small,
        Neuron("pointwise", 2),
        config,
        on_image=lambda name, images, step: seen.append((name, images.shape, step)),
    )
    assert seen == [("dense", (1, 24, 24, 3), step) for step in range(4)]


@pytest.mark.parametrize(
    ("neuron", "said"),
    [
        (Neuron("pointwise", 12), "channels 0 to 11"),
        (Neuron("pointwise", 1, position=(99, 0)), "places"),
        (Neuron("pointwis", 1), "did you mean pointwise"),
        (Neuron("pointwise", direction=(1.0, 2.0)), "has 2 weights: give 12"),
    ],
)
def test_unknown_neurons_get_a_sentence(small, neuron, said):
    with pytest.raises(LayerError, match=said):
        draw(small, neuron)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"size": 8}, {"seed": -1}, {"rate": 0}, {"patience": 0}, {"steps": 10**6}]
)
def test_unusable_options_get_a_sentence(options):
    with pytest.raises(ConfigError, match=r"must"):
        RenderConfig(**options)


def test_a_neuron_is_plain_data_and_must_be_whole():
    for neuron in (Neuron("a", 1), Neuron("a", 1, (2, 3)), Neuron("a", direction=(0.5, 1.0))):
        assert Neuron.from_dict({**neuron.to_dict(), "position": neuron.position and list(neuron.position)}) == neuron
    for wrong in ({}, {"channel": 1, "direction": (1.0,)}, {"direction": (1.0,), "position": (1, 1)}):
        with pytest.raises(ConfigError):
            Neuron("a", **wrong)


def test_reused_modules_and_tokens_are_read(small):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(3, 5)
            self.head = nn.Linear(5, 4)

        def forward(self, x):
            tokens = self.mix(x.flatten(2).transpose(1, 2))
            return self.head(tokens.mean(1))

    torch.manual_seed(0)
    model = wrap_model(Tokens(), size=16, device="cpu")
    rows = {
        row.name: (row.channels, row.rows, row.columns) for row in layer_shapes(model.module, torch.zeros(1, 3, 16, 16))
    }
    assert rows["mix"] == (5, 16, 16)
    assert rows[LOGITS] == (4, 1, 1)
    assert draw(model, Neuron("mix", 3, position=(2, 2))).image.shape == (24, 24, 3)


def test_the_first_picture_does_not_wait_for_the_others(small):
    order = []

    def late():
        order.append("made")
        return share_copy(small.module)

    config = RenderConfig(steps=12, size=24, transforms=False)
    found = render(
        small,
        {"dense": small.module, "spade": late},
        [Neuron("pointwise", 2)],
        config,
        on_image=lambda name, _images, step: order.append((name, step)),
    )
    assert order.index(("dense", 7)) < order.index("made") < order.index(("spade", 7))
    assert np.array_equal(found["dense"][0].image, found["spade"][0].image)
    assert order.count("made") == 1
