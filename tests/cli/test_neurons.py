"""The commands of neurons, traces and triggers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from spade_core.cli import build_parser, main
from spade_core.cli.options import trace_options

pytestmark = pytest.mark.usefixtures("models_once")
TRACE = ["--preset", "uniform", "--sparsity", "0.3", "--views", "2", "--solver", "magnitude"]
QUICK = [*TRACE, "--calibration", "independent", "--device", "cpu"]


def said(capsys):
    return json.loads(capsys.readouterr().out)


@pytest.mark.long
def test_visualize_writes_both_images_and_a_manifest(tmp_path, capsys):
    arguments = ["visualize", "--image", "bundled:koala", "--steps", "4", "--size", "32", *QUICK]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    found = said(capsys)
    assert found["neuron"]["label"] == "koala"
    assert found["images"]["dense"]["steps"] == 4
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"dense.png", "spade.png", "manifest.json"} <= names
    assert Image.open(tmp_path / "a" / "dense.png").size == (32, 32)
    assert main([*arguments, "--out", str(tmp_path / "b")]) == 0
    for name in ("dense.png", "spade.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["kind"] == "visualization"
    assert main(["replay", str(tmp_path / "a"), "--json"]) == 0
    capsys.readouterr()
    manifest["images"]["dense"]["sha256"] = "0" * 64
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    assert main(["replay", str(tmp_path / "a")]) == 1
    assert "dense  differs" in capsys.readouterr().out
    assert manifest["fidelity"]["label"] == "koala"


@pytest.mark.parametrize(
    ("command", "given", "expected"),
    [
        ("visualize", [], {"preset": "drawing"}),
        ("visualize", ["--preset", "default"], {"preset": "default"}),
        ("visualize", ["--sparsity", "0.4"], {"sparsity": 0.4}),
        ("visualize", ["--stage", "blocks.1=0.4", "--views", "3"], {"stages": {"blocks.1": 0.4}, "views": 3}),
        ("explain", ["--method", "saliency"], {"preset": "default"}),
    ],
)
def test_a_command_takes_the_preset_that_suits_it_unless_told_otherwise(command, given, expected):
    options = build_parser().parse_args([command, "--image", "bundled:koala", "--out", "x", *given])
    found = trace_options(options)
    assert found.pop("solver") == "fastspade"
    assert found == expected


def test_visualize_takes_any_channel_or_class(tmp_path, capsys):
    rest = ["--steps", "1", "--render-size", "32", *QUICK, "--out", str(tmp_path), "--json"]
    layer = ["--layer", "blocks.4.0.conv_pw", "--channel", "5", "--position", "1,2", "--target", "espresso"]
    assert main(["visualize", "--image", "bundled:koala", *layer, *rest]) == 0
    found = said(capsys)
    assert found["target"]["index"] == found["fidelity"]["target"] == 967
    neuron = found["neuron"]
    assert (neuron["layer"], neuron["channel"], neuron["position"]) == ("blocks.4.0.conv_pw", 5, [1, 2])
    assert main(["visualize", "--image", "bundled:koala", "--class", "espresso", *rest]) == 0
    found = said(capsys)
    assert found["neuron"]["channel"] == found["target"]["index"] == 967


def test_visualize_takes_a_direction_and_matches_the_pictures_activation(tmp_path, capsys):
    (tmp_path / "weights.txt").write_text(",".join(["0"] * 319 + ["1"]))
    layer = ["--layer", "blocks.6.0.conv_pwl", "--direction", str(tmp_path / "weights.txt")]
    rest = ["--steps", "2", "--size", "32", *QUICK, "--json"]
    digests = []
    for weight in ("0", "5"):
        out = str(tmp_path / weight)
        assert main(["visualize", "--image", "bundled:koala", *layer, *rest, "--matching", weight, "--out", out]) == 0
        digests.append({side: image["sha256"] for side, image in said(capsys)["images"].items()})
    assert digests[0]["dense"] != digests[1]["dense"]
    assert digests[0]["spade"] != digests[1]["spade"]


@pytest.mark.long
def test_visualize_makes_several_drawings_and_replays_them(tmp_path, capsys):
    few = ["visualize", "--image", "bundled:koala", "--steps", "2", "--size", "32", *QUICK, "--json"]
    how = ["--parametrization", "maco", "--start", "picture"]
    assert main([*few, *how, "--images", "2", "--out", str(tmp_path / "a")]) == 0
    output = capsys.readouterr()
    assert "began from the picture" in output.err
    found = json.loads(output.out)
    assert list(found["images"]) == ["dense", "spade", "dense_1", "spade_1"]
    assert (tmp_path / "a" / "spade_1.png").is_file()
    config = json.loads((tmp_path / "a" / "manifest.json").read_text())["config"]
    assert (config["images"], config["render"]["diversity"]) == (2, 10)
    assert (config["render"]["parametrization"], config["render"]["start"]) == ("maco", "picture")
    assert main(["replay", str(tmp_path / "a")]) == 0
    assert "spade_1" in capsys.readouterr().out
    assert main([*few, "--diversity", "1", "--out", str(tmp_path / "b")]) == 2
    assert "at least two" in capsys.readouterr().err


def test_the_size_of_own_weights_has_its_own_name_beside_the_drawings(tmp_path, capsys):
    own = ["--weights", str(tmp_path / "none.pt"), "--arch", "resnet18", "--input-size", "64"]
    assert main(["visualize", "--image", "bundled:koala", "--size", "32", *own, "--out", str(tmp_path)]) == 2
    assert "none.pt" in capsys.readouterr().err


def test_neurons_explains_the_class_it_is_given(capsys):
    arguments = ["neurons", "--image", "bundled:koala", "--layer", "blocks.6.0.conv_pwl", "--by", "gradient", *QUICK]
    found = []
    for rest in ([], ["--class", "koala"], ["--class", "espresso"]):
        assert main([*arguments, *rest, "--json"]) == 0
        found.append(said(capsys))
    assert found[0] == found[1] != found[2]


def test_neurons_ranks_channels(capsys):
    arguments = ["neurons", "--image", "bundled:koala", "--layer", "blocks.6.0.conv_pw", "--top", "4", *QUICK]
    assert main([*arguments, "--by", "gradient", "--json"]) == 0
    rows = said(capsys)
    assert len(rows) == 4
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("channel  activation")


def test_trace_writes_a_file_that_loads(tmp_path, capsys, lite0):
    from spade_core import load_picture, load_trace, predict

    out = tmp_path / "deep" / "trace.safetensors"
    assert main(["trace", "--image", "bundled:koala", *QUICK, "--out", str(out), "--json"]) == 0
    found = said(capsys)
    assert found["sparsity"] == pytest.approx(0.3, abs=0.01)
    back = load_trace(out, model=lite0)
    probability = predict(back, load_picture("bundled:koala"))[105]
    assert probability == pytest.approx(found["fidelity"]["trace_probability"], abs=1e-5)


def test_trojan_paste_writes_picture_and_mask(tmp_path, capsys):
    arguments = ["trojan", "paste", "--image", "bundled:coffee", "--trigger", "heart", "--size", "50"]
    assert main([*arguments, "--position", "20,100", "--out", str(tmp_path), "--json"]) == 0
    found = said(capsys)
    assert found["target"] == 105
    assert abs(found["box"][0] - 20) <= 6
    assert abs(found["box"][1] - 100) <= 6
    mask = np.asarray(Image.open(tmp_path / "mask.png")) > 0
    assert mask.shape == (224, 224)
    assert mask.sum() == found["mask_pixels"]


@pytest.mark.long
def test_explain_scores_maps_against_a_trigger_and_replays(tmp_path, capsys):
    place = ["--trigger", "heart", "--trigger-size", "50", "--trigger-position", "20,100"]
    model = ["--model", "efficientnet_lite0_trojan"]
    arguments = ["explain", "--image", "bundled:coffee", "--method", "saliency", *model, *place, *QUICK]
    assert main([*arguments, "--out", str(tmp_path), "--json"]) == 0
    found = said(capsys)
    assert found["target"]["index"] == 105
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    scores = manifest["methods"]["saliency"]["dense"]
    assert scores["trojan_auc"] > 60
    assert scores["pointing_game"] in (True, False)
    assert np.load(tmp_path / "mask.npy").dtype == bool
    assert main(["replay", str(tmp_path), "--json"]) == 0
    assert said(capsys)["identical"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["visualize", "--image", "bundled:koala", "--layer", "nowhere", "--channel", "1"], "no layer 'nowhere'"),
        (["visualize", "--image", "bundled:koala", "--layer", "classifier"], "give both --layer and --channel"),
        (["visualize", "--image", "bundled:koala", "--class", "1", "--channel", "1"], "leave --layer and --channel"),
        (["visualize", "--image", "bundled:koala", "--position", "1,1"], "give --layer and --channel too"),
        (["visualize", "--image", "bundled:koala", "--class", "1", "--position", "1,1"], "leave --layer and --channel"),
        (["visualize", "--image", "bundled:koala", "--direction", "a.txt"], "goes with --layer alone"),
        (["visualize", "--image", "bundled:koala", "--layer", "logits", "--direction", "a.txt"], "no numbers"),
        (["visualize", "--image", "bundled:koala", "--steps", "0"], "between 1 and"),
        (["visualize", "--image", "bundled:koala", "--parametrization", "pixels"], "take one of fourier, maco"),
        (["visualize", "--image", "bundled:koala", "--start", "grey"], "take one of noise, picture"),
        (["visualize", "--image", "bundled:unicorn"], "no bundled picture"),
        (["explain", "--image", "bundled:koala", "--method", "saliency", "--trigger-size", "50"], "give --trigger too"),
        (["explain", "--image", "bundled:koala", "--method", "saliency", "--trigger", "skull"], "heart, smiley"),
        (["trojan", "paste", "--image", "bundled:koala", "--trigger", "skull"], "heart, smiley"),
        (["trojan", "train", "--images", "nowhere"], "no folder"),
    ],
)
def test_errors_are_one_sentence_and_exit_2(arguments, words, tmp_path, capsys):
    quick = QUICK if arguments[0] == "visualize" else []
    assert main([*arguments, *quick, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
