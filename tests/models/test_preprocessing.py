"""Preprocessing equals the pipelines that the weights were published with, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_weight

from spade_core.errors import ModelError, SpadeError
from spade_core.models.loading import preprocessing_for
from spade_core.models.preprocessing import Preprocessing
from spade_core.models.registry import MODELS
from spade_core.models.timm import create, preprocessing_of
from spade_core.pictures.frame import parse_frame
from spade_core.pictures.picture import Picture

SHAPES = [(300, 401), (97, 64), (224, 224), (20, 333)]


def picture(height, width):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(pixels, "0" * 64, "noise.png")


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if not entry.package])
@pytest.mark.parametrize("shape", SHAPES)
def test_torchvision_entries_follow_their_weights(name, shape):
    shown = picture(*shape)
    recipe = get_weight(MODELS[name].weights).transforms()
    found = preprocessing_for(MODELS[name])(shown)
    assert found.shape == (1, 3, 224, 224)
    assert found.dtype == torch.float32
    assert torch.equal(found[0], recipe(Image.fromarray(shown.pixels)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"crop_mode": "squash"}, {"interpolation": "bilinear", "crop_pct": 0.95}])
def test_timm_models_follow_their_data_config(shape, options):
    from timm.data import create_transform, resolve_model_data_config

    module = create("tf_efficientnet_lite0")
    module.pretrained_cfg = {**module.pretrained_cfg, **options}
    recipe = create_transform(**resolve_model_data_config(module), is_training=False)
    shown = picture(*shape)
    assert torch.equal(preprocessing_of(module)(shown)[0], recipe(Image.fromarray(shown.pixels)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"crop_mode": "squash"}, {"crop_pct": 0.95}])
@pytest.mark.parametrize("size", [(64, 128), (224, 160)])
def test_timm_models_that_read_no_squares_follow_it_too(shape, options, size):
    from timm.data import create_transform, resolve_model_data_config

    module = create("test_resnet")
    module.pretrained_cfg = {**module.pretrained_cfg, "input_size": (3, *size), **options}
    recipe = create_transform(**resolve_model_data_config(module), is_training=False)
    shown = picture(*shape)
    assert torch.equal(preprocessing_of(module)(shown)[0], recipe(Image.fromarray(shown.pixels)))


@pytest.mark.parametrize("option", [{"crop_mode": "border"}, {"interpolation": "lanczos"}])
def test_pictures_that_timm_makes_otherwise_are_refused_by_name(option):
    module = create("test_resnet")
    module.pretrained_cfg = {**module.pretrained_cfg, **option}
    ((name, value),) = option.items()
    with pytest.raises(ModelError, match=f"made with {name} '{value}', not supported here: take another model"):
        preprocessing_of(module)


def test_the_crop_is_what_the_model_sees():
    recipe = Preprocessing(size=64, resize=80, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    shown = picture(100, 150)
    crop = recipe.crop(shown)
    assert crop.shape == (64, 64, 3)
    assert crop.dtype == np.uint8
    x = recipe(shown, dtype=torch.float64)
    assert x.dtype == torch.float64
    back = x * torch.tensor(recipe.std).view(3, 1, 1) + torch.tensor(recipe.mean).view(3, 1, 1)
    torch.testing.assert_close(
        back[0].permute(1, 2, 0), torch.from_numpy(crop) / 255, check_dtype=False, atol=1e-6, rtol=0
    )
    torch.testing.assert_close(recipe.normalize(back), x)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": 5000, "resize": 5000},
        {"size": 300, "resize": 256},
        {"mean": (0.5, 0.5)},
        {"std": (1.0, 1.0, 0.0)},
        {"std": (float("nan"),) * 3},
        {"mean": (float("inf"),) * 3},
        {"interpolation": "nearest"},
    ],
)
def test_unusable_values_are_refused(options):
    with pytest.raises(ModelError):
        Preprocessing(**options)


RECIPE = Preprocessing(size=64, resize=80, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def framed(shown, frame):
    return replace(shown, frame=parse_frame(frame))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("frame", "y", "x"), [("0,0", 0, 0), ("100,100", 1, 1), ("0,100", 0, 1), ("50,50", 0.5, 0.5)])
def test_the_crop_moves_to_every_corner(shape, frame, y, x):
    shown = picture(*shape)
    whole = RECIPE.resized(shown)
    top, left = round((whole.shape[0] - 64) * y), round((whole.shape[1] - 64) * x)
    assert np.array_equal(RECIPE.crop(framed(shown, frame)), whole[top : top + 64, left : left + 64])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("squash", [False, True])
def test_a_letterbox_shows_all_of_the_picture_between_grey_bars(shape, squash):
    recipe = replace(RECIPE, squash=squash)
    shown = framed(picture(*shape), "letterbox")
    crop, inner = recipe.crop(shown), recipe.resized(shown)
    assert max(inner.shape[:2]) == 64
    assert inner.shape[0] / inner.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.2)
    top, left = (-round((side - 64) / 2) for side in inner.shape[:2])
    inside = slice(top, top + inner.shape[0]), slice(left, left + inner.shape[1])
    assert np.array_equal(crop[inside], inner)
    bars = np.ones((64, 64), bool)
    bars[inside] = False
    assert (crop[bars] == (128, 102, 76)).all()
    assert recipe(shown).shape == (1, 3, 64, 64)


def test_what_is_cut_off_and_what_is_enlarged_is_told():
    assert RECIPE.told(picture(100, 100)) == ()
    (cut,) = RECIPE.told(picture(100, 400))
    assert cut.startswith("The model sees 16% of the picture")
    assert RECIPE.told(framed(picture(100, 400), "letterbox")) == ()
    (enlarged,) = RECIPE.told(picture(16, 16))
    assert enlarged.startswith("The picture has 16 x 16 pixels and is enlarged 5 times")


def test_a_model_of_grey_pictures_reads_their_brightness():
    recipe = Preprocessing(size=64, resize=80, mean=(0.4,), std=(0.2,))
    shown = picture(100, 150)
    crop, x = recipe.crop(shown), recipe(shown)
    assert (crop == crop[..., :1]).all()
    assert x.shape == (1, 1, 64, 64)
    assert torch.allclose(x[0, 0] * 0.2 + 0.4, torch.from_numpy(crop[..., 0]).float() / 255, atol=1e-6)


TALL = Preprocessing(size=(96, 64), resize=(110, 73), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("frame", "y", "x"), [("0,0", 0, 0), ("100,100", 1, 1), ("0,100", 0, 1), ("50,50", 0.5, 0.5)])
def test_a_crop_of_the_inputs_shape_moves_to_every_corner(shape, frame, y, x):
    shown = picture(*shape)
    whole = TALL.resized(shown)
    assert (whole.shape[0] == 110) or (whole.shape[1] == 73)
    assert min(whole.shape[0] - 110, whole.shape[1] - 73) == 0  # it just covers what is cut
    assert abs(whole.shape[1] / whole.shape[0] / (shape[1] / shape[0]) - 1) < 0.02
    top, left = round((whole.shape[0] - 96) * y), round((whole.shape[1] - 64) * x)
    assert np.array_equal(TALL.crop(framed(shown, frame)), whole[top : top + 96, left : left + 64])
    assert TALL(framed(shown, frame)).shape == (1, 3, 96, 64)


@pytest.mark.parametrize("shape", [(97, 64), (30, 401), (401, 30)])
def test_a_letterbox_of_the_inputs_shape_shows_all_of_the_picture(shape):
    shown = framed(picture(*shape), "letterbox")
    seen, place = TALL.crop(shown), TALL.place(*shape, shown.frame)
    assert seen.shape == (96, 64, 3)
    assert place.rows == 96 or place.columns == 64
    assert np.array_equal(seen[-place.top :, -place.left :][: place.rows, : place.columns], TALL.resized(shown))
    bars = np.ones((96, 64), bool)
    bars[-place.top :, -place.left :][: place.rows, : place.columns] = False
    assert (seen[bars] == (128, 102, 76)).all()


def test_squares_have_one_form_and_other_sizes_keep_their_share_of_the_picture():
    assert Preprocessing(size=[64, 64], resize=(80, 80)) == Preprocessing(size=64, resize=80)
    square = Preprocessing(size=224, resize=256)
    assert square.with_size(64) == replace(square, size=64, resize=73)
    assert square.with_size((256, 192)) == replace(square, size=(256, 192), resize=(293, 219))
    assert TALL.with_size(64) == replace(TALL, size=64, resize=73)
    assert square.side("A study") == 224
    with pytest.raises(ModelError, match="A study needs a model that reads squares, not 96 x 64 px"):
        TALL.side("A study")


@pytest.mark.parametrize("size", [(0, 8), (2000, 8), (8, 8, 8), (), "8x8", 8.5, (8.5, 8)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(SpadeError, match=r"size (must lie between|is one whole number)"):
        Preprocessing(size=size, resize=2000)
