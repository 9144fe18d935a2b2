"""The command ``benchmark``, as people call it."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from spade_core.cli import main
from spade_core.evaluation.records import read_results
from spade_core.pictures.picture import bundled
from spade_core.pruning.options import TraceOptions

pytestmark = pytest.mark.usefixtures("models_once")
QUICK = ["--methods", "saliency", "--arms", "dense", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def coffee_alone(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "coffee.jpg").write_bytes(bundled()["coffee"].path.read_bytes())
    return folder


def test_a_trigger_is_drawn_and_the_maps_are_scored_against_its_mask(coffee_alone, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["benchmark", "trojan", "--images", str(coffee_alone), "--out", str(out), *QUICK]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "pictures": 1, "skipped": {}}
    (row,) = pd.read_parquet(out / "results.parquet").to_dict("records")
    assert row["trigger"] in ("heart", "smiley", "fish", "star")
    assert 60 < row["trojan_auc"] <= 100
    assert row["pointing_game"] in (0, 100)
    assert 0 < row["energy"] < 100
    assert main(command) == 0
    assert capsys.readouterr().out == (out / "table.md").read_text()
    assert main([*command, "--seed", "1"]) == 2
    assert "seed was 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--arms", "dense,none"], "There is no arm 'none'"),
        (["--methods", "none"], "There is no method 'none'"),
        (["--option", "lime.samples"], "'lime.samples' is no option of a method"),
        (["--option", "lime.samples=0"], "samples"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--sparsity", "2"], "sparsity must be a fraction"),
    ],
)
def test_bad_input_is_one_sentence_before_a_model_is_loaded(options, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spade_core.cli.subject.load_model", None)
    command = ["benchmark", "faithfulness", "--images", str(tmp_path), "--out", str(tmp_path / "out"), *options]
    assert main(command) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_option_of_a_method_reaches_its_maps_and_the_results(coffee_alone, tmp_path, capsys):
    command = ["benchmark", "trojan", "--images", str(coffee_alone), *QUICK, "--methods", "forgrad"]
    for cut in ("3", "15"):
        assert main([*command, "--out", str(tmp_path / cut), "--option", f"forgrad.cut={cut}"]) == 0
    coarse, plain = (pd.read_parquet(tmp_path / cut / "results.parquet").trojan_auc[0] for cut in ("3", "15"))
    assert coarse != plain
    assert read_results(tmp_path / "3" / "results.parquet").configuration.options == {"forgrad": {"cut": 3}}
    assert main([*command, "--out", str(tmp_path / "15")]) == 0, "15 is the default: the same run"
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "none"), "--option", "lime.samples=99"]) == 2
    assert "An option is of lime, which is not among the methods" in capsys.readouterr().err


def test_what_is_not_said_is_left_to_the_benchmark():
    from spade_core.cli import build_parser
    from spade_core.cli.options import trace_options

    found = build_parser().parse_args(["benchmark", "sanity", "--images", "a", "--out", "b", "--views", "4"])
    assert (found.methods, found.arms, found.processing, found.split) == ((), (), ("raw",), "all")
    assert TraceOptions(**trace_options(found)).views == 4
    assert found.reference is None


def test_the_folder_of_baselines_reaches_the_run(tmp_path, capsys, coffee_alone):
    out = ["--images", str(coffee_alone), "--out", str(tmp_path / "out"), "--reference", str(tmp_path / "none")]
    assert main(["benchmark", "faithfulness", *out, "--arms", "dense,sparse_fc", "--device", "cpu"]) == 2
    assert "give --reference a folder of pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
