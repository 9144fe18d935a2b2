"""Second moments against explicit unfolding, and what the intercepted calls see."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spade_core.models.weight_calls import WeightCalls
from spade_core.pruning.moments import _draw_positions, capture, cross_moment, input_columns
from tests.reference.capture import mean_outer_product, receptive_fields

CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "padded": nn.Conv2d(4, 6, 3, padding=1),
    "widely padded": nn.Conv2d(4, 6, 3, padding=2),
    "widely padded and strided": nn.Conv2d(4, 6, 3, stride=2, padding=3),
    "large": nn.Conv2d(4, 6, (5, 3), padding=(1, 2)),
    "strided": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding=2),
    "uneven": nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(0, 1), dilation=(2, 1)),
    "grouped": nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4, padding=1),
    "multiplied depthwise": nn.Conv2d(4, 8, 3, groups=4, stride=2),
    "same": nn.Conv2d(4, 6, 3, padding="same"),
    "same, even kernel": nn.Conv2d(4, 6, (2, 4), padding="same"),
    "same, dilated": nn.Conv2d(4, 6, (2, 3), padding="same", dilation=(3, 2)),
    "valid": nn.Conv2d(4, 6, 3, padding="valid"),
    "pointwise": nn.Conv2d(4, 6, 1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("stripe", [128, 3])
def test_second_moment_equals_explicit_unfolding(name, stripe, monkeypatch):
    monkeypatch.setattr("spade_core.pruning.moments._STRIPE", stripe)
    torch.manual_seed(0)
    conv = CONVOLUTIONS[name].double().requires_grad_(False)
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    found = capture(conv, [x[:2], x[2:]], {"weight": conv.weight})["weight"]
    torch.testing.assert_close(found, mean_outer_product(receptive_fields(x, conv)), rtol=1e-12, atol=1e-12)


def test_where_all_receptive_fields_cost_no_more_than_some_all_are_taken():
    torch.manual_seed(0)
    conv = CONVOLUTIONS["plain"].double().requires_grad_(False)
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    call = recorded(conv, x)  # 60 fields; 12.5 of 81 pairs of taps are multiplied out
    torch.testing.assert_close(cross_moment(x, None, call, positions=10), cross_moment(x, None, call))
    assert not torch.allclose(cross_moment(x, None, call, positions=9), cross_moment(x, None, call))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_energy_is_that_of_the_output_without_its_bias(name):
    torch.manual_seed(0)
    conv = CONVOLUTIONS[name].double().requires_grad_(False)
    x, energies = torch.randn(3, 4, 7, 6, dtype=torch.float64), {}
    moment = capture(conv, [x[:2], x[2:]], {"weight": conv.weight}, energies=energies)["weight"]
    weight = conv.weight.reshape(conv.groups, conv.weight.shape[0] // conv.groups, -1)
    assert energies["weight"] == pytest.approx(float(torch.einsum("grc,gcd,grd->", weight, moment, weight)), rel=1e-12)


def test_there_is_no_energy_of_positions_that_are_left_out_or_weighed():
    torch.manual_seed(0)
    conv, x = CONVOLUTIONS["plain"].double().requires_grad_(False), torch.randn(3, 4, 7, 6, dtype=torch.float64)
    counts = [torch.rand(60, dtype=torch.float64)]
    for options in ({"positions": {"weight": 9}}, {"relevant": {"weight": counts}}):
        energies: dict[str, float] = {}
        capture(conv, [x], {"weight": conv.weight}, energies=energies, **options)
        assert not energies
    capture(conv, [x], {"weight": conv.weight}, positions={"weight": 10}, energies=energies)
    assert energies.keys() == {"weight"}  # as many cost no more than all, so all are taken
    pointwise, linear = CONVOLUTIONS["pointwise"].double().requires_grad_(False), nn.Linear(4, 3).double()
    for module, given, all_of_them in ((pointwise, x, 126), (linear, x[:, :, 0, 0], 3)):
        for positions, known in ((all_of_them, {"weight"}), (all_of_them - 1, set())):
            energies = {}
            capture(module, [given], {"weight": module.weight}, positions={"weight": positions}, energies=energies)
            assert energies.keys() == known


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_captured_input_times_weight_is_the_output(name):
    torch.manual_seed(0)
    conv = CONVOLUTIONS[name].double().requires_grad_(False)
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    checked = []

    def check(_, seen, weight, call):
        columns = input_columns(seen, call)
        rows = columns @ weight.reshape(call.groups, weight.shape[0] // call.groups, -1).transpose(1, 2)
        expected = F.conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
        found = rows.transpose(1, 2).reshape(weight.shape[0], 2, *expected.shape[2:]).transpose(0, 1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(call.output(seen, weight), expected + conv.bias.view(1, -1, 1, 1))
        checked.append(call.kind)

    with WeightCalls({"weight": conv.weight}, check):
        conv(x)
    assert checked == ["conv2d"]


def recorded(conv, x):
    calls = []
    with WeightCalls({"weight": conv.weight}, lambda name, x, weight, call: calls.append(call)):
        conv(x)
    return calls[0]


def test_moments_do_not_depend_on_chunks_and_cross_moments_transpose(monkeypatch):
    torch.manual_seed(0)
    conv = CONVOLUTIONS["grouped"].double().requires_grad_(False)
    a, b = torch.randn(2, 5, 4, 6, 6, dtype=torch.float64)
    call = recorded(conv, a)
    whole = cross_moment(a, b, call)
    monkeypatch.setattr("spade_core.pruning.moments._CHUNK", 40)
    torch.testing.assert_close(cross_moment(a, b, call), whole)
    torch.testing.assert_close(cross_moment(b, a, call), whole.transpose(1, 2))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_sampled_positions_are_rows_of_all_positions(name):
    torch.manual_seed(0)
    conv = CONVOLUTIONS[name].double().requires_grad_(False)
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    call = recorded(conv, x)
    every = input_columns(x, call)
    chosen = torch.tensor([0, 5, every.shape[1] - 1])
    torch.testing.assert_close(input_columns(x, call, chosen), every[:, chosen])
    sampled = cross_moment(x, None, call, positions=8)
    rows = every[:, _draw_positions(every.shape[1], 8)]
    torch.testing.assert_close(sampled, rows.transpose(1, 2) @ rows / 8)


def test_sampling_approaches_the_full_moment_and_covers_every_view():
    torch.manual_seed(0)
    conv = CONVOLUTIONS["padded"].double().requires_grad_(False)
    x = torch.randn(8, 4, 32, 32, dtype=torch.float64)
    call = recorded(conv, x)
    full, part = cross_moment(x, None, call), cross_moment(x, None, call, positions=4096)
    assert float((full - part).norm() / full.norm()) < 0.12
    assert torch.unique(_draw_positions(8 * 32 * 32, 16) // (32 * 32)).numel() == 8
    found = capture(conv, [x[:4], x[4:]], {"w": conv.weight}, positions={"w": 4096})["w"]
    assert float((full - found).norm() / full.norm()) < 0.12


def test_linear_inputs_of_any_rank_and_keyword_calls():
    torch.manual_seed(0)
    layer = nn.Linear(5, 3).double().requires_grad_(False)

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return F.linear(input=x, weight=self.layer.weight)

    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    found = capture(Odd(), [x], {"w": layer.weight})["w"]
    flat = x.reshape(-1, 5)
    torch.testing.assert_close(found, (flat.T @ flat / len(flat)).unsqueeze(0))


def test_a_weight_used_twice_collects_both_inputs():
    torch.manual_seed(0)
    layer = nn.Linear(4, 4).double().requires_grad_(False)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(self.layer(x))

    x = torch.randn(6, 4, dtype=torch.float64)
    inputs = torch.cat([x, layer(x)])
    found = capture(Twice(), [x], {"w": layer.weight})["w"][0]
    torch.testing.assert_close(found, inputs.T @ inputs / len(inputs))


def test_a_weight_that_is_never_called_is_missing():
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)
    assert set(capture(layer, [torch.ones(1, 4)], {"a": layer.weight, "b": other.weight})) == {"a"}
