"""What receptive fields count: against finite differences, and how the weighted moments follow from it."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import spade_core as sc
from spade_core.errors import ModelError
from spade_core.models.weight_calls import WeightCalls
from spade_core.pruning.moments import capture, cross_moment, input_columns
from spade_core.pruning.relevance import FLOOR, contrast, relevance
from spade_core.pruning.views import Views
from tests import nets
from tests.reference.capture import mean_outer_product, receptive_fields


class Small(nn.Module):
    """Two convolutions with an activation in place behind the first, a linear layer, and one that is used twice."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 1)
        self.act, self.last = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x):
        y = self.act(self.one(x))
        return self.last(self.two(torch.tanh(self.two(y))).mean((2, 3)))


@pytest.fixture
def small_net():
    torch.manual_seed(0)
    return Small().double().eval()


def weights_of(module, *names):
    return {name: module.get_parameter(f"{name}.weight") for name in names}


def outputs(module, x, weights):
    """Return every call's output, and the logits as a function of what is added to one of them."""
    seen = []

    def note(name, x, weight, call):
        seen.append((name, call.output(x, weight)))

    with torch.no_grad(), WeightCalls(weights, note):
        module(x)
    return seen


def pushed(module, x, weights, which, push):
    count = iter(range(100))

    def add(name, x, weight, call):
        return call.output(x, weight) + (push if next(count) == which else 0)

    with torch.no_grad(), WeightCalls(weights, add):
        return module(x)


def test_scores_are_squared_relevances_by_finite_differences(small_net):
    x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    weights = weights_of(small_net, "one", "two", "last")
    (found,) = relevance(small_net, Views.of_one(x), weights, [3])
    calls = outputs(small_net, x, weights)
    assert [name for name, _ in calls] == ["one", "two", "two", "last"]
    raw = {name: [] for name in weights}
    for which, (name, y) in enumerate(calls):
        slope = torch.zeros_like(y)
        for place in range(y.numel()):
            push = torch.zeros_like(y)
            push.view(-1)[place] = 1e-5
            up, down = (contrast(pushed(small_net, x, weights, which, sign * push), 3).sum() for sign in (1, -1))
            slope.view(-1)[place] = (up - down) / 2e-5
        said = slope * y
        raw[name].append((said.sum(1) if said.dim() == 4 else said.sum(-1)).square().flatten())
    for name, expected in raw.items():
        mean = torch.cat(expected).mean()
        assert len(found[name]) == len(expected)
        for one, other in zip(found[name], expected, strict=True):
            torch.testing.assert_close(one, other / mean + FLOOR, rtol=1e-6, atol=1e-7)


def test_batches_change_nothing_and_nothing_is_left_behind(small_net):
    x = torch.randn(4, 3, 7, 7, dtype=torch.float64)
    weights = weights_of(small_net, "one", "two")
    (whole,), (parts,) = (relevance(small_net, Views.of_one(x), weights, [0], batch=size) for size in (4, 3))
    torch.testing.assert_close(torch.cat(parts["one"]), whole["one"][0])
    torch.testing.assert_close(torch.cat(parts["two"][::2]), whole["two"][0])
    assert all(parameter.grad is None and parameter.requires_grad for parameter in small_net.parameters())
    assert not x.requires_grad
    assert not any(scores.requires_grad for calls in whole.values() for scores in calls)


def test_a_view_that_counts_as_several_stands_for_its_copies(small_net):
    x = torch.randn(3, 3, 7, 7, dtype=torch.float64)
    copies = torch.cat([x[:1]] * 3 + [x[1:]])
    weights = weights_of(small_net, "one", "two", "last")
    (once,) = relevance(small_net, Views.of_one(x), weights, [1], untouched=3)
    (thrice,) = relevance(small_net, Views.of_one(copies), weights, [1])
    for name, weight in weights.items():
        short, long = (
            capture(small_net, [views], {name: weight}, relevant={name: found[name]})[name]
            for views, found in ((x, once), (copies, thrice))
        )
        torch.testing.assert_close(short, long, rtol=0.02, atol=0.02 * float(long.abs().max()))  # but for the floor


def test_the_contrast_of_one_class_is_its_logit():
    logits = torch.tensor([[2.0], [3.0]])
    assert contrast(logits, 0).tolist() == [2.0, 3.0]
    assert contrast(torch.tensor([[4.0, 1.0, 3.0]]), 0).tolist() == [2.0]


def test_a_label_competes_with_its_absence_and_classes_with_each_other():
    logits = torch.tensor([[4.0, 1.0, 3.0], [0.0, -2.0, 5.0]])
    assert contrast(logits, torch.tensor([0, 1]), "multilabel").tolist() == [4.0, -2.0]
    for output in ("logits", "probabilities"):
        assert contrast(logits, torch.tensor([0, 1]), output).tolist() == [2.0, -4.5]
    halves = torch.tensor([[-1.5, 1.5]])  # a single logit of 3, as the door gives it on
    assert contrast(halves, 1, "binary").tolist() == [3.0]
    assert contrast(halves, 0, "binary").tolist() == [-3.0]


class Labels(nn.Module):
    """Answers of two labels, or of one, each with a sigmoid of its own, made of the mean of two maps."""

    def __init__(self, count, squash):
        super().__init__()
        self.conv, self.last, self.squash = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4, count), squash

    def forward(self, x):
        y = self.last(torch.tanh(self.conv(x)).mean((2, 3)))
        return torch.sigmoid(y) if self.squash else y


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize(("output", "count"), [("multilabel", 3), ("binary", 1)])
def test_a_trace_weighs_by_the_logit_of_its_own_label(output, count, squash, monkeypatch):
    torch.manual_seed(0)
    model = sc.wrap_model(Labels(count, squash).double().eval(), size=9, output=output, device="cpu")
    asked = {}

    def watch(module, views, weights, targets, **options):
        asked.update(views=views.images, targets=targets, found=relevance(module, views, weights, targets, **options))
        return asked["found"]

    monkeypatch.setattr("spade_core.pruning.spade.relevance", watch)
    picture, target = sc.load_picture("bundled:dog"), count % 2  # the second of two answers, or of three labels
    made = sc.trace(
        model, picture, target=target, weighting="target", sparsity=0.5, views=3, untouched=1, first_layer=True
    )
    assert made.fidelity.target == target
    # By hand: the label's own logit z = w . mean(tanh(y)) + b, whose slope at a place is w (1 - tanh(y)^2) / places.
    conv, last = model.module.conv, model.module.last
    y = torch.nn.functional.conv2d(asked["views"], conv.weight, conv.bias, stride=2)
    row = last.weight[target] if output == "multilabel" else last.weight[0]  # yes is the logit itself
    slope = row.view(1, -1, 1, 1) * (1 - torch.tanh(y) ** 2) / y[0, 0].numel()
    scores = (slope * y).sum(1).square().flatten()
    untouched = len(scores) // len(asked["views"])
    found = torch.cat(asked["found"][0]["conv.weight"])
    first, rest = found[:untouched] - FLOOR, found[untouched:] - FLOOR
    torch.testing.assert_close(rest / rest.sum(), scores[untouched:] / scores[untouched:].sum())
    torch.testing.assert_close(first / first.sum(), scores[:untouched] / scores[:untouched].sum())


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_weighted_moments_are_weighted_means(groups, kernel, monkeypatch):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, kernel, groups=groups).double().requires_grad_(False)
    x = torch.randn(3, 4, 6, 5, dtype=torch.float64)
    fields = receptive_fields(x, conv)
    counts = torch.rand(fields.shape[1], dtype=torch.float64)
    expected = torch.stack(
        [
            sum(c * torch.outer(field, field) for c, field in zip(counts, group, strict=True)) / counts.sum()
            for group in fields
        ]
    )
    per_view = fields.shape[1] // 3
    split = [counts[: 2 * per_view], counts[2 * per_view :]]
    monkeypatch.setattr("spade_core.pruning.moments._CHUNK", 40)
    found = capture(conv, [x[:2], x[2:]], {"weight": conv.weight}, relevant={"weight": split})["weight"]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    even = capture(conv, [x], {"weight": conv.weight}, relevant={"weight": [torch.full_like(counts, 0.3)]})["weight"]
    torch.testing.assert_close(even, mean_outer_product(fields), rtol=1e-10, atol=1e-12)


def test_drawn_positions_keep_their_weights():
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3).double().requires_grad_(False)
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    calls = []
    with WeightCalls({"weight": conv.weight}, lambda name, x, weight, call: calls.append(call)):
        conv(x)
    columns = input_columns(x, calls[0])[0]
    counts = torch.zeros(len(columns), dtype=torch.float64)
    counts[7] = 1.0  # the others count nothing: only this field is left, wherever it is drawn
    found = cross_moment(x, None, calls[0], positions=len(columns) - 1, weights=counts + 1e-12)
    torch.testing.assert_close(found[0], torch.outer(columns[7], columns[7]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "calibration"),
    [
        *((name, "independent") for name in [*nets.RELU_NETS, *nets.OTHER_NETS]),
        *((name, "sequential") for name in ["resnet18", "mobilenet_v2", "vit_b_16"]),
    ],
)
def test_every_architecture_takes_weighted_traces_and_is_not_changed(name, calibration, noise, untouched):
    model = nets.loaded(name, 32)
    options = {"views": 3, "sparsity": 0.5, "calibration": calibration, "seed": 2}
    with untouched(model):
        plain = sc.trace(model, noise, **options)
        found = sc.trace(model, noise, weighting="target", refit=1.0, **options)
    assert found.config.weighting == "target"
    assert found.report.sparsity == pytest.approx(plain.report.sparsity, abs=1e-3)
    before, after = (dict(one.module.named_parameters()) for one in (plain, found))
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert all(torch.isfinite(value).all() for value in after.values())


def test_other_targets_have_other_traces(small, noise):
    one, other = (sc.trace(small, noise, target=t, views=3, sparsity=0.5, weighting="target") for t in (0, 1))
    again = sc.trace(small, noise, target=0, views=3, sparsity=0.5, weighting="target")
    same = [torch.equal(a, b) for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True)]
    assert not all(same)
    for a, b in zip(one.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_model_can_steer_and_its_own_is_the_default(small, noise, untouched):
    other = replace(small, module=copy.deepcopy(small.module))
    with torch.no_grad():
        other.module.head.weight.copy_(other.module.head.weight.roll(1, 0))

    def pruned(steered_by, **options):
        with untouched(small):
            found = sc.trace_many(small, noise, steered_by=steered_by, target=0, sparsity=0.6, views=2, **options)
        return found.traces[0].module.get_parameter("pointwise.weight")

    own = pruned(None, weighting="target")
    assert torch.equal(own, pruned(small, weighting="target"))
    assert not torch.equal(own, pruned(other, weighting="target"))
    assert torch.equal(pruned(None), pruned(other)), "nothing steers an unweighted trace"


def test_a_model_without_gradients_is_refused_by_a_sentence(small_net):
    class Cut(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).detach()

    x = torch.randn(1, 3, 7, 7, dtype=torch.float64)
    weights = {"one": small_net.one.weight}
    with pytest.raises(ModelError, match="weighting 'none'"):
        relevance(Cut(small_net), Views.of_one(x), weights, [0])
    with pytest.raises(ModelError, match="not finite"):
        relevance(small_net, Views.of_one(x * float("inf")), weights, [0])
