"""Several traces at once: each is what it would be alone, of one picture or of many, and nothing is left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import spade_core as sc
from spade_core.errors import ConfigError
from spade_core.models.loading import wrap_model
from spade_core.pictures.picture import Picture
from spade_core.progress import Cancelled
from spade_core.pruning import spade
from spade_core.pruning.relevance import relevance
from spade_core.pruning.views import Views
from tests import nets

OPTIONS = [
    {"preset": "weighted"},
    {"sparsity": 0.5, "views": 5, "untouched": 2},
    {"sparsity": 0.5, "views": 3, "untouched": 0, "weighting": "target", "calibration": "independent"},
    {"sparsity": 0.5, "views": 6, "untouched": 2, "noisy": 3, "weighting": "target"},
    {"sparsity": 0.5, "views": 4, "untouched": 1, "noisy": 9},
    {"sparsity": 0.5, "views": 4, "untouched": 9, "weighting": "target", "refit": 1.0, "solver": "magnitude"},
]


@pytest.fixture(scope="module")
def double():
    return nets.plain(dtype=torch.float64)


@pytest.fixture(scope="module")
def other():
    pixels = np.random.default_rng(1).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    return Picture(pixels, "1" * 64, "other.png")


def assert_alike(found, expected):
    assert found.config == expected.config
    assert found.picture_sha256 == expected.picture_sha256
    assert found.fidelity.target == expected.fidelity.target
    assert found.fidelity.kl == pytest.approx(expected.fidelity.kl, abs=1e-9)
    pairs = zip(found.module.named_parameters(), expected.module.parameters(), strict=True)
    for (name, one), alone in pairs:
        torch.testing.assert_close(one, alone, rtol=1e-7, atol=1e-9, msg=name)
        assert ((one == 0) == (alone == 0)).all(), name
    for one, alone in zip(found.report.layers, expected.report.layers, strict=True):
        assert (one.name, one.status, one.realised) == (alone.name, alone.status, alone.realised)
        assert (one.error, one.damping) == pytest.approx((alone.error, alone.damping), abs=1e-9)


@pytest.mark.parametrize("options", OPTIONS)
def test_each_trace_of_a_bundle_is_the_one_of_its_seed(double, noise, options):
    bundle = sc.trace_many(double, noise, traces=3, seed=4, **options)
    for offset, found in enumerate(bundle.traces):
        assert_alike(found, sc.trace(double, noise, seed=4 + offset, **options))


@pytest.mark.parametrize("options", OPTIONS)
def test_each_of_many_pictures_has_the_trace_that_it_has_alone(double, noise, other, options):
    pictures, targets = [noise, other, noise], [None, "class 3", 1]
    found = sc.trace_many(double, pictures, target=targets, **options)
    for made, picture, target in zip(found, pictures, targets, strict=True):
        assert_alike(made, sc.trace(double, picture, target=target, **options))


@pytest.mark.parametrize("name", ["mobilenet_v2", "swin_t", "vit_b_16"])
def test_architectures_keep_the_traces_apart(name, noise, untouched):
    model = wrap_model(nets.build(name, 32).double().requires_grad_(False), size=32, name=name, device="cpu")
    options = {"sparsity": 0.5, "views": 2, "solver": "magnitude", "weighting": "target"}
    with untouched(model):
        bundle = sc.trace_many(model, noise, traces=2, **options)
    assert_alike(bundle.traces[1], sc.trace(model, noise, seed=1, **options))


def test_a_network_that_mixes_its_batch_makes_one_after_another(noise):
    class Length(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).permute(2, 0, 1)  # batch in the second place
            return self.head(torch.relu(self.mix(tokens)).mean(0))

    model = sc.wrap_model(Length().double(), size=8, device="cpu")
    options = {"sparsity": 0.5, "views": 3, "weighting": "target"}
    bundle = sc.trace_many(model, noise, traces=2, **options)
    assert_alike(bundle.traces[1], sc.trace(model, noise, seed=1, **options))


@pytest.mark.parametrize("calibration", ["sequential", "independent"])
def test_the_memory_decides_how_many_are_made_at_once(double, noise, monkeypatch, calibration):
    made = []
    alone = getattr(spade, calibration)
    monkeypatch.setattr(spade, calibration, lambda *a, **k: made.append(len(a[1].rows)) or alone(*a, **k))
    options = {"sparsity": 0.5, "views": 2, "calibration": calibration}
    whole = sc.trace_many(double, noise, traces=3, **options)
    assert made == [3]
    calls = spade.survey(double.module, double.preprocessing.size)
    moments = sum(layer.groups * (layer.numel // layer.shape[0]) ** 2 * 8 for layer in double.layers[1:])
    needed = 4 * calls.bytes_per_view if calibration == "sequential" else moments
    monkeypatch.setenv("SPADE_MAX_CALIBRATION_BYTES", str(int(2.5 * needed)))
    parts = sc.trace_many(double, noise, traces=3, **options)
    assert made == [3, 2, 1]
    for one, again in zip(whole.traces, parts.traces, strict=True):
        assert_alike(one, again)


def test_shared_views_go_through_the_dense_model_once(double, noise):
    config = sc.trace(double, noise, preset="weighted").config
    views = spade.views_of(double, [spade.Wanted(noise, None, config)] * 3)
    assert len(views.images) == 1 + 3  # one untouched, which counts as three, and a random one each
    assert [rows.tolist() for rows in views.rows] == [[0, 1], [0, 2], [0, 3]]


def test_one_backward_pass_weighs_the_positions_of_all_traces(double):
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    rows = torch.tensor([0, 1]), torch.tensor([2, 3])
    weights = {layer.parameter: double.module.get_parameter(layer.parameter) for layer in double.layers}
    together = relevance(double.module, Views(images, rows), weights, [3, 5], untouched=3, batch=3)
    for found, own, target in zip(together, rows, (3, 5), strict=True):
        (alone,) = relevance(double.module, Views.of_one(images[own]), weights, [target], untouched=3)
        for name, calls in alone.items():
            torch.testing.assert_close(found[name], calls)


def test_a_search_is_made_for_each_seed(small, noise):
    bundle = sc.trace_many(small, noise, traces=2, preset="auto", views=4)
    assert [one.config.seed for one in bundle.traces] == [0, 1]
    assert all(one.fidelity.keeps_class and one.config.untouched == 0 for one in bundle.traces)


def test_progress_rises_and_the_model_is_untouched_after_success_error_and_cancel(small, noise, untouched):
    seen = []
    options = {"preset": "weighted", "traces": 2}
    with untouched(small):
        sc.trace_many(small, noise, **options, progress=lambda done, total, note: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    for stop_at in (0.0, 0.2, 0.6):

        def stop(done, total, note, limit=stop_at):
            if done / total >= limit:
                raise Cancelled

        with untouched(small), pytest.raises(Cancelled):
            sc.trace_many(small, noise, **options, progress=stop)
    with untouched(small), pytest.raises(ConfigError):
        sc.trace_many(small, noise, traces=2, views=0)


def test_the_weakest_trace_is_told_of_a_bundle(small, noise):
    bundle = sc.trace_many(small, noise, traces=3, sparsity=0.7, views=2)
    kept = [one.fidelity.trace_probability for one in bundle.traces]
    assert bundle.weakest.fidelity.trace_probability == min(kept)


def test_bad_requests_are_one_sentence_and_no_picture_no_trace(small, noise):
    for options, message in (
        ({"traces": 0}, "number of traces must lie between 1 and 64"),
        ({"trace": 2}, "no option"),
    ):
        with pytest.raises(ConfigError, match=message):
            sc.trace_many(small, noise, **options)
    with pytest.raises(ConfigError, match="Several pictures have one trace each"):
        sc.trace_many(small, [noise, noise], traces=2)
    with pytest.raises(ConfigError, match="2 pictures, but 1 targets"):
        sc.trace_many(small, [noise, noise], target=[1])
    assert sc.trace_many(small, [], sparsity=0.5) == ()
