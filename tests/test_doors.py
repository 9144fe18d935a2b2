"""The library's doors refuse what is of another kind by one sentence that says what they take."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import spade_core as sc
from tests.nets import plain


def kind(given):
    return type(given).__name__


NETWORKS = [nn.Linear(1, 1).state_dict(), nn.Linear, None, "resnet50", lambda x: x]
OTHERS = [None, "efficientnet_lite0", nn.Linear(1, 1), torch.zeros(1, 3, 16, 16), np.zeros((16, 16, 3))]


@pytest.fixture(scope="module")
def model():
    return plain()


@pytest.fixture(scope="module")
def picture():
    return sc.load_picture(Image.new("RGB", (20, 20), (200, 30, 30)), name="red.png")


def refuses(pattern, call, *given, **options):
    with pytest.raises(sc.SpadeError, match=pattern) as caught:
        call(*given, **options)
    assert len(re.findall(r"[.?!](?=\s|$)", str(caught.value))) <= 2


@pytest.mark.parametrize("given", NETWORKS, ids=kind)
def test_only_a_network_is_wrapped(given):
    refuses("is a network, a torch.nn.Module with its weights in it, not an? ", sc.wrap_model, given, size=16)


@pytest.mark.parametrize("labels", ["cats.txt", 5, [0, 1, 2, 3], [None] * 4], ids=repr)
def test_class_names_are_texts(labels):
    refuses("Class names are a list of texts", sc.wrap_model, plain().module, size=16, labels=labels)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"mean": "abc"}, "Mean and std take three numbers"),
        ({"mean": 0.5}, "Mean and std take three numbers"),  # of a grey model alone, with its std
        ({"std": [None] * 3}, "Mean and std take three numbers"),
        ({"size": True}, "A size is one whole number"),
        ({"resize": 0}, r"resized to must lie between the input's \(16\) and 2048 px, not 0"),
        ({"resize": (15, 30)}, "not 15 x 30"),
    ],
)
def test_settings_of_pictures_are_numbers(options, pattern):
    refuses(pattern, sc.wrap_model, plain().module, **{"size": 16, **options})


def test_one_number_is_mean_and_std_of_a_grey_model():
    torch.manual_seed(0)
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    wrapped = sc.wrap_model(grey, size=16, mean=0.4, std=0.3)
    assert wrapped.preprocessing.mean == (0.4,)
    assert wrapped.preprocessing.std == (0.3,)


@pytest.mark.parametrize("other", OTHERS, ids=kind)
def test_models_and_pictures_come_from_their_loaders(model, picture, other):
    refuses("load_model or wrap_model gives, not an? ", sc.trace, other, picture)
    refuses("load_model or wrap_model gives, not an? ", sc.visualize, other, picture)
    refuses("load_model, wrap_model or trace gives, not an? ", sc.predict, other, picture)
    refuses("load_model, wrap_model or trace gives, not an? ", sc.explain, other, picture, method="saliency")
    refuses("load_picture gives, not an? ", sc.trace, model, other)
    refuses("load_picture gives", sc.trace_many, model, other)
    refuses("load_picture gives, not an? ", sc.predict, model, other)
    refuses("load_picture gives, not an? ", sc.explain, model, other, method="saliency")


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "0"], ids=repr)
def test_seeds_are_those_of_torch(model, picture, seed):
    refuses("The seed must be a whole number from 0", sc.trace, model, picture, seed=seed)
    refuses("The seed must be a whole number from 0", sc.explain, model, picture, method="smoothgrad", seed=seed)


def test_an_analysis_has_one_seed():
    refuses("The seed is one for trace and methods", sc.AnalysisConfig, ("saliency",), trace={"seed": 0})


@pytest.mark.parametrize("source", [None, 5, np.zeros((4, 4, 3), np.uint8), torch.zeros(3, 4, 4)], ids=kind)
def test_pictures_are_files_or_images(source):
    refuses("A picture is a file's path, its bytes, or an image of Pillow's, not an? ", sc.load_picture, source)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "YCbCr", "HSV"])
def test_an_image_is_the_picture_that_its_file_is(tmp_path: Path, mode):
    values = np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)
    image = Image.fromarray(values)
    image = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    given = sc.load_picture(image)
    written = image if mode not in ("CMYK", "YCbCr", "HSV") else image.convert("RGB")
    written.save(tmp_path / "image.png")
    assert np.array_equal(given.pixels, sc.load_picture(tmp_path / "image.png").pixels)
    assert given.sha256 == sc.load_picture(image).sha256


def test_an_image_stays_upright():
    image = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(3, 6, 3))
    image.getexif()[0x0112] = 6
    assert sc.load_picture(image).pixels.shape == (6, 3, 3)
