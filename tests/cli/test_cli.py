"""The command line: its function as people would call it, and in a process of its own where that matters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spade_core.cli import build_parser, main
from spade_core.pictures.picture import bundled
from spade_core.reports import FORMS, Form
from tests.hostile import hostile_files
from tests.models import test_weights

pytestmark = pytest.mark.usefixtures("models_once")
ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = ["--views", "2", "--solver", "magnitude", "--calibration", "independent", "--sparsity", "0.2"]


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "spade_core", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        **options,
    )


@pytest.mark.parametrize("command", ["models", "pictures", "methods"])
def test_lists_print_tables_and_json(command, capsys):
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main([command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(lines) >= len(rows) >= 6


def test_layers_lists_names_shapes_and_stages(capsys):
    assert main(["layers", "--model", "efficientnet_lite0", "--device", "cpu", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"name": "classifier", "kind": "linear", "shape": [1000, 1280], "stage": "classifier"} in rows


def test_explain_makes_the_mean_of_several_traces_and_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Form, "make", lambda form, files, crop: f"{form.label}, {len(crop)} px".encode())
    out = tmp_path / "out"
    asked = [
        "explain",
        "--image",
        "bundled:coffee",
        "--method",
        "saliency",
        "--device",
        "cpu",
        "--out",
        str(out),
        *QUICK,
    ]
    assert main([*asked, "--traces", "2", "--average", "signed", "--seed", "5", "--report"]) == 0
    assert "traces            2, mean of their maps (signed)" in capsys.readouterr().out
    described = json.loads((out / "manifest.json").read_text())
    assert described["config"]["bundle"] == {"traces": 2, "average": "signed"}
    assert [one["seed"] for one in described["traces"]] == [5, 6]
    assert np.load(out / "spread_saliency.npy").shape == (224, 224)
    assert {form.name: (out / form.name).read_text() for form in FORMS} == {
        form.name: f"{form.label}, 224 px" for form in FORMS
    }
    assert main([*asked, "--traces", "0"]) == 2
    assert "The number of traces must lie between 1 and 64, not 0." in capsys.readouterr().err


def test_explain_tells_which_method_has_which_trace(tmp_path, capsys):
    own = {"lrp": {"classifier": 0.5}, "guided_backprop": "dense"}
    tuned = {"stages": {"classifier": 0.9}, "options": {"views": 1}, "methods": own}
    (tmp_path / "table.json").write_text(json.dumps(tuned))
    methods = ["--method", "saliency", "--method", "guided_backprop"]
    where = ["--image", "bundled:coffee", "--device", "cpu", "--out", str(tmp_path / "out")]
    asked = ["explain", *where, *methods, "--table", str(tmp_path / "table.json"), "--solver", "magnitude"]
    assert main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("ratios of methods")
    assert lines[at + 1].startswith("  saliency: ")
    assert lines[at + 2] == "  guided_backprop: dense, by the table"
    described = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [one["methods"] for one in described["traces"]] == [["saliency"], ["guided_backprop"]]


@pytest.mark.long
def test_explain_writes_what_it_says_and_replay_finds_the_same_bits_in_another_process(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "explain",
        "--model",
        "efficientnet_lite0",
        "--image",
        "bundled:coffee",
        "--method",
        "saliency",
        "--method",
        "input_x_gradient",
        "--views",
        "2",
        "--target",
        "espresso",
        "--device",
        "cpu",
        "--out",
        str(out),
        "--json",
    ]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"] == {"index": 967, "label": "espresso"}
    assert found["sparsity"] > 0.4
    assert found["seconds"]["command"] > 0
    assert found["fidelity"]["keeps_class"]
    names = {path.name for path in out.iterdir()}
    assert {
        f"{side}_{slug}.{kind}" for side in ("dense", "spade") for slug in found["methods"] for kind in ("npy", "png")
    } <= names
    assert np.load(out / "spade_saliency.npy").shape == (224, 224)
    again = run("replay", str(out / "manifest.json"), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["identical"]
    assert len(json.loads(again.stdout)["differences"]) == 4


def test_replay_finds_a_picture_given_by_a_relative_path(tmp_path, monkeypatch, capsys):
    from spade_core.pictures.picture import bundled

    (tmp_path / "mine.jpg").write_bytes(bundled()["coffee"].path.read_bytes())
    monkeypatch.chdir(tmp_path)
    arguments = ["--image", "mine.jpg", "--method", "saliency", "--out", "out", "--device", "cpu"]
    assert main(["explain", *arguments, *QUICK]) == 0
    monkeypatch.chdir("/")
    assert main(["replay", str(tmp_path / "out")]) == 0
    (tmp_path / "mine.jpg").rename(tmp_path / "moved.jpg")
    assert main(["replay", str(tmp_path / "out")]) == 2
    assert main(["replay", str(tmp_path / "out"), "--image", str(tmp_path / "moved.jpg")]) == 0
    assert "identical" in capsys.readouterr().out


def test_own_weights_from_the_command_line(tmp_path, capsys):
    from spade_core.models.registry import MODELS

    torch.manual_seed(0)
    torch.save(MODELS["mobilenet_v2"].build(4).state_dict(), tmp_path / "w.pt")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    arguments = [
        "explain",
        "--image",
        "bundled:cat",
        "--method",
        "saliency",
        "--out",
        str(tmp_path / "out"),
        "--json",
        "--views",
        "2",
    ]
    own = [
        "--weights",
        str(tmp_path / "w.pt"),
        "--arch",
        "mobilenet_v2",
        "--classes",
        str(tmp_path / "names.txt"),
        "--size",
        "64",
    ]
    assert main([*arguments, *own, "--device", "cpu", "--sparsity", "0.3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"]["label"] in "abcd"
    assert np.load(tmp_path / "out" / "dense_saliency.npy").shape == (64, 64)


def sentence(capsys):
    text = capsys.readouterr().err.strip().splitlines()
    assert len(text) == 1, text
    assert text[0].startswith("spade_core: ")
    return text[0]


BASE = ["explain", "--image", "bundled:cat", "--method", "saliency", "--out", "/nonexistent/out", "--device", "cpu"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--model", "resnet51"], "no model 'resnet51'"),
        (["--image", "bundled:unicorn"], "unicorn"),
        (["--image", "/nowhere/x.png"], "x.png"),
        (["--method", "magic"], "no method 'magic'"),
        (["--target", "unicorn"], "no class 'unicorn'"),
        (["--target", "2000"], "between 0 and 999"),
        (["--sparsity", "1.5"], "between 0 and 1"),
        (["--stage", "blocks.2"], "NAME=RATIO"),
        (["--stage", "blocks.99=0.5"], "no stage 'blocks.99'"),
        (["--solver", "adam"], "no solver 'adam'"),
        (["--device", "cuda:7"], "not there"),
        (["--preset", "paper-lrp"], "for another model"),
        (["--weights", "/nowhere/w.pt", "--arch", "resnet18"], "no weights file"),
        (["--views", "0", "--sparsity", "0.5"], "number of views"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(extra, message, capsys):
    assert main([*BASE, *extra]) == 2
    assert message in sentence(capsys)


def test_an_unwritable_folder_is_said(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    arguments = [
        "explain",
        "--image",
        "bundled:cat",
        "--method",
        "saliency",
        "--out",
        str(tmp_path / "file"),
        "--device",
        "cpu",
    ]
    assert main([*arguments, *QUICK]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_hostile_pictures_and_weights_end_with_code_2(tmp_path, capsys):
    folder = tmp_path / "hostile"
    folder.mkdir()
    count = 0
    for name, data, _ in hostile_files(folder):
        (folder / name).write_bytes(data)
        assert (
            main(["explain", "--image", str(folder / name), "--method", "saliency", "--out", str(tmp_path / "o")]) == 2
        ), name
        assert len(sentence(capsys)) < 300
        count += 1
    for name, data in test_weights.hostile(tmp_path):
        (tmp_path / name).write_bytes(data)
        assert main([*BASE, "--weights", str(tmp_path / name), "--arch", "resnet18"]) == 2, name
        sentence(capsys)
        count += 1
    assert count >= 30
    assert not (tmp_path / "code-was-run").exists()
    assert not (tmp_path / "o").exists()


def test_a_traceback_never_reaches_a_user_of_bad_options():
    for arguments in (["explain"], ["nothing"], [*BASE, "--sparsity", "much"], [*BASE, "--mean", "1,x,2"], []):
        done = run(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_every_command_has_help():
    parser = build_parser()
    for command in ("models", "pictures", "methods", "layers", "explain", "replay"):
        with pytest.raises(SystemExit) as caught:
            parser.parse_args([command, "--help"])
        assert caught.value.code == 0


def test_a_folder_and_a_zip_are_explained_picture_by_picture(tmp_path, capsys, monkeypatch, small, coffee):
    monkeypatch.setattr("spade_core.cli.folder.load", lambda options: small)
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    (folder / "coffee.jpg").write_bytes(bundled()["coffee"].path.read_bytes())
    (folder / "none.png").write_bytes(b"%PDF-1.4")
    command = ["explain", "--method", "saliency", "--device", "cpu", "--threads", "1", "--out", str(out)]
    command += ["--views", "2", "--solver", "magnitude", "--preset", "uniform", "--sparsity", "0.3"]
    assert main([*command, "--images", str(folder)]) == 0
    told = capsys.readouterr()
    assert "pictures          1, 1 left out" in told.out
    assert "class kept        " in told.out
    assert "Saliency (gradient): " in told.out
    assert "left out: none.png is a PDF document" in told.err
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    before = (out / "pictures.csv").read_bytes()
    assert not (out / "pictures.pdf").exists()
    assert main([*command, "--images", packed, "--json", "--report"]) == 0  # the same pictures, which are there already
    (row, left) = json.loads(capsys.readouterr().out)["pictures"]
    assert (row["picture"], row["sha256"], left["picture"]) == ("coffee.jpg", coffee.sha256, "none.png")
    assert (out / "pictures.csv").read_bytes() == before
    assert (out / "pictures.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "DIR", "--target", "dog"], "--target belongs to one picture"),
        (["--images", "DIR", "--trigger", "heart"], "--trigger belongs to one picture"),
        (["--images", "DIR", "--frame", "letterbox"], "--frame belongs to one picture"),
        (["--images", "DIR", "--traces", "7"], "take one of 1, 2, 3, 5"),
        (["--images", "nowhere"], "There is no folder 'nowhere'"),
        (["--images", __file__], "no zip archive"),
    ],
)
def test_what_is_said_of_one_picture_is_refused_for_a_folder(options, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spade_core.cli.folder.load", lambda options: None)
    monkeypatch.setattr("spade_core.evaluation.configuration.Configuration.for_model", lambda one, model: one)
    assert main(["explain", "--method", "saliency", "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
