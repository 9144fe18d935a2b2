"""A whole visualization: which region it frames, and progress that never goes back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from spade_core.errors import ConfigError
from spade_core.models.layers import share_copy
from spade_core.neurons import Neuron
from spade_core.neurons.layer_values import maps_of
from spade_core.neurons.ranking import region_around
from spade_core.results.config import MOST_IMAGES, VisualizeConfig
from spade_core.results.drawing import visualization_files, visualize
from spade_core.ui.common import link

RENDER = {"steps": 12, "size": 24, "transforms": False}
TRACE = {"sparsity": 0.4, "views": 2, "solver": "magnitude"}


def draw(small, noise, neuron, **options):
    return visualize(small, noise, VisualizeConfig(neuron, render=RENDER, trace=TRACE), **options)


def test_progress_only_grows(small, noise):
    seen = []
    draw(small, noise, Neuron("pointwise", 2), progress=lambda done, total, _note: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_several_drawings_of_one_neuron_keep_apart_and_share_noise_with_their_partners(small, noise):
    config = VisualizeConfig(Neuron("pointwise", 2), images=3, render={**RENDER, "diversity": 5.0}, trace=TRACE)
    found = visualize(small, noise, config)
    assert list(found.drawings) == ["dense", "spade", "dense_1", "spade_1", "dense_2", "spade_2"]
    assert len({item.image.tobytes() for item in found.drawings.values()}) == 6
    files = visualization_files(found)
    assert {f"{name}.png" for name in found.drawings} < set(files)
    described = json.loads(files["manifest.json"])
    assert list(described["images"]) == list(found.drawings)
    assert VisualizeConfig.from_dict(described["config"]) == config
    alike = visualize(small, noise, replace(config, render=RENDER))
    assert not any((alike.drawings[name].image == item.image).all() for name, item in found.drawings.items())
    unpruned = visualize(small, noise, replace(config, trace={**TRACE, "sparsity": 0.0}))
    for dense, spade in ((unpruned.dense, unpruned.spade), *unpruned.more):
        assert (dense.image == spade.image).all()
    for images in (0, 9):
        with pytest.raises(ConfigError, match="number of images"):
            replace(config, images=images)
    assert MOST_IMAGES == link.MOST_IMAGES


def test_the_region_is_the_largest_values_the_positions_or_the_directions(small, noise):
    seen = {}
    twin = share_copy(small.module)
    twin.get_submodule("pointwise").register_forward_hook(lambda _m, _a, y: seen.update(y=y.detach()[0]))
    x = small.preprocessing(noise)
    twin(x)
    maps, side = seen["y"], x.shape[-1]
    assert torch.equal(maps_of(small.module, x, "pointwise"), maps)
    grid = (maps.shape[1], maps.shape[2])
    weights = tuple(float(channel % 3 - 1) for channel in range(len(maps)))
    cosines = torch.cosine_similarity(torch.tensor(weights)[:, None, None], maps, dim=0)
    largest = divmod(int(maps[2].argmax()), grid[1])
    nearest = divmod(int(cosines.argmax()), grid[1])
    for neuron, place, value in (
        (Neuron("pointwise", 2), largest, maps[2].max()),
        (Neuron("pointwise", 2, position=(1, 3)), (1, 3), maps[2, 1, 3]),
        (Neuron("pointwise", direction=weights), nearest, cosines.max()),
    ):
        found = draw(small, noise, neuron)
        assert found.region == region_around(place, grid, side)
        assert abs(found.value - float(value)) < 1e-5
