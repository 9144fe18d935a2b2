"""The one door: what people bring computes the same inside, or is refused in a sentence or two that say what to do."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

import spade_core as sc
from spade_core.errors import LayerError, ModelError
from spade_core.evaluation.metrics import insertion_deletion
from spade_core.models.loading import wrap_model

SIZE = 12


@dataclass
class Answer:
    logits: torch.Tensor
    other: torch.Tensor


class Named(NamedTuple):
    other: torch.Tensor
    logits: torch.Tensor


class Net(nn.Module):
    """A small classifier; ``before`` acts on the picture, ``between`` on a map, ``after`` on the logits."""

    def __init__(self, before=None, between=None, after=None, classes=4):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, classes)
        same = lambda x: x  # noqa: E731 - says what it is
        self.before, self.between, self.after = before or same, between or same, after or same

    def forward(self, x):
        x = F.relu(self.first(self.before(x)))
        x = F.relu(self.second(self.between(x)))
        return self.after(self.head(x.mean((2, 3))))


def wrapped(module, **options):
    return wrap_model(module, size=SIZE, device="cpu", **options)


def truth(module, model, picture):
    with torch.no_grad():
        return module.eval()(model.preprocessing(picture))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def normalized(x):
    return x.mul_(2).add_(0.3)


def viewed(x):
    return F.max_pool2d(x, 2).view(x.shape[0], -1)[:, :216].view(-1, 6, 6, 6)


def pruned(net):
    prune.ln_structured(net.second, "weight", 0.5, n=2, dim=0)
    prune.random_unstructured(net.head, "bias", 0.5)
    net(torch.ones(1, 3, SIZE, SIZE))  # with gradients: the masked weight is no leaf
    return net


def normed(kind):
    def change(net):
        net.second = kind(net.second)
        return net

    return change


def tied(net):
    net.third = nn.Conv2d(6, 6, 3, padding=1)
    net.third.weight = nn.Parameter(net.second.weight.data)  # two parameters in one memory
    net.between = net.third
    return net


def flat(net):
    """All parameters are views of one tensor, as some optimizers keep them."""
    memory = torch.cat([value.detach().flatten() for value in net.parameters()])
    start = 0
    for value in net.parameters():
        value.data = memory[start : start + value.numel()].view_as(value)
        start += value.numel()
    return net


KEPT = {
    "in place": lambda: Net(before=normalized),
    "in place by a module": lambda: nn.Sequential(nn.ReLU(inplace=True), Net()),
    "view": lambda: Net(between=viewed),
    "weight norm": lambda: normed(parametrizations.weight_norm)(Net()),
    "old weight norm": lambda: normed(nn.utils.weight_norm)(Net()),
    "spectral norm": lambda: normed(parametrizations.spectral_norm)(Net()),
    "orthogonal": lambda: normed(parametrizations.orthogonal)(Net()),
    "masks": lambda: pruned(Net()),
    "tied memory": lambda: tied(Net()),
    "views of one memory": lambda: flat(Net()),
    "parallel": lambda: nn.DataParallel(Net()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(Net()),
    "a compiled part": lambda: nn.Sequential(torch.compile(Net())),
    "double": lambda: Net().double(),
    "a tuple": lambda: Net(after=lambda y: (y, y.unsqueeze(1))),
    "a tuple in a tuple": lambda: Net(after=lambda y: ((y,), 3)),
    "a dataclass": lambda: Net(after=lambda y: Answer(y, y + 1)),
    "a named tuple": lambda: Net(after=lambda y: Named(y + 1, y)),
    "one pixel": lambda: Net(after=lambda y: y[:, :, None, None]),
    "momentum of none": lambda: nn.Sequential(nn.BatchNorm2d(3, momentum=None), Net()),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", KEPT)
def test_the_function_explained_is_the_function_given(kind, noise):
    module = KEPT[kind]().eval()
    before = copy.deepcopy({name: value.detach() for name, value in module.state_dict().items()})
    model = wrapped(module)
    inner = module[0]._orig_mod if kind == "a compiled part" else module
    inner, x = inner.eval(), model.preprocessing(noise)
    with torch.no_grad():
        answer = inner(x.to(next(inner.parameters()).dtype))
    while not isinstance(answer, torch.Tensor):
        answer = answer.logits if hasattr(answer, "logits") else answer[0]
    expected = answer.reshape(1, -1).softmax(1)[0].float().numpy()
    np.testing.assert_allclose(sc.predict(model, noise), expected, atol=1e-6)
    made = sc.trace(model, noise, sparsity=0.0, views=2)
    assert abs(made.fidelity.kl) < 1e-8
    cut = sc.trace(model, noise, sparsity=0.6, views=2)
    assert cut.report.sparsity > 0.3
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert sc.explain(cut, noise, method="saliency").map.shape == (SIZE, SIZE)
    np.testing.assert_allclose(sc.predict(model, noise), expected, atol=1e-6)


def test_a_tie_in_memory_stays_a_tie(noise):
    model = wrapped(tied(Net()))
    cut = sc.trace(model, noise, sparsity=0.5, views=2)
    assert cut.module.third.weight is cut.module.second.weight
    assert [layer.name for layer in model.layers] == ["first", "second", "head"]


def test_a_compiled_network_is_taken_out_of_its_wrapper():
    net = Net()
    model = wrapped(torch.compile(net))
    assert any("torch.compile" in note for note in model.notes)
    assert list(model.module.state_dict()) == list(net.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_computed_in_float32_and_that_is_said(dtype, noise):
    module = Net()
    model = wrapped(copy.deepcopy(module).to(dtype))
    assert model.dtype == torch.float32
    assert any(str(dtype).removeprefix("torch.") in note and "float32" in note for note in model.notes)
    expected = truth(module, model, noise).softmax(1)[0].numpy()
    np.testing.assert_allclose(sc.predict(sc.trace(model, noise, sparsity=0.0, views=2), noise), expected, atol=2e-2)


def hooked(kind, change):
    net = Net()
    getattr(net.second, f"register_{kind}")(change)
    return net


def random_rows(y):
    return F.dropout(y, 0.3)


class Past(nn.Module):
    """Answers by how often it was asked."""

    def __init__(self):
        super().__init__()
        self.net, self.calls = Net(), 0

    def forward(self, x):
        self.calls += 1
        return self.net(x) * self.calls


def closure():
    net = Net()
    convolve = net.second
    net.between = lambda x: convolve(x)
    return net


class Mixed(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).float()


def infinite(y):
    return y / 0


REFUSED = {
    "hook": (lambda: hooked("forward_hook", lambda _m, _x, y: y * 2), "hooks or pre-hooks on second"),
    "pre-hook": (lambda: hooked("forward_pre_hook", lambda _m, x: (x[0] + 1,)), "hooks or pre-hooks on second"),
    "dropout": (lambda: Net(after=random_rows), "differently each time"),
    "noise": (lambda: Net(before=lambda x: x + torch.rand_like(x)), "differently each time"),
    "its past": (Past, "differently each time"),
    "batch norm": (
        lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), Net()),
        r"other pictures beside it \(0 has no",
    ),
    "scaled by the batch": (lambda: Net(before=lambda x: x / x.abs().max()), "other pictures beside it"),
    "whole numbers": (lambda: Net(after=lambda y: y.argmax(1, keepdim=True)), "int64 numbers, as after argmax"),
    "autocast": (Mixed, "computes under autocast"),
    "no values": (lambda: nn.Sequential(nn.LazyConv2d(4, 1), nn.Flatten(), nn.LazyLinear(4)), "no values yet"),
    "centred batch": (lambda: Net(between=lambda x: x - x.mean(0, keepdim=True)), "other pictures beside it"),
    "closure": (closure, "through self"),
    "scripted part": (lambda: nn.Sequential(Net(), torch.jit.script(nn.ReLU())), "TorchScript"),
    "infinite": (lambda: Net(after=infinite), "not finite"),
    "several": (lambda: Net(after=lambda y: (y, y + 1)), "with 2 tensors"),
    "none": (lambda: Net(after=lambda y: {"boxes": y[None]}), "with no tensors"),
    "one picture only": (lambda: Net(after=lambda y: y.view(1, 4)), "cannot read pictures"),
    "maps": (lambda: nn.Conv2d(3, 4, 1), r"logits \(n, classes\)"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_explained_rightly_is_refused(kind):
    make, reason = REFUSED[kind]
    with pytest.raises(ModelError, match=reason) as caught:
        wrapped(make())
    text = str(caught.value)
    assert len(re.findall(r"[.!?](?:\s|$)", text)) <= 2
    assert "\n" not in text


def test_hooks_that_change_nothing_are_left_behind_and_named():
    seen = []
    model = wrapped(hooked("forward_hook", lambda *_: seen.append(1)))
    assert any("Hooks or pre-hooks on second are left behind" in note for note in model.notes)
    asked = len(seen)
    model.module(torch.ones(1, 3, SIZE, SIZE))
    assert len(seen) == asked


def test_the_callers_module_its_modes_buffers_and_random_numbers_are_as_they_were():
    class Counting(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    net = Counting().train()
    net.first.eval()
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match="writes into its buffer calls at each call"):
        wrapped(net)
    assert (net.training, net.first.training, float(net.calls)) == (True, False, 0.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_values_that_are_not_finite_are_named():
    net = Net()
    net.second.weight.data[0, 0, 0, 0] = float("inf")
    with pytest.raises(ModelError, match=r"not finite \(in second\.weight\)"):
        wrapped(net)


def test_an_overflow_on_one_picture_only_is_told_then(noise):
    net = Net(after=lambda y: y / (y.abs().sum(1, keepdim=True) < 1e-3).logical_not())
    model = wrapped(net)
    for value in (*model.module.head.parameters(),):
        value.zero_()
    with pytest.raises(ModelError, match="not finite"):
        sc.predict(model, noise)
    with pytest.raises(ModelError, match="not finite"):
        sc.trace(model, noise, views=2, sparsity=0.5)


MEANINGS = {
    "softmax": (lambda: Net(after=lambda y: y.softmax(1)), "probabilities", lambda y: y),
    "softmax module": (lambda: nn.Sequential(Net(), nn.Softmax(1)), "probabilities", lambda y: y),
    "averaged softmax": (lambda: Net(after=lambda y: 0.5 * (y.softmax(1) + 0.25)), "probabilities", lambda y: y),
    "log softmax": (lambda: nn.Sequential(Net(), nn.LogSoftmax(1)), "logits", torch.exp),
    "one logit": (lambda: Net(classes=1), "binary", lambda y: torch.cat([1 - y.sigmoid(), y.sigmoid()], 1)),
    "one number": (
        lambda: Net(classes=1, after=lambda y: y[:, 0]),
        "binary",
        lambda y: torch.stack([1 - y.sigmoid(), y.sigmoid()], 1),
    ),
    "one probability": (
        lambda: nn.Sequential(Net(classes=1), nn.Sigmoid()),
        "binary",
        lambda y: torch.cat([1 - y, y], 1),
    ),
    "labels": (lambda: Net(after=torch.sigmoid), "multilabel", lambda y: y),
    "dictionary": (lambda: Net(after=lambda y: {"logits": y, "hidden": y}), "logits", lambda y: y["logits"].softmax(1)),
}


@pytest.mark.parametrize("kind", MEANINGS)
def test_what_the_output_means_is_recognized_and_said(kind, noise):
    make, output, probabilities = MEANINGS[kind]
    module = make()
    model = wrapped(module)
    assert model.output == output
    assert model.notes
    expected = probabilities(truth(module, model, noise))[0].numpy()
    np.testing.assert_allclose(sc.predict(model, noise), expected, atol=1e-5)
    assert abs(sc.trace(model, noise, sparsity=0.0, views=2).fidelity.kl) < 1e-8
    cut = sc.trace(model, noise, sparsity=0.5, views=2)
    assert cut.fidelity.kl > 0
    assert sc.explain(model, noise, method="saliency", target=0).map.any()


def test_the_logit_before_a_last_softmax_is_what_is_explained(noise):
    net = Net()
    squashed = nn.Sequential(net, nn.Softmax(1))
    for method in ("saliency", "deeplift", "lrp"):
        found, wanted = (sc.explain(wrapped(one), noise, method=method, target=2).map for one in (squashed, net))
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_softmax_that_stays_inside_is_refused_by_lrp(noise):
    model = wrapped(MEANINGS["averaged softmax"][0]())
    with pytest.raises(LayerError, match="ends in a softmax"):
        sc.explain(model, noise, method="lrp")


def test_an_output_that_was_declared_is_taken_or_refused(noise):
    model = wrapped(Net(), output="multilabel")
    expected = truth(Net().requires_grad_(False), model, noise)
    assert expected.shape == (1, 4)
    assert sc.predict(model, noise).sum() != pytest.approx(1, abs=1e-3)
    assert model.spec["output"] == "multilabel"
    for output, reason in (
        ("probabilities", "cannot be probabilities"),
        ("binary", "cannot be binary"),
        ("odds", "There is no output 'odds'"),
    ):
        with pytest.raises(ModelError, match=reason):
            wrapped(Net(), output=output)


def test_the_divergence_of_labels_adds_up(noise):
    model = wrapped(Net(), output="multilabel")
    cut = sc.trace(model, noise, sparsity=0.5, views=2)
    p, q = (sc.predict(one, noise).astype(np.float64) for one in (model, cut))
    expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum()
    assert cut.fidelity.kl == pytest.approx(expected, rel=1e-3)


def test_a_single_class_name_is_that_of_a_yes():
    assert wrapped(Net(classes=1), labels=["cat"]).labels == ("not cat", "cat")
    assert wrapped(Net(classes=1)).labels == ("no", "yes")


def test_a_network_that_lets_no_gradient_through_is_named(noise):
    with pytest.raises(LayerError, match="lets none through"):
        sc.explain(wrapped(Net(after=torch.Tensor.detach)), noise, method="saliency")


def test_scores_of_labels_that_do_not_exclude_each_other_are_sigmoids(noise):
    model = wrapped(Net(), output="multilabel")
    found = sc.explain(model, noise, method="scorecam", target=1)
    shifted = wrapped(nn.Sequential(model.module, Shift()), output="multilabel")
    assert np.array_equal(found.map, sc.explain(shifted, noise, method="scorecam", target=1).map)
    x = model.input(noise)
    curves = insertion_deletion(model.module, x, found.map, 1, output="multilabel", steps=2)
    assert curves.insertion[-1] == pytest.approx(sc.predict(model, noise)[1], abs=1e-6)


class Shift(nn.Module):
    """Raises the first label, which others must not notice."""

    def forward(self, y):
        return y + torch.tensor([5.0, 0.0, 0.0, 0.0])
