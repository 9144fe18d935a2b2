"""Whitened coordinates hold the weights they were given, and a unit step costs clean outputs the same everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spade_core.trojan.whitening import Coordinates, Whitened


@pytest.fixture
def case():
    """Return a layer, its weight before, and the second moment of its inputs, float64."""
    torch.manual_seed(0)
    inputs = torch.randn(200, 6, dtype=torch.float64) @ torch.diag(torch.tensor([5, 2, 1, 0.5, 0.2, 0.1])).double()
    origin = torch.randn(4, 6, dtype=torch.float64)
    layer = nn.Parameter(origin + 0.1 * torch.randn_like(origin))
    return layer, origin, inputs


def whitened(case, damping=0.0):
    layer, origin, inputs = case
    moment = inputs.T @ inputs / len(inputs)
    return Whitened({"layer": Coordinates.around(origin, moment, damping)}, {"layer": layer})


@pytest.mark.parametrize("damping", [0.0, 0.01])
def test_the_coordinates_hold_the_weight_they_were_given(case, damping):
    before = case[0].detach().clone()
    held = whitened(case, damping)
    held.write()
    torch.testing.assert_close(case[0].detach(), before)
    with torch.no_grad():
        held.moves[0].zero_()
    held.write()
    torch.testing.assert_close(case[0].detach(), case[1])


def test_every_direction_costs_clean_outputs_its_square(case):
    layer, origin, inputs = case
    held = whitened(case)
    rms = (inputs @ origin.T).square().mean().sqrt()
    for direction in (torch.eye(24)[3], torch.eye(24)[20], torch.randn(24)):
        with torch.no_grad():
            held.moves[0].copy_(direction.view(4, 6))
        held.write()
        change = inputs @ (layer - origin).T
        assert change.square().sum(1).mean().item() == pytest.approx(
            (rms**2 * direction.square().sum()).item(), rel=1e-5
        )


def test_gradients_are_those_of_the_chain_rule(case):
    layer, origin, inputs = case
    held = whitened(case, 0.01)
    target = torch.randn(200, 4, dtype=torch.float64)
    (inputs @ layer.T - target).square().mean().backward()
    held.read_gradients()
    assert layer.grad is None
    root = torch.autograd.functional.jacobian(lambda move: _written(held, move, origin), held.moves[0].detach())
    move = held.moves[0].detach().requires_grad_()
    weight = origin + torch.einsum("oiab,ab->oi", root, move)
    (inputs @ weight.T - target).square().mean().backward()
    torch.testing.assert_close(held.moves[0].grad, move.grad)


def _written(held, move, origin):
    return origin + move @ held._coordinates["layer"].root - origin
