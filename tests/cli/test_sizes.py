"""Own weights of an input that is no square, from the command line to the files and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from spade_core.cli import main

QUICK = ["--preset", "uniform", "--sparsity", "0.5", "--views", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "tall.pt"
    torch.manual_seed(0)
    net = timm.create_model("test_vit", img_size=(96, 64), num_classes=3)
    torch.nn.init.normal_(net.head.weight)
    torch.save(net.state_dict(), file)
    return file


def own(weights, size="--size"):
    return ["--weights", str(weights), "--arch", "timm:test_vit", size, "96x64"]


def test_maps_have_the_inputs_shape_and_are_computed_again_from_the_manifest(weights, tmp_path, capsys):
    out = tmp_path / "maps"
    asked = ["explain", "--image", "bundled:dog", *own(weights), "--frame", "0,100", "--method", "saliency"]
    assert main([*asked, *QUICK, "--out", str(out)]) == 0
    assert np.load(out / "spade_saliency.npy").shape == (96, 64)
    with Image.open(out / "spade_saliency.png") as image:
        assert image.width * 3 == image.height * 2
    described = json.loads((out / "manifest.json").read_text())
    assert described["model"]["spec"]["size"] == [96, 64]
    assert main(["replay", str(out / "manifest.json")]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main([*asked, "--size", "96x", "--out", str(out)])
    assert "takes PX or HxW, such as 224 or 256x192, not '96x'" in capsys.readouterr().err


def test_a_class_token_is_drawn_in_the_inputs_shape_and_again_from_the_manifest(weights, tmp_path):
    out = tmp_path / "drawing"
    neuron = ["--layer", "blocks.4@0", "--channel", "3", "--steps", "2", "--size", "48"]
    asked = ["visualize", "--image", "bundled:koala", *own(weights, "--input-size"), *neuron]
    assert main([*asked, *QUICK, "--out", str(out)]) == 0
    described = json.loads((out / "manifest.json").read_text())
    assert described["neuron"]["layer"] == "blocks.4@0"
    assert described["images"]["dense"]["network_size"] == [96, 64]
    for name, size in (("dense", (32, 48)), ("spade", (32, 48)), ("picture", (64, 96))):
        with Image.open(out / f"{name}.png") as image:
            assert image.size == size
    assert main(["replay", str(out / "manifest.json")]) == 0
