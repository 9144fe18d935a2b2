"""One pruning for all of several pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spade_core.errors import ConfigError
from spade_core.pictures.picture import Picture
from spade_core.progress import Cancelled
from spade_core.pruning.moments import capture
from spade_core.pruning.solvers import SOLVERS
from spade_core.pruning.spade import prune_globally


@pytest.fixture(scope="module")
def pictures():
    drawn = np.random.default_rng(3).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)
    return [Picture(pixels, str(number) * 64, "drawn.png") for number, pixels in enumerate(drawn)]


def test_the_global_pruning_is_that_of_the_mean_second_moments(small, pictures):
    options = {"sparsity": 0.5, "calibration": "independent", "positions": 0}
    module, report = prune_globally(small, pictures, **options)
    layer = next(one for one in small.layers if one.name == "pointwise")
    weight = small.module.get_parameter(layer.parameter)
    each = [capture(small.module, [small.input(one)], {layer.parameter: weight})[layer.parameter] for one in pictures]
    solver = SOLVERS["fastspade"]
    moment = torch.stack(each).mean(0)
    expected = solver.prune(weight.flatten(1)[None], moment, 0.5, block_size=1, damping=solver.damping).weight
    torch.testing.assert_close(module.get_parameter(layer.parameter).view_as(expected), expected, rtol=1e-3, atol=1e-5)
    assert report.sparsity == pytest.approx(0.5, abs=0.12)  # the first layer stays dense


def test_it_asks_each_picture_where_its_own_target_is(small, pictures, untouched):
    options = {"sparsity": 0.5, "weighting": "target", "refit": 1.0}
    with untouched(small):
        found = [prune_globally(small, pictures, targets=each, **options)[0] for each in ([0, 1, 2], [2, 1, 0])]
    one, other = (module.get_parameter("pointwise.weight") for module in found)
    assert not torch.equal(one, other)


def test_it_needs_pictures_and_a_table_of_ratios(small, pictures):
    with pytest.raises(ConfigError, match="needs pictures"):
        prune_globally(small, [])
    with pytest.raises(ConfigError, match="searches nothing"):
        prune_globally(small, pictures, preset="auto")


def test_nothing_is_left_behind_by_a_cancel(small, pictures, untouched):
    def stop(done, total, note):
        if done / total > 0.5:
            raise Cancelled

    with untouched(small), pytest.raises(Cancelled):
        prune_globally(small, pictures, preset="weighted", progress=stop)
