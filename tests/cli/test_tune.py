"""The command ``tune``, as people call it."""

from __future__ import annotations

import json

import pytest

from spade_core.cli import build_parser, main
from spade_core.tuning.objectives import RATIOS


@pytest.fixture
def told(monkeypatch):
    """What the command hands to the library, which answers with a table of two methods."""
    found = {}
    scores = {"dense": 80.0, "chosen": {"score": 90.5, "kept": 1.0}, "looks": 12}
    table = {
        "chosen": "By Trojan AUC.",
        "stages": {"head": 0.5},
        "methods": {"saliency": {"head": 0.8}, "lrp": "dense"},
        "provenance": {"scores": dict.fromkeys(("saliency", "lrp", "all"), scores)},
    }

    def tune(model, images, out, tuning, *, split, limit, progress):
        found.update(model=model, images=images, out=out, tuning=tuning, split=split, limit=limit)
        return table

    monkeypatch.setattr("spade_core.cli.tune.load", lambda options: options.model)
    monkeypatch.setattr("spade_core.cli.tune.tune", tune)
    return found


def test_what_is_said_is_tuned_and_told(told, tmp_path, capsys):
    (tmp_path / "one.json").write_text('{"stages": {"head": 0.5}}')
    words = ["--method", "saliency", "--method", "lrp", "--ratios", "0,0.9", "--limit", "2", "--preset", "weighted"]
    words += ["--begin", str(tmp_path / "one.json"), "--sweeps", "1", "--option", "lrp.rule=epsilon"]
    words += ["--traces", "3", "--average", "signed"]
    assert main(["tune", "--images", "pictures", "--out", "t.json", *words, "--views", "8"]) == 0
    tuning = told["tuning"]
    assert (tuning.objective, tuning.methods, tuning.ratios) == ("trojan-auc", ("saliency", "lrp"), (0, 0.9))
    assert tuning.measured.options == {"lrp": {"rule": "epsilon"}}
    assert (tuning.traces, tuning.average, tuning.measured.arms) == (3, "signed", ("signed",))
    assert (tuning.begin, tuning.sweeps) == (({"head": 0.5},), 1)
    assert (tuning.trace["preset"], tuning.trace["views"]) == ("weighted", 8)
    assert (told["model"], told["split"], told["limit"]) == ("efficientnet_lite0_trojan", "tuning", 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["saliency", "80.00", "90.50", "100%", "12", "head=0.8"],
        ["lrp", "80.00", "90.50", "100%", "12", "dense"],
        ["all", "80.00", "90.50", "100%", "12", "head=0.5"],
    ]


def test_the_objective_names_model_and_methods_where_nothing_is_said(told, capsys):
    words = ["--images", "pictures", "--out", "t.json", "--objective", "insertion-deletion", "--json"]
    assert main(["tune", *words]) == 0
    assert told["model"] == "efficientnet_lite0"
    assert told["tuning"].methods == ("saliency", "input_x_gradient", "integrated_gradients")
    assert told["tuning"].ratios == RATIOS
    assert json.loads(capsys.readouterr().out)["methods"]["lrp"] == "dense"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--objective", "none"], "There is no objective 'none'"),
        (["--method", "none"], "There is no method 'none'"),
        (["--processing", "none"], "There is no processing 'none'"),
        (["--ratios", "0,2"], "candidate ratio must be a fraction"),
        (["--begin", "none.json"], "'none.json' cannot be read"),
        (["--sweeps", "-1"], "number of sweeps must lie between 0 and 9, not -1"),
        (["--traces", "4"], "are not made of 4 traces: take one of 1, 2, 3, 5"),
        (["--traces", "3", "--average", "none"], "There is no average 'none'"),
        (["--threads", "0"], "--threads must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence_before_a_model_is_loaded(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spade_core.cli.subject.load_model", None)
    assert main(["tune", "--images", str(tmp_path), "--out", str(tmp_path / "t.json"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "t.looks.jsonl").exists()


def test_numbers_are_numbers(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["tune", "--images", "a", "--out", "b", "--ratios", "0,much"])
    assert "--ratios" in capsys.readouterr().err
