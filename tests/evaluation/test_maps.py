"""The maps of arms and their processing, against what they are said to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from spade_core.evaluation.arms import ARMS, Arm
from spade_core.evaluation.configuration import Configuration
from spade_core.evaluation.guides import most_relevant, relevant
from spade_core.evaluation.maps import Noisy, Subject, prepare
from spade_core.evaluation.processing import NOISY_COPIES, PROCESSING
from spade_core.pruning.options import NOISE, checked
from spade_core.pruning.relevance import FLOOR, contrast
from spade_core.pruning.spade import trace
from spade_core.saliency.explanation import explain

QUICK = {"sparsity": 0.5, "views": 2, "solver": "magnitude"}
METHOD = "input_x_gradient"


@pytest.fixture
def subject(small, noise):
    return Subject(small, noise, 3, 7)


def asked(*methods, arms=("dense", "default"), trace=QUICK, **options):
    return Configuration("faithfulness", methods or (METHOD,), arms, trace=trace, options=options)


def maps(arm, subject, *processing, configuration=None):
    return list(prepare(arm, subject, configuration or asked()).maps(METHOD, processing))


def test_every_arm_has_options_of_a_trace_and_a_preset_of_its_own_replaces_the_ratios():
    for arm in ARMS.values():
        checked(arm.options({"sparsity": 0.5, "views": 2}))
    assert ARMS["fastspade"].options({"sparsity": 0.5, "views": 2}) == {"preset": "unweighted", "views": 2}


def test_the_same_maps_as_explained_and_processed_by_hand(subject, untouched):
    with untouched(subject.model):
        raw, absolute, blurred = maps(ARMS["dense"], subject, "raw", "abs", "blur2")
        shown = explain(subject.model, subject.picture, method=METHOD, target=3)
    assert np.array_equal(raw, shown.map)
    assert np.array_equal(blurred, gaussian_filter(np.abs(shown.map), 2))
    x = subject.model.input(subject.picture).requires_grad_()
    (slope,) = torch.autograd.grad(subject.model.module(x)[0, 3], x)
    assert absolute == pytest.approx((x * slope).detach().abs().sum(1)[0].numpy(), rel=1e-5, abs=1e-7)


def test_a_trace_is_that_of_the_subjects_seed_and_a_bundle_the_mean_of_its_magnitudes(subject):
    traces = [trace(subject.model, subject.picture, target=3, seed=seed, **QUICK) for seed in (7, 8)]
    found = [explain(one, subject.picture, method=METHOD, target=3) for one in traces]
    assert np.array_equal(maps(ARMS["default"], subject, "raw")[0], found[0].map)
    bundle = Arm("two", "Two", "", {}, traces=2)
    assert maps(bundle, subject, "raw")[0] == pytest.approx(np.mean([np.abs(one.map) for one in found], 0))
    kept, kl, sparsity = prepare(bundle, subject, asked()).outcomes
    assert 0 <= kept <= 1
    assert kl > 0
    assert sparsity > 0.3
    assert prepare(ARMS["dense"], subject, asked()).outcomes == (1, 0, 0)


def test_beside_a_mean_of_magnitudes_a_single_map_is_its_magnitudes(subject):
    plain = maps(ARMS["dense"], subject, "raw")[0]
    beside = maps(ARMS["dense"], subject, "raw", configuration=asked(arms=("dense", "bundle")))[0]
    assert (plain < 0).any()
    assert np.array_equal(beside, np.abs(plain))


def test_a_signed_bundle_keeps_its_signs_but_beside_a_mean_of_magnitudes(subject):
    traces = [trace(subject.model, subject.picture, target=3, seed=seed, **QUICK) for seed in (7, 8)]
    mean = np.mean([explain(one, subject.picture, method=METHOD, target=3).map for one in traces], 0)
    signed, alone = ARMS["signed2"], asked(arms=("dense", "signed2"))
    assert (mean < 0).any()
    assert maps(signed, subject, "raw", configuration=alone)[0] == pytest.approx(mean)
    beside = asked(arms=("dense", "signed2", "bundle2"))
    assert maps(signed, subject, "raw", configuration=beside)[0] == pytest.approx(np.abs(mean))
    assert maps(ARMS["dense"], subject, "raw", configuration=alone)[0].min() < 0


def test_methods_take_their_options(subject):
    configuration = asked("integrated_gradients", integrated_gradients={"steps": 3, "most_steps": 3})
    found = next(prepare(ARMS["dense"], subject, configuration).maps("integrated_gradients", ["raw"]))
    given = {"method": "integrated_gradients", "target": 3, "seed": 7}
    shown = explain(subject.model, subject.picture, **given, steps=3, most_steps=3)
    assert np.array_equal(found, shown.map)
    assert not np.array_equal(found, explain(subject.model, subject.picture, **given, steps=2, most_steps=2).map)


def test_noise_is_the_same_on_every_arm_and_of_the_size_it_says(subject):
    dense = prepare(ARMS["dense"], subject, asked())
    pruned = prepare(ARMS["default"], subject, asked())
    copies = [Noisy(one.networks[METHOD][0].module, subject.model, 7).input(subject.picture) for one in (dense, pruned)]
    assert torch.equal(*copies)
    x = subject.model.input(subject.picture)
    assert float((copies[0] - x).std()) == pytest.approx(NOISE * float(x.max() - x.min()), rel=0.1)
    (found,) = dense.maps(METHOD, ["noise"])
    copies = [Noisy(subject.model.module, subject.model, 7 + number) for number in range(NOISY_COPIES)]
    by_hand = [np.abs(explain(one, subject.picture, method=METHOD, target=3).map) for one in copies]
    assert found == pytest.approx(np.mean(by_hand, 0))
    assert np.array_equal(maps(ARMS["smoothgrad"], subject, "raw")[0], found)


def test_each_trace_of_a_bundle_reads_copies_of_its_own_as_many_as_the_dense_rival(subject):
    quick = asked(trace={**QUICK, "views": 8})
    bundle = prepare(ARMS["noisy_bundle"], subject, quick)
    (found,) = bundle.maps(METHOD, ["noise"])
    networks = [one for one in bundle.networks[METHOD] for _ in range(NOISY_COPIES)]
    assert len(set(networks)) == 3
    seeds = range(7, 7 + len(networks))
    for rivals, values in ((networks, found), ([subject.model] * 24, maps(ARMS["smoothgrad24"], subject, "raw")[0])):
        copies = [Noisy(one.module, subject.model, seed) for one, seed in zip(rivals, seeds, strict=True)]
        by_hand = [np.abs(explain(one, subject.picture, method=METHOD, target=3).map) for one in copies]
        assert values == pytest.approx(np.mean(by_hand, 0))


def test_the_relevance_is_the_mean_of_what_all_layers_say_enlarged(subject):
    model = subject.model
    x, outputs = model.input(subject.picture).requires_grad_(), []
    layers = [model.module.stem, model.module.depthwise, model.module.pointwise, model.module.grouped]
    handles = [
        layer.register_forward_hook(lambda *args: outputs.append(args[2]) or args[2].clone()) for layer in layers
    ]
    logits = model.module(x)
    for handle in handles:
        handle.remove()
    slopes = torch.autograd.grad(contrast(logits, 3).sum(), outputs)
    total = torch.zeros(16, 16)
    for y, slope in zip(outputs, slopes, strict=True):
        said = (y * slope).detach().sum(1).square()
        said = said / said.mean() + FLOOR
        scale = 16 // math.isqrt(said.numel())
        total += torch.nn.functional.interpolate(said[None], scale_factor=scale, mode="bilinear")[0, 0]
    guide = relevant(model, subject.picture, 3)
    assert guide == pytest.approx((total / len(layers)).numpy(), rel=1e-4)
    assert most_relevant(model, subject.picture, 3).mean() == pytest.approx(0.1, abs=0.01)
    dense = maps(ARMS["dense"], subject, "raw", "abs")
    guided = maps(ARMS["relevance"], subject, "raw", "abs")
    assert all(np.allclose(one * guide, other) for one, other in zip(dense, guided, strict=True))


def test_every_processing_gives_a_map_of_every_shape_of_arm(subject):
    for arm in ("dense", "relevance_mask"):
        found = maps(ARMS[arm], subject, *PROCESSING)
        assert all(one.shape == (16, 16) and np.isfinite(one).all() for one in found)


def test_methods_with_ratios_of_their_own_explain_traces_of_their_own(subject):
    tuned = {"stages": {"head": 0.5}, "options": {"views": 2}, "methods": {"saliency": {"head": 0.9}}}
    methods = ["saliency", METHOD, "guided_backprop"]
    made = prepare(ARMS["default"], subject, asked(*methods, trace={"table": tuned}))
    ratios = {slug: [one.report.layers[-1].requested for one in made.networks[slug]] for slug in methods}
    assert ratios == {"saliency": [0.9], METHOD: [0.5], "guided_backprop": [0.5]}
    assert made.networks[METHOD] == made.networks["guided_backprop"]
    both = [made.networks[slug][0] for slug in methods[:2]]
    assert made.outcomes[2] == pytest.approx(np.mean([one.report.sparsity for one in both])), "each trace once"
    own = trace(subject.model, subject.picture, target=3, seed=7, table={**tuned, "stages": {"head": 0.9}})
    shown = explain(own, subject.picture, method="saliency", target=3)
    assert np.array_equal(next(made.maps("saliency", ["raw"])), shown.map)


def test_what_a_trace_keeps_is_told_of_what_was_pruned(subject):
    tuned = {"stages": {"head": 0.5}, "options": {"views": 2}, "methods": {"saliency": {"head": 0.9}, METHOD: {}}}
    both = prepare(ARMS["default"], subject, asked("saliency", METHOD, trace={"table": tuned})).outcomes
    assert both == prepare(ARMS["default"], subject, asked("saliency", trace={"table": tuned})).outcomes
    dense = prepare(ARMS["default"], subject, asked(METHOD, trace={"table": tuned})).outcomes
    assert (dense[0], dense[2]) == (1, 0)
