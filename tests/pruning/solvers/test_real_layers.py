"""Exact and fast solver on layers of the embedded model, with the inputs of a real picture."""

from __future__ import annotations

import copy

import pytest
import torch

from spade_core.pruning.calibration import grouped
from spade_core.pruning.moments import capture
from spade_core.pruning.solvers import obs, sparsegpt
from spade_core.pruning.solvers.common import relative_error
from spade_core.pruning.views import random_views

LAYERS = ["blocks.0.0.conv_pw", "blocks.1.1.conv_dw", "blocks.2.0.conv_pw", "blocks.4.0.conv_dw", "blocks.1.0.conv_pwl"]


@pytest.fixture(scope="module")
def moments(lite0, coffee):
    pixels = torch.from_numpy(coffee.pixels.copy()).permute(2, 0, 1)
    views = lite0.preprocessing.normalize(random_views(pixels, 4, 224, seed=0)).double()
    network = copy.deepcopy(lite0.module).double()  # a shared copy would turn the fixture itself into float64
    weights = {name: network.get_submodule(name).weight for name in LAYERS}
    groups = {name: network.get_submodule(name).groups for name in LAYERS}
    limits = dict.fromkeys(LAYERS, 4096)
    found = capture(network, [views], weights, positions=limits)
    return {name: (grouped(weights[name], groups[name]), found[name]) for name in LAYERS}


@pytest.mark.parametrize("sparsity", [0.5, 0.8])
@pytest.mark.parametrize("name", LAYERS)
def test_the_exact_solver_is_never_worse(moments, name, sparsity):
    weight, moment = moments[name]
    exact = obs.prune(weight, moment, sparsity)
    fast = sparsegpt.prune(weight, moment, sparsity, damping=exact.damping)
    assert int((exact.weight == 0).sum()) == int((fast.weight == 0).sum()) == round(sparsity * weight.numel())
    errors = [relative_error(weight, found.weight, moment) for found in (exact, fast)]
    assert errors[0] <= errors[1] * (1 + 1e-9)
    assert errors[0] > 0
