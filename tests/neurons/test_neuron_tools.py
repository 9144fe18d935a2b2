"""Rankings, regions, reference crops, embeddings, facets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from spade_core.errors import ConfigError, LayerError
from spade_core.models.embedding import cosine_distances, embed
from spade_core.models.layers import share_copy
from spade_core.neurons import RANKINGS, Neuron
from spade_core.neurons import references as references_module
from spade_core.neurons.facets import facets
from spade_core.neurons.ranking import most_active_region, rank_channels, region_around
from spade_core.neurons.references import reference_crops
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.pictures.picture import load_picture
from spade_core.pruning.spade import trace


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    for index in range(12):
        pixels = np.random.default_rng(index).integers(0, 256, (20 + index, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    return folder


@pytest.fixture(scope="module")
def made(small, noise):
    return trace(small, noise, sparsity=0.5, views=4)


def slow_maps(network, model, picture, layer):
    seen = {}
    twin = share_copy(network)
    twin.get_submodule(layer).register_forward_hook(lambda _m, _a, y: seen.update(y=y))
    with torch.enable_grad():
        logits = twin(model.preprocessing(picture).requires_grad_())
        return logits, seen["y"]


@pytest.mark.parametrize("by", RANKINGS)
def test_rankings_are_what_they_say(small, noise, made, by):
    logits, y = slow_maps(small.module, small, noise, "pointwise")
    (gradient,) = torch.autograd.grad(logits[0, made.fidelity.target], y)
    left, pruned = slow_maps(made.module, small, noise, "pointwise")
    (its,) = torch.autograd.grad(left[0, made.fidelity.target], pruned)
    expected = {
        "activation": [float(y[0, c].mean()) for c in range(12)],
        "gradient": [float((y * gradient)[0, c].sum()) for c in range(12)],
        "kept": [float((pruned * its)[0, c].sum()) for c in range(12)],
        "change": [float((pruned - y)[0, c].norm() / y[0, c].norm()) for c in range(12)],
    }[by]
    found = rank_channels(made, noise, "pointwise", by=by, top=None)
    assert [score.channel for score in found] == sorted(range(12), key=lambda c: -expected[c])
    for score in found:
        assert score.score == pytest.approx(expected[score.channel], rel=1e-4, abs=1e-6)
        assert y[0, score.channel][score.place] == y[0, score.channel].max()
        assert score.region == region_around(score.place, y.shape[2:], 16)
        assert score.dense == pytest.approx(float((y * gradient)[0, score.channel].sum()), rel=1e-4, abs=1e-6)
        assert score.spade == pytest.approx(float((pruned * its)[0, score.channel].sum()), rel=1e-4, abs=1e-6)
    assert len(rank_channels(made, noise, "pointwise", by=by, top=3)) == 3


def test_rankings_refuse_what_is_unknown(made, noise):
    with pytest.raises(ConfigError, match="activation, gradient"):
        rank_channels(made, noise, "pointwise", by="beauty")
    with pytest.raises(LayerError, match="did you mean"):
        rank_channels(made, noise, "pointwis")


def test_a_region_lies_around_its_place_and_inside_the_input():
    assert region_around((3, 3), (7, 7), 224) == (80, 80, 144, 144)
    assert region_around((0, 6), (7, 7), 224) == (0, 160, 64, 224)
    assert region_around((0, 0), (1, 1), 224) == (0, 0, 224, 224)


def test_the_most_active_region_holds_the_largest_value(small, noise):
    _, y = slow_maps(small.module, small, noise, "pointwise")
    region, value = most_active_region(small, noise, Neuron("pointwise", 4))
    row, column = divmod(int(y[0, 4].argmax()), y.shape[3])
    assert value == float(y[0, 4].max())
    assert region[0] <= row < region[2]
    assert region[1] <= column < region[3]


def test_references_are_the_most_activating_pictures_and_computed_once(small, folder, tmp_path, monkeypatch):
    crops = reference_crops(small, folder, "pointwise", 5, keep_in=tmp_path)
    values = {}
    for path in sorted(folder.glob("[0-9]*.png")):
        _, y = slow_maps(small.module, small, load_picture(path), "pointwise")
        values[path.name] = float(y[0, 5].max())
    best = sorted(values, key=lambda name: -values[name])[:9]
    assert [crop.file for crop in crops] == best
    assert [crop.value for crop in crops] == pytest.approx([values[name] for name in best], rel=1e-5)
    assert {crop.pixels.shape for crop in crops} == {(5, 5, 3)}
    monkeypatch.setattr(references_module, "_scan", lambda *_: pytest.fail("scanned again"))
    again = reference_crops(small, folder, "pointwise", 5, keep_in=tmp_path)
    assert [crop.file for crop in again] == best
    assert len(reference_crops(small, folder, "pointwise", 0, keep_in=tmp_path, count=3)) == 3


def test_references_of_a_single_neuron_are_those_that_excite_it_at_its_place(small, folder, tmp_path):
    values, places = {}, {}
    for path in sorted(folder.glob("[0-9]*.png")):
        _, y = slow_maps(small.module, small, load_picture(path), "pointwise")
        values[path.name] = float(y[0, 5, 3, 12])
        places[path.name] = int(y[0, 5].argmax())
    best = sorted(values, key=lambda name: -values[name])[:9]
    crops = reference_crops(small, folder, "pointwise", 5, keep_in=tmp_path, position=(3, 12))
    assert [crop.file for crop in crops] == best
    assert [crop.value for crop in crops] == pytest.approx([values[name] for name in best], rel=1e-5)
    top, left, bottom, right = region_around((3, 12), (16, 16), 16)
    for crop in crops:
        shown = small.preprocessing.crop(load_picture(folder / crop.file))[top:bottom, left:right]
        assert np.array_equal(crop.pixels, shown)
    whole = reference_crops(small, folder, "pointwise", 5, keep_in=tmp_path)
    assert [crop.file for crop in whole] != best, "a table of its own"
    with pytest.raises(LayerError, match="16 x 16 places"):
        reference_crops(small, folder, "pointwise", 5, keep_in=tmp_path, position=(16, 0))


def test_references_refuse_an_absent_or_empty_folder(small, tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        reference_crops(small, tmp_path / "nowhere", "pointwise", 0, keep_in=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no pictures"):
        reference_crops(small, tmp_path / "empty", "pointwise", 0, keep_in=tmp_path)
    (tmp_path / "empty" / "a.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match="no readable pictures"):
        reference_crops(small, tmp_path / "empty", "pointwise", 0, keep_in=tmp_path)


def test_embeddings_are_the_classifiers_inputs(small, noise):
    seen = {}
    twin = share_copy(small.module)
    twin.head.register_forward_pre_hook(lambda _m, args: seen.update(x=args[0]))
    pixels = small.preprocessing.crop(noise)
    with torch.no_grad():
        twin(small.preprocessing.normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255))
    expected = torch.nn.functional.normalize(seen["x"], dim=1)[0].numpy()
    np.testing.assert_allclose(embed(small, [pixels])[0], expected, atol=1e-6)


def test_cosine_distances_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert cosine_distances(vectors).tolist() == [1.0, 2.0, 1.0]
    assert cosine_distances(vectors[:1], vectors[1:]).tolist() == [[1.0, 2.0]]


def test_facets_draw_one_image_a_picture_and_one_a_seed(small, noise, coffee, untouched):
    config = RenderConfig(steps=3, size=24, transforms=False)
    with untouched(small):
        found = facets(
            small, [noise, coffee], Neuron("logits", 3), config, trace_options={"sparsity": 0.5, "views": 2}, seeds=3
        )
    assert (len(found.spade), len(found.dense), len(found.between), len(found.within)) == (2, 3, 1, 3)
    assert {made.fidelity.target for made in found.traces} == {3}
    assert found.traces[0].picture_sha256 == noise.sha256
    assert not np.array_equal(found.dense[0].image, found.dense[1].image)
    alone = render(small, {"dense": small.module}, [Neuron("logits", 3)], config)["dense"][0]
    assert np.abs(found.dense[0].image.astype(int) - alone.image.astype(int)).max() <= 1
    assert not np.array_equal(found.spade[0].image, found.spade[1].image)


def test_each_dense_seed_has_its_own_transforms_and_the_first_shares_everything_with_spade(small, noise, coffee):
    config, neuron = RenderConfig(steps=3, size=24), Neuron("logits", 3)
    done = []
    found = facets(
        small,
        [noise, coffee],
        neuron,
        config,
        trace_options={"sparsity": 0.0, "views": 2},
        seeds=3,
        progress=lambda now, *_: done.append(now),
    )
    assert done == sorted(done)
    for number, item in enumerate(found.dense):
        other = RenderConfig(steps=3, size=24, seed=number)
        alone = render(small, {"dense": small.module}, [neuron], other)["dense"][0]
        assert item.seed % 1000 == number
        assert np.array_equal(item.image, alone.image)
    for item in found.spade:  # nothing was pruned: only the weights may make a difference
        assert np.array_equal(item.image, found.dense[0].image)


def test_an_early_stop_holds_for_the_whole_row(small, noise, coffee):
    config = RenderConfig(steps=60, size=24, rate=1e-9, patience=3)
    found = facets(
        small, [noise, coffee], Neuron("pointwise", 2), config, trace_options={"sparsity": 0.5, "views": 2}, seeds=2
    )
    assert {item.steps for item in found.spade} == {found.dense[0].steps}
    assert found.dense[0].steps < 60
