"""The trace: counts, coverage, report, fidelity, calibration, presets, and a dense model that never changes."""

from __future__ import annotations

import copy
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import spade_core as sc
from spade_core.errors import ConfigError, ModelError
from spade_core.models.layers import prunable_layers, share_copy
from spade_core.progress import Cancelled
from spade_core.pruning import spade, sparsity
from spade_core.pruning.calibration import Pruner, Recipe, fit_to_dense, sequential
from spade_core.pruning.moments import capture
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.usage import survey
from spade_core.pruning.views import Views
from tests import nets


def zeros(weight):
    return int((weight == 0).sum())


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("calibration", ["independent", "sequential"])
@pytest.mark.parametrize("own", [{}, {"weighting": "target", "refit": 1.0, "untouched": 2}], ids=["paper", "weighted"])
def test_every_layer_has_its_exact_zeros_and_is_reported(small, noise, solver, calibration, own):
    trace = sc.trace(small, noise, solver=solver, calibration=calibration, sparsity=0.5, views=6, **own)
    assert [row.name for row in trace.report.layers] == [layer.name for layer in small.layers]
    for row, layer in zip(trace.report.layers, small.layers, strict=True):
        weight = trace.module.get_parameter(layer.parameter)
        if layer.name == "stem":
            assert (row.status, row.reason) == ("dense", "dense by request: the first layer")
            assert weight is small.module.get_parameter(layer.parameter), "unpruned weights are shared"
        else:
            assert row.status == "pruned"
            assert zeros(weight) == round(0.5 * weight.numel())
            assert row.realised == pytest.approx(0.5, abs=1 / weight.numel())
            assert weight is not small.module.get_parameter(layer.parameter)
            assert row.error >= 0
    total = sum(layer.numel for layer in small.layers)
    counted = sum(zeros(trace.module.get_parameter(layer.parameter)) for layer in small.layers)
    assert trace.report.sparsity == pytest.approx(counted / total)
    assert trace.config.calibration == calibration
    assert trace.fidelity.dense_top5[0][0] == trace.fidelity.target
    assert trace.fidelity.dense_probability == pytest.approx(float(sc.predict(small, noise).max()), abs=1e-6)
    assert trace.fidelity.trace_probability == pytest.approx(
        float(sc.predict(trace, noise)[trace.fidelity.target]), abs=1e-6
    )
    assert trace.fidelity.kl >= 0


def test_a_large_output_layer_is_exact_for_the_targets_rows_and_says_so(small, noise, monkeypatch):
    whole, fast = (sc.trace(small, noise, solver=solver, sparsity=0.5, views=6) for solver in ("spade", "fastspade"))
    monkeypatch.setattr(spade, "CUBIC_LIMIT", 0)
    trace = sc.trace(small, noise, solver="spade", sparsity=0.5, views=6, target=3)
    row = trace.report.layers[-1]
    rows = {3, *np.argsort(sc.predict(small, noise))[-5:].tolist()}
    assert row.reason == f"exact for {len(rows)} rows, the target's and the 5 likeliest classes'; FastSPADE for others"
    assert whole.report.layers[-1].reason == ""
    assert all(other.reason == "" for other in trace.report.layers[1:-1])
    head = trace.module.get_parameter("head.weight")
    assert zeros(head) == round(0.5 * head.numel())
    errors = [made.report.layers[-1].error for made in (whole, fast)]
    assert min(errors) < row.error < 2 * max(errors)
    assert fast.report.layers[-1].reason == ""


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(small, noise):
    first, again, other = (sc.trace(small, noise, sparsity=0.6, views=4, seed=seed) for seed in (5, 5, 6))
    a, b, c = (trace.module.state_dict() for trace in (first, again, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])


def test_sparsity_zero_shares_every_weight(small, noise):
    trace = sc.trace(small, noise, sparsity=0.0, views=2)
    assert {row.status for row in trace.report.layers} == {"dense"}
    assert np.array_equal(sc.predict(trace, noise), sc.predict(small, noise))
    assert trace.fidelity.kl == pytest.approx(0, abs=1e-12)


def test_independent_solves_on_the_dense_models_moments(noise):
    model = nets.plain(dtype=torch.float64)
    trace = sc.trace(model, noise, calibration="independent", sparsity=0.5, views=5, positions=0)
    from spade_core.pruning.spade import Wanted, views_of

    views = views_of(model, [Wanted(noise, None, trace.config)]).images
    layer = next(layer for layer in model.layers if layer.name == "grouped")
    weight = model.module.get_parameter(layer.parameter)
    moment = capture(model.module, [views], {"w": weight})["w"]
    expected = SOLVERS["fastspade"].prune(weight.reshape(3, 4, -1), moment, 0.5, block_size=9, damping=0.01).weight
    torch.testing.assert_close(trace.module.get_parameter(layer.parameter), expected.reshape(weight.shape))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_layers_solved_at_a_time_are_those_solved_one_after_another(small, noise, two_threads, monkeypatch):
    options = {"calibration": "independent", "sparsity": 0.5, "views": 3}
    threads, solve = set(), Pruner.solve

    def watched(*given):
        threads.add((threading.get_ident(), torch.get_num_threads(), torch.is_grad_enabled()))
        return solve(*given)

    monkeypatch.setattr(Pruner, "solve", watched)
    together = sc.trace(small, noise, **options)
    assert {told[1:] for told in threads} == {(1, False)}
    assert threading.get_ident() not in {told[0] for told in threads}
    assert torch.get_num_threads() == 2
    monkeypatch.setattr("spade_core.pruning.calibration.WORKERS", 1)
    alone = sc.trace(small, noise, **options)
    for (name, one), other in zip(together.module.named_parameters(), alone.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    assert [row.name for row in together.report.layers] == [row.name for row in alone.report.layers]


@pytest.mark.parametrize("reason", ["cancelled", "failed"])
def test_layers_that_wait_are_not_solved_after_a_cancel_or_an_error(small, noise, two_threads, reason, monkeypatch):
    begun, solve, raised = [], Pruner.solve, Cancelled if reason == "cancelled" else ValueError

    def first_fails(*given):
        begun.append(1)
        if reason == "failed":
            raise ValueError
        return solve(*given)

    def cancel(done, total, note):
        if note.startswith("solved"):
            raise Cancelled

    monkeypatch.setattr(Pruner, "solve", first_fails)
    with pytest.raises(raised):
        sc.trace(small, noise, calibration="independent", sparsity=0.5, views=3, progress=cancel)
    assert torch.get_num_threads() == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("solver")]


def test_a_layer_that_fails_at_once_does_not_wait_for_threads_that_still_begin(small, noise, two_threads, monkeypatch):
    """One solver's thread is at its second layer, the other notices now that all have begun, and that all is over."""
    calls, ended = [], []

    class Slow(threading.Barrier):
        def wait(self, timeout=None):
            place = super().wait(timeout)
            if threading.current_thread().name == "solver_1":
                while not self.broken:
                    time.sleep(0.01)
                time.sleep(0.2)
                raise threading.BrokenBarrierError
            return place

        def abort(self):
            while len(calls) < 2:
                time.sleep(0.01)
            super().abort()

    def fails(*_given):
        calls.append(1)
        time.sleep(0 if len(calls) == 1 else 0.6)
        raise ValueError

    def trace():
        with pytest.raises(ValueError):
            sc.trace(small, noise, calibration="independent", sparsity=0.5, views=3)
        ended.append(1)

    monkeypatch.setattr("spade_core.pruning.calibration.Barrier", Slow)
    monkeypatch.setattr(Pruner, "solve", fails)
    waiting = threading.Thread(target=trace, daemon=True)
    waiting.start()
    waiting.join(30)
    assert ended


def test_the_error_of_independent_layers_is_that_of_their_outputs(noise):
    model = nets.plain(dtype=torch.float64)
    trace = sc.trace(model, noise, calibration="independent", sparsity=0.5, views=5, positions=0)
    views = spade.views_of(model, [spade.Wanted(noise, None, trace.config)]).images
    moments = capture(
        model.module, [views], {one.parameter: model.module.get_parameter(one.parameter) for one in model.layers}
    )
    for row, layer in zip(trace.report.layers, model.layers, strict=True):
        if row.status == "pruned":
            before, after = (net.get_parameter(layer.parameter) for net in (model.module, trace.module))
            before, after = (one.reshape(layer.groups, one.shape[0] // layer.groups, -1) for one in (before, after))
            lost, whole = (
                float(torch.einsum("grc,gcd,grd->", one, moments[layer.parameter], one))
                for one in (before - after, before)
            )
            assert row.error == pytest.approx(lost / whole, rel=1e-9)


def test_sequential_equals_the_slow_layer_by_layer_version():
    """Run the whole network once a layer: dense inputs and outputs, inputs of the partly pruned copy, fit, prune."""
    torch.manual_seed(0)
    model = nets.randomize(nets.Plain(), 12).double().requires_grad_(False)
    views = torch.randn(4, 3, 12, 12, dtype=torch.float64)
    layers = [layer for layer in prunable_layers(model) if layer.name != "stem"]
    recipes = {layer.parameter: Recipe(layer, 0.5, 1) for layer in layers}
    pruner = Pruner(SOLVERS["fastspade"], 0.01, 0.05)
    (found,) = sequential(model, Views.of_one(views), recipes, pruner)

    slow = copy.deepcopy(model)
    for index, layer in enumerate(layers):
        dense_x, trace_x = (inputs_of(network, layer.name, views) for network in (model, slow))
        weight = model.get_parameter(layer.parameter)
        groups = layer.groups
        rows = weight.reshape(groups, weight.shape[0] // groups, -1)
        solved = []
        for g in range(groups):
            x, y = dense_x[g], trace_x[g]  # (positions, cols)
            moment = y.T @ y / len(y)
            damping = 0.05 * moment.diagonal()[moment.diagonal() != 0].mean()
            damped = (
                moment
                + torch.diag(
                    torch.where(moment.diagonal() == 0, moment.diagonal().sum() / (moment.diagonal() != 0).sum(), 0)
                )
                + damping * torch.eye(len(moment))
            )
            target = (
                rows[g] if index == 0 else rows[g] + (rows[g] @ (x.T @ y / len(y) - moment)) @ torch.linalg.inv(damped)
            )
            solved.append((target, moment))
        targets, moments = (torch.stack(part) for part in zip(*solved, strict=True))
        pruned = SOLVERS["fastspade"].prune(targets, moments, 0.5, block_size=1, damping=0.01).weight
        slow.get_parameter(layer.parameter).copy_(pruned.reshape(weight.shape))
        torch.testing.assert_close(
            found[layer.parameter].weight, slow.get_parameter(layer.parameter), rtol=1e-7, atol=1e-9
        )
    expected = float((output_of(slow, "head", views) - output_of(model, "head", views)).square().sum())
    energy = float((output_of(model, "head", views) - model.head.bias).square().sum())
    assert found["head.weight"].error == pytest.approx(expected / energy)


def inputs_of(network, name, views):
    from spade_core.models.weight_calls import WeightCalls
    from spade_core.pruning.moments import input_columns

    seen = []
    weight = network.get_submodule(name).weight
    with torch.no_grad(), WeightCalls({"w": weight}, lambda _, x, w, call: seen.append(input_columns(x, call))):
        network(views)
    return seen[0]


def output_of(network, name, views):
    seen = []
    handle = network.get_submodule(name).register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        network(views)
    handle.remove()
    return seen[0]


def test_the_fit_lowers_the_gap_to_the_dense_output():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    y = x + 0.5 * torch.randn(200, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(1, 3, 6, generator=generator, dtype=torch.float64)
    fitted = fit_to_dense(weight, (y.T @ y / 200)[None], (x.T @ y / 200)[None], 1e-9)[0]
    exact = torch.linalg.lstsq(y, x @ weight[0].T).solution.T
    torch.testing.assert_close(fitted, exact, rtol=1e-6, atol=1e-6)
    strong = fit_to_dense(weight, (y.T @ y / 200)[None], (x.T @ y / 200)[None], 1e6)[0]
    torch.testing.assert_close(strong, weight[0], rtol=1e-4, atol=1e-4)


def test_sequential_runs_each_part_of_the_network_once(noise):
    model = nets.plain(seed=2)
    survey(model.module, 16)
    batches = []
    twin = share_copy(model.module)
    twin.grouped.register_forward_hook(lambda module, args, output: batches.append(len(output)))
    layers = [layer for layer in prunable_layers(twin) if layer.name != "stem"]
    recipes = {layer.parameter: Recipe(layer, 0.5) for layer in layers}
    sequential(twin, Views.of_one(torch.randn(3, 3, 16, 16)), recipes, Pruner(SOLVERS["fastspade"], 0.01))
    assert batches == [6]


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_all_architectures_are_covered(name, noise):
    model = nets.loaded(name, 32 if name == "vgg16_bn" else 64)
    calls = survey(model.module, model.preprocessing.size)
    assert set(calls.uses) == {layer.parameter for layer in model.layers}, "a weight's call was missed"
    assert calls.lockstep
    trace = sc.trace(
        model, noise, sparsity=0.4, views=2, solver="magnitude" if name in ("vgg16_bn", "resnet50") else "fastspade"
    )
    assert {row.status for row in trace.report.layers} <= {"pruned", "dense"}
    assert sum(row.status == "pruned" for row in trace.report.layers) >= len(model.layers) - 2
    assert all(np.isfinite(row.error) for row in trace.report.layers)


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_captured_input_times_weight_is_the_calls_output_everywhere(name):
    from spade_core.models.weight_calls import WeightCalls
    from spade_core.pruning.moments import input_columns

    model = nets.loaded(name, 32)
    weights = {layer.parameter: model.module.get_parameter(layer.parameter) for layer in model.layers}
    checked = set()

    def check(parameter, x, weight, call):
        columns = input_columns(x, call)
        rows = weight.reshape(columns.shape[0], weight.shape[0] // columns.shape[0], -1)
        found = (columns @ rows.transpose(1, 2)).permute(1, 0, 2).flatten(1)  # (positions, out)
        found = found if call.bias is None else found + call.bias
        expected = call.output(x, weight)
        plain = expected.permute(0, 2, 3, 1) if call.kind == "conv2d" else expected
        torch.testing.assert_close(found, plain.reshape(found.shape), rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
        checked.add(parameter)

    with torch.no_grad(), WeightCalls(weights, check):
        model.module(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert checked == set(weights)


def test_a_layer_that_is_too_large_stays_dense_and_says_so(small, noise, monkeypatch):
    monkeypatch.setenv("SPADE_MAX_H_BYTES", "2000")
    trace = sc.trace(small, noise, sparsity=0.5, views=2)
    reasons = {row.name: row.reason for row in trace.report.layers if row.status == "dense"}
    assert "exceeds SPADE_MAX_H_BYTES" in reasons["grouped"]
    assert "pointwise" not in reasons


def test_weights_that_never_meet_an_input_are_reported(noise):
    class Unused(nets.Plain):
        def __init__(self):
            super().__init__()
            self.spare = nn.Conv2d(4, 4, 3)
            self.doubled = nn.Linear(12, 12)
            self.last = nn.Linear(10, 10)

        def forward(self, x):
            x = self.act0(self.stem(x))
            x = self.act2(self.grouped(self.pointwise(x)))
            x = self.pool(x).flatten(1)
            return self.last(self.head(torch.nn.functional.linear(x, self.doubled.weight * 2)))

    model = sc.wrap_model(nets.randomize(Unused(), 16), size=16, device="cpu")
    rows = {row.name: row for row in sc.trace(model, noise, sparsity=0.5, views=2).report.layers}
    assert rows["spare"].status == rows["doubled"].status == "not captured"
    assert "never hands this weight" in rows["doubled"].reason
    assert rows["head"].status == "pruned"

    class Nothing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return torch.einsum("ncij,oc->no", x, self.conv.weight[:, :, 0, 0])

    model = sc.wrap_model(Nothing(), size=8, device="cpu")
    with pytest.raises(ModelError, match="could be captured"):
        sc.trace(model, noise, sparsity=0.5, views=2)


def test_a_network_that_mixes_its_batch_falls_back_to_independent(noise):
    class Length(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).permute(2, 0, 1)  # batch in the second place
            return self.head(torch.relu(self.mix(tokens)).mean(0))

    model = sc.wrap_model(Length(), size=8, device="cpu")
    assert not survey(model.module, 8).lockstep
    assert sc.trace(model, noise, sparsity=0.5, views=2).config.calibration == "independent"


def test_the_dense_model_is_untouched_after_success_error_and_cancel(small, noise, untouched):
    with untouched(small):
        sc.trace(small, noise, sparsity=0.5, views=3)
    for stop_at in (0.0, 0.3, 0.9):

        def stop(done, total, note, limit=stop_at):
            if done / total >= limit:
                raise Cancelled

        with untouched(small), pytest.raises(Cancelled):
            sc.trace(small, noise, sparsity=0.5, views=3, progress=stop)
    with untouched(small), pytest.raises(ConfigError):
        sc.trace(small, noise, sparsity=1.5)


def test_progress_rises_to_one(small, noise):
    seen = []
    sc.trace(small, noise, sparsity=0.5, views=3, progress=lambda done, total, note: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) >= 6


def test_auto_takes_the_highest_ratio_that_keeps_the_class(small, noise):
    trace = sc.trace(small, noise, preset="auto", views=4)
    assert trace.fidelity.keeps_class
    assert trace.config.sparsity > 0
    assert sc.trace(small, noise, views=4).config.preset == "default", "a model without a table searches too"


def test_the_default_preset_of_the_embedded_model(lite0, coffee):
    trace = sc.trace(lite0, coffee, views=8)
    table = sparsity.table("efficientnet_lite0")
    assert trace.config.calibration == table["options"]["calibration"]
    assert trace.report.sparsity >= 0.5
    assert trace.fidelity.keeps_class
    assert trace.fidelity.warning is None
    rows = {row.name: row for row in trace.report.layers}
    assert rows["blocks.3.0.conv_pw"].requested == table["stages"]["blocks.3"]
    assert rows["conv_stem"].status == "dense"


def test_a_lost_class_is_said(lite0, coffee):
    trace = sc.trace(lite0, coffee, sparsity=0.97, views=2, calibration="independent", solver="magnitude")
    assert not trace.fidelity.keeps_class
    assert "no longer predicts the explained class “espresso”" in trace.fidelity.warning


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "sgd"}, "no solver 'sgd'"),
        ({"calibration": "both"}, "no calibration 'both'"),
        ({"preset": "best"}, "no preset 'best'"),
        ({"preset": "uniform"}, "needs a sparsity"),
        ({"preset": "paper-lrp"}, "for another model"),
        ({"preset": "auto", "sparsity": 0.5}, "has its own ratios"),
        ({"sparsity": -0.1}, "between 0 and 1"),
        ({"stages": {"layer9": 0.5}}, "no stage 'layer9'"),
        ({"stages": {"head": 2}}, "sparsity of head"),
        ({"views": 0, "sparsity": 0.5}, "number of views"),
        ({"damping": -1, "sparsity": 0.5}, "damping"),
        ({"block_size": 0, "sparsity": 0.5}, "block size"),
        ({"positions": -1, "sparsity": 0.5}, "number of positions"),
        ({"views": 16000, "sparsity": 0.5, "calibration": "sequential"}, "take at most"),
    ],
)
def test_bad_options_are_named(small, noise, options, message, monkeypatch):
    monkeypatch.setenv("SPADE_MAX_CALIBRATION_BYTES", "50M")
    with pytest.raises(ConfigError, match=message):
        sc.trace(small, noise, **options)


def test_resolved_targets_decide_the_fidelity(small, noise):
    trace = sc.trace(small, noise, sparsity=0.3, views=2, target="class 7")
    assert (trace.fidelity.target, trace.fidelity.label) == (7, "class 7")


def test_untouched_views_come_first_and_the_rest_is_random(small, noise):
    from spade_core.pruning.spade import Wanted, views_of
    from spade_core.pruning.views import random_views

    config = sc.trace(small, noise, sparsity=0.3, views=5, untouched=2, seed=3).config
    views = views_of(small, [Wanted(noise, None, config)]).images
    plain = small.preprocessing(noise)
    pixels = torch.from_numpy(noise.pixels.copy()).permute(2, 0, 1)
    drawn = small.preprocessing.normalize(random_views(pixels, 3, small.preprocessing.size, seed=3))
    assert torch.equal(views, torch.cat([plain, plain, drawn]))


@pytest.mark.parametrize(("asked", "noisy"), [(2, 2), (9, 3)])
def test_noisy_views_stand_between_the_untouched_and_the_random_ones(small, noise, asked, noisy):
    from spade_core.pruning.spade import Wanted, views_of
    from spade_core.pruning.views import noisy_views, random_views

    config = sc.trace(small, noise, sparsity=0.3, views=4, untouched=1, noisy=asked, seed=3).config
    views = views_of(small, [Wanted(noise, None, config)]).images
    plain = small.preprocessing(noise)
    assert torch.equal(views[: 1 + noisy], torch.cat([plain, noisy_views(plain, noisy, seed=3)]))
    pixels = torch.from_numpy(noise.pixels.copy()).permute(2, 0, 1)
    drawn = random_views(pixels, 4, small.preprocessing.size, seed=3)[: 3 - noisy]
    assert torch.equal(views[1 + noisy :], small.preprocessing.normalize(drawn))


def test_presets_decide_on_the_untouched_view(small, noise):
    assert sc.trace(small, noise, sparsity=0.3, views=4).config.untouched == 1
    assert sc.trace(small, noise, preset="auto", views=4).config.untouched == 0
    assert sc.trace(small, noise, preset="paper-visualization", views=4).config.untouched == 0
    assert sc.trace(small, noise, preset="auto", views=4, untouched=2).config.untouched == 2
    with pytest.raises(ConfigError, match="untouched"):
        sc.trace(small, noise, sparsity=0.3, untouched=-1)


@pytest.mark.long
def test_the_untouched_view_brings_the_trace_nearer_to_the_dense_prediction(lite0, coffee):
    without, with_one = (sc.trace(lite0, coffee, views=8, untouched=count).fidelity.kl for count in (0, 1))
    assert with_one < 0.2 * without
