"""Canonical form: every activation a separate, out-of-place module; outputs unchanged."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from spade_core.errors import ModelError
from spade_core.models.canonical.activations import find_shared_activations
from spade_core.models.canonical.attention import ExplicitAttention
from spade_core.models.canonical.canonize import canonize
from spade_core.models.canonical.copying import unwrapped
from spade_core.models.layers import prunable_layers, share_copy
from tests import nets


@pytest.mark.parametrize("name", nets.RELU_NETS + nets.OTHER_NETS)
def test_all_architectures_keep_their_output_and_hide_no_activation(name):
    size = 32 if name == "vgg16_bn" else 64
    module = nets.randomize(nets.build(name, size), size)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = module(x)
        canonical, notes = canonize(module, x)
        after = canonical(x)
        copied = share_copy(canonical)(x)
    assert notes == ()
    if name == "vit_b_16":
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    else:
        assert torch.equal(after, before)
    assert torch.equal(after, copied)
    assert find_shared_activations(canonical, x) == []
    assert list(canonical.state_dict()) == list(module.state_dict())
    assert not any(getattr(child, "inplace", False) for child in canonical.modules())
    assert not any(type(child) is nn.MultiheadAttention for child in canonical.modules())


class Awkward(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.other, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.act, self.fn = nn.ReLU(inplace=True), F.gelu
        self.first = self.second = nn.ReLU6(inplace=True)

    def forward(self, x):
        x = self.act(self.conv(x))
        y = self.act(self.other(x))
        y += x
        y = self.second(self.first(y) - 0.5)
        y = F.relu(self.fn(y), inplace=True).relu_()
        return self.head(F.leaky_relu(y, 0.3).mean((2, 3)))


def test_functions_reuse_aliases_and_in_place_additions_are_rewritten():
    torch.manual_seed(0)
    module = Awkward().eval()
    x = torch.randn(2, 3, 8, 8)
    assert len(find_shared_activations(module, x)) >= 5
    with torch.no_grad():
        before = module(x)
        canonical, notes = canonize(module, x)
        assert torch.equal(canonical(x), before)
    assert notes == ()
    assert find_shared_activations(canonical, x) == []
    slopes = [child.negative_slope for child in canonical.modules() if isinstance(child, nn.LeakyReLU)]
    assert slopes == [0.3]
    assert module.act.inplace, "the caller's module was changed"
    assert find_shared_activations(module, x)


def test_what_cannot_be_traced_stays_and_is_noted():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            while x.abs().max() > 1:
                x = F.relu(self.conv(x)) / 10
            return x.mean((2, 3))

    module = Loop()
    x = 5 * torch.ones(1, 3, 4, 4)
    canonical, notes = canonize(module, x)
    assert "cannot be traced" in notes[0]
    assert "the model calls relu as a function" in find_shared_activations(canonical, x)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"kdim": 6, "vdim": 10}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"bias": False}]
)
def test_explicit_attention_equals_the_original(batch_first, options):
    torch.manual_seed(0)
    original = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).double().eval()
    explicit = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).double().eval()
    explicit.load_state_dict(original.state_dict())
    explicit.__class__ = ExplicitAttention
    query = torch.randn(3, 5, 8, dtype=torch.float64)
    key = torch.randn(3, 5, options.get("kdim", 8), dtype=torch.float64)
    value = torch.randn(3, 5, options.get("vdim", 8), dtype=torch.float64)
    inputs = (query, key, value) if options.get("kdim") else (query, query, query)
    mask = torch.triu(
        torch.ones(
            inputs[0].shape[1 if batch_first else 0], inputs[1].shape[1 if batch_first else 0], dtype=torch.bool
        ),
        1,
    )
    for arguments in ({}, {"need_weights": False}, {"attn_mask": mask}, {"average_attn_weights": False}):
        with torch.no_grad():
            for found, expected in zip(explicit(*inputs, **arguments), original(*inputs, **arguments), strict=True):
                if expected is not None:
                    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_encoder_layers_do_not_bypass_explicit_attention():
    torch.manual_seed(0)
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.encoder, self.head = nn.Conv2d(3, 8, 4, 4), module, nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    net = Net().eval()
    x = torch.randn(2, 3, 8, 8)
    canonical, _ = canonize(net, x)
    calls = []
    for child in canonical.modules():
        if isinstance(child, ExplicitAttention):
            child.out_proj.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        torch.testing.assert_close(canonical(x), net(x), rtol=1e-5, atol=1e-5)
    assert len(calls) == 2


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x, mask=None, *, scale=1.0):
        x = self.act(self.conv(x))
        if mask is not None:
            x = x * mask
        return self.act(x * scale - 0.1)


class Wrapper(nn.Module):
    def forward(self, x):
        return F.relu(F.relu(x) - 0.1)


class Head(nn.Module):
    """Applies ``body`` by ``apply`` and makes logits of it."""

    def __init__(self, body, apply):
        super().__init__()
        self.body, self.head, self.apply_body = body, nn.Linear(3, 2), apply

    def forward(self, x):
        return self.head(self.apply_body(self.body, x).mean((2, 3)))


def canonical_pair(module):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        before = module.eval()(x)
    canonical, notes = canonize(module, x)
    with torch.no_grad():
        assert torch.equal(canonical(x), before)
        assert torch.equal(share_copy(canonical)(x), before)
    return notes, find_shared_activations(canonical, x)


def test_keyword_arguments_and_constants_survive():
    assert canonical_pair(Head(Block(), lambda body, x: body(x, mask=None, scale=2.0))) == ((), [])


def test_wrappers_around_activations_are_copied_with_them():
    assert canonical_pair(Head(Wrapper(), lambda body, x: body(body(x) - 0.2))) == ((), [])
    nested = Head(nn.Sequential(nn.Identity(), Wrapper()), lambda body, x: body(body(x) - 0.2))
    assert canonical_pair(nested) == ((), [])


def test_layers_used_twice_are_noted():
    notes, left = canonical_pair(Head(Block(), lambda body, x: body(body(x))))
    assert "2 activations are used several times, because whole layers are" in notes[0]
    assert left == ["body.act is called 2 times", "body.activation_0 is called 2 times"]


def test_a_rewrite_that_would_change_the_output_is_left():
    def aliased(body, x):
        y = body(x)
        return y + F.relu(y, inplace=True)

    notes, left = canonical_pair(Head(nn.Conv2d(3, 3, 1), aliased))
    assert "output changed" in notes[0]
    assert left == ["the model calls relu as a function"]


@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        pytest.param(nn.utils.spectral_norm, marks=pytest.mark.filterwarnings("ignore::FutureWarning")),
    ],
)
def test_recomputed_weights_become_parameters(norm):
    module = Head(norm(nn.Conv2d(3, 3, 1)), lambda body, x: body(x)).eval()
    x = torch.randn(2, 3, 8, 8)
    canonical, _ = canonize(module, x)
    with torch.no_grad():
        assert torch.equal(canonical(x), module(x))
    assert sorted(canonical.state_dict()) == ["body.bias", "body.weight", "head.bias", "head.weight"]
    assert [layer.name for layer in prunable_layers(canonical)] == ["body", "head"]
    assert len(module.state_dict()) > 4, "the caller's module was changed"


def test_the_callers_hooks_are_not_carried_over():
    module = Head(nn.ReLU(), lambda body, x: body(x)).eval()
    calls = []
    module.body.register_forward_hook(lambda *_: calls.append(1))
    canonical, _ = canonize(module, torch.randn(2, 3, 8, 8))
    canonical(torch.randn(2, 3, 8, 8))
    assert calls == []
    assert len(module.body._forward_hooks) == 1


def test_modules_that_cannot_be_rewritten_are_refused():
    with pytest.raises(ModelError, match="TorchScript"):
        unwrapped(torch.jit.trace(nn.Conv2d(3, 2, 1), torch.ones(1, 3, 4, 4)))
    with pytest.raises(ModelError, match=r"part 1 is a TorchScript"):
        unwrapped(nn.Sequential(nn.Conv2d(3, 2, 1), torch.jit.script(nn.ReLU())))
    computed = nn.Conv2d(3, 2, 1)
    computed.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"cannot be copied \(.*\): remove"):
        canonize(computed, torch.ones(1, 3, 4, 4))
    with pytest.raises(ModelError, match="returns a tuple"):
        canonize(Pair(), torch.ones(1, 3, 4, 4))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_a_model_that_another_thread_runs_while_one_is_traced_answers_as_ever():
    """The traced forward itself asks for it: that is the moment in which torch.fx has patched ``nn.Module``."""
    torch.manual_seed(0)
    other, x = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(4))).eval(), torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        expected, answers = other(x), []

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, value):
            if isinstance(value, fx.Proxy):
                answers.append(pool.submit(other, x).result(120))
            return nn.functional.relu(self.conv(value))

    with ThreadPoolExecutor(1) as pool:
        canonical, notes = canonize(nn.Sequential(Asking(), nn.Flatten()), torch.randn(1, 3, 8, 8))
    assert notes == ()
    assert any(isinstance(module, nn.ReLU) for module in canonical.modules())
    assert answers
    assert all(torch.equal(answer, expected) for answer in answers)


def test_other_threads_run_their_models_meanwhile():
    """torch.fx patches ``nn.Module`` for the whole process while it traces."""
    torch.manual_seed(0)
    other, x = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(4))).eval(), torch.randn(1, 3, 8, 8)
    module = nets.build("resnet18").eval()
    expected, stop, wrong = other(x), threading.Event(), []

    def work():
        while not stop.is_set():
            try:
                wrong.extend([] if torch.equal(other(x), expected) else ["differs"])
            except Exception as error:  # noqa: BLE001 - whatever the thread would die of
                wrong.append(repr(error))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            canonize(module, torch.randn(1, 3, 32, 32))
    finally:
        stop.set()
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_explicit_attention_takes_padding_and_unbatched_inputs(batch_first, need_weights):
    torch.manual_seed(0)
    original = nn.MultiheadAttention(8, 2, batch_first=batch_first).double().eval()
    explicit = share_copy(original)
    explicit.__class__ = ExplicitAttention
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    batch, length = (3, 5) if batch_first else (5, 3)
    padding = torch.zeros(batch, length, dtype=torch.bool)
    padding[1, -2:] = True
    causal = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
    per_head = torch.randn(batch * 2, length, length, dtype=torch.float64)
    cases = [
        ((x, x, x), {"key_padding_mask": padding}),
        ((x, x, x), {"key_padding_mask": padding, "attn_mask": causal}),
        ((x, x, x), {"attn_mask": per_head}),
        ((x[0], x[0], x[0]), {}),
        ((x[0], x[0], x[0]), {"key_padding_mask": torch.tensor([False] * 4 + [True])}),
        ((x, x.flip(0), x.flip(1)), {}),
    ]
    for inputs, options in cases:
        with torch.no_grad():
            found = explicit(*inputs, need_weights=need_weights, **options)
            expected = original(*inputs, need_weights=need_weights, **options)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-9)
        assert (found[1] is None) == (expected[1] is None)
        if expected[1] is not None:
            torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-9)


BY_HAND = {
    "clamp": lambda x: torch.clamp(x, 0),
    "clip": lambda x: x.clip(min=0, max=None),
    "clamp_min": lambda x: x.clamp_min(0.0),
    "clamp to six": lambda x: x.clamp(0, 6),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "in place": lambda x: (x + 0).clamp_(min=0),
    "pool": lambda x: F.relu(F.max_pool2d(x, 3, padding=1, stride=2)),
    "low pool": lambda x: torch.max_pool2d(x, [2, 2]).relu(),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_activations_and_poolings_by_hand_become_modules(name):
    assert canonical_pair(Head(nn.Conv2d(3, 3, 1), lambda body, x: BY_HAND[name](body(x)))) == ((), [])


def test_a_pooling_used_twice_is_called_once_at_each_place():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)

        def forward(self, x):
            return self.pool(self.conv(self.pool(x)))

    assert canonical_pair(Head(Net(), lambda body, x: body(x))) == ((), [])


GATES = {
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "gt": lambda x: x * (x > 0),
    "clamp": lambda x: x.clamp(-1, 1),
    "abs": lambda x: (x + x.abs()) / 2,
    "threshold": lambda x: F.threshold(x, 0.5, 0.0),
}


@pytest.mark.parametrize("name", GATES)
def test_gates_that_no_module_makes_are_named(name):
    notes, left = canonical_pair(Head(nn.Conv2d(3, 3, 1), lambda body, x: GATES[name](body(x))))
    assert notes == ()
    assert f"the model calls {name} as a function" in left


def test_masks_of_constants_are_no_gates():
    def masked(body, x):
        return (
            body(x).masked_fill(torch.arange(8) > 4, 0.0).relu() if x is None else F.relu(body(x) * (torch.ones(8) > 0))
        )

    assert canonical_pair(Head(nn.Conv2d(3, 3, 1), masked)) == ((), [])
