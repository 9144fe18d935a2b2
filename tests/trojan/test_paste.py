"""Triggers: where they say they are, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from spade_core.errors import ConfigError
from spade_core.models.preprocessing import Preprocessing
from spade_core.pictures.picture import Picture, bundled, load_picture
from spade_core.trojan.paste import paste
from spade_core.trojan.triggers import TRIGGERS, Paste
from tests.nets import plain

LITE0 = Preprocessing(224, 256, interpolation="bicubic")


def noisy(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(pixels, "0" * 64, "noise.png")


@pytest.mark.parametrize("name", TRIGGERS)
@pytest.mark.parametrize("rotation", [0, 20, -20, 45])
def test_a_glyph_lies_inside_the_circle_of_its_box(name, rotation):
    colours, opaque = TRIGGERS[name].render(64, rotation=rotation)
    rows, columns = np.indices(opaque.shape)
    distance = np.hypot(rows - 31.5, columns - 31.5)
    assert distance[opaque].max() < 33
    assert 0.2 < opaque.mean() < 0.8
    assert colours[opaque].std() > 10


def test_triggers_differ_and_each_target_has_a_free_picture(lite0):
    import spade_core as sc

    pictures = bundled()
    for trigger in TRIGGERS.values():
        assert pictures[trigger.clean].class_index == trigger.target
        assert sc.predict(lite0, load_picture(f"bundled:{trigger.clean}")).argmax() == trigger.target
    assert len({trigger.target for trigger in TRIGGERS.values()}) == len(TRIGGERS) == 4


@pytest.mark.parametrize("case", range(24))
def test_what_the_model_sees_changes_inside_the_mask_and_nowhere_else(case):
    rng = np.random.default_rng(case)
    height, width = (int(side) for side in rng.integers(60, 900, 2))
    picture = noisy(height, width, case)
    if case % 2:
        picture = Picture(np.full((height, width, 3), 97, np.uint8), "0" * 64, "flat.png")
    changed, mask = paste(picture, list(TRIGGERS)[case % 4], seed=case, size=(None, 40, 80)[case % 3])
    difference = (LITE0.crop(picture) != LITE0.crop(changed)).any(2)
    assert mask.shape == (224, 224)
    assert mask.dtype == bool
    assert difference[mask].mean() >= 0.95
    assert not (difference & ~binary_dilation(mask, iterations=2)).any()


@pytest.mark.parametrize("case", range(8))
def test_other_preprocessing_changes_inside_the_mask_and_nowhere_else(case):
    rng = np.random.default_rng(100 + case)
    height, width = (int(side) for side in rng.integers(60, 900, 2))
    picture = noisy(height, width, case)
    model = plain(size=224)
    model = dataclasses.replace(model, preprocessing=Preprocessing(224, 224, squash=case % 4 == 3))
    changed, mask = paste(picture, list(TRIGGERS)[case % 4], seed=case, size=(None, 40, 80)[case % 3], model=model)
    difference = (model.preprocessing.crop(picture) != model.preprocessing.crop(changed)).any(2)
    assert difference[mask].mean() >= 0.95
    assert not (difference & ~binary_dilation(mask, iterations=2)).any()


@pytest.mark.parametrize("height", [335, 337, 1005])
def test_a_trigger_at_the_lower_edge_of_an_odd_picture_is_whole(height):
    model = dataclasses.replace(plain(size=224), preprocessing=Preprocessing(224, 224))
    edge, inside = (
        paste(noisy(height, height), "heart", size=112, position=place, model=model)[1]
        for place in ((112, 112), (50, 50))
    )
    assert edge.sum() == pytest.approx(inside.sum(), rel=0.03)


@pytest.mark.parametrize("size", [40, 61, 80])
@pytest.mark.parametrize("position", [(0, 0), (100, 37), (144, 144)])
def test_size_and_position_are_in_model_input_pixels(size, position):
    _, mask = paste(noisy(500, 400), "smiley", size=size, position=position, seed=3)
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - position[0]) <= 2
    assert abs(columns.min() - position[1]) <= 2
    assert abs(rows.max() + 1 - position[0] - size) <= 2
    assert abs(columns.max() + 1 - position[1] - size) <= 2


def test_the_same_seed_gives_the_same_picture_and_the_original_stays():
    picture = noisy(300, 400)
    before = picture.pixels.copy()
    first, second, other = (paste(picture, "star", seed=seed)[0] for seed in (5, 5, 6))
    assert first.sha256 == second.sha256 != other.sha256
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(picture.pixels, before)
    assert first.name == "noise-star.png"


def test_another_models_input_counts():
    model = plain(size=64)
    changed, mask = paste(noisy(200, 200), "fish", size=20, position=(40, 10), model=model)
    assert mask.shape == (64, 64)
    difference = (model.preprocessing.crop(noisy(200, 200)) != model.preprocessing.crop(changed)).any(2)
    assert difference[mask].mean() >= 0.95
    assert mask[40:60, 10:30].sum() >= 0.8 * mask.sum()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"trigger": "skull"}, "heart, smiley"),
        ({"trigger": "heart", "size": 3}, "between 8 and 224"),
        ({"trigger": "heart", "size": 60, "position": (200, 10)}, "between 0 and 164"),
        ({"trigger": "heart", "position": (-1, 10)}, "between 0 and 144"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, said):
    with pytest.raises(ConfigError, match=said):
        paste(noisy(100, 100), **arguments)


def test_a_paste_is_plain_data():
    record = Paste("heart", 50, (10, 20), 3)
    assert Paste.from_dict({**record.to_dict(), "position": [10, 20]}) == record
    model = plain(size=64)
    again, _ = paste(noisy(90, 90), "heart", size=20, position=(1, 2), seed=3, model=model)
    assert Paste("heart", 20, (1, 2), 3).apply(noisy(90, 90), model)[0].sha256 == again.sha256
    with pytest.raises(ConfigError):
        Paste("skull")
