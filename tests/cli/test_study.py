"""The commands ``study …`` from the shell's side."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from spade_core.cli import main
from spade_core.cli.study import building
from spade_core.study.design.design import TEMPLATE, parse_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set, write_manifest
from tests.study.conftest import real_design, tiny_set


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("SPADE_DATABASE_URL", raising=False)
    tiny_set(tmp_path / "set")
    (tmp_path / "design.yaml").write_text(real_design().to_yaml())
    return tmp_path


def ask(capsys, *words):
    code = main(["study", *map(str, words)])
    return code, capsys.readouterr()


def published(capsys, folder):
    code, out = ask(capsys, "publish", "--design", folder / "design.yaml", "--set", folder / "set", "--json")
    assert code == 0
    return json.loads(out.out)["key"]


@pytest.mark.long
def test_publish_simulate_status_export_and_analyse(capsys, folder):
    key = published(capsys, folder)
    _code, out = ask(capsys, "simulate", key, "--participants", 8, "--policy", "rater", "--seed", 1, "--json")
    assert json.loads(out.out)["ends"] == {"complete": 8}
    _code, out = ask(capsys, "status", key, "--json")
    assert json.loads(out.out)["bots"] == {"complete": 8}
    _code, out = ask(capsys, "export", key, "--out", folder / "x.parquet", "--json")
    assert json.loads(out.out) == {"file": str(folder / "x.parquet"), "rows": 8 * 24, "format": "parquet"}
    assert "condition" in json.loads((folder / "x.parquet.codebook.json").read_text())["codebook"]
    _code, out = ask(capsys, "export", key, "--out", folder / "who.csv", "--table", "participants", "--json")
    assert json.loads(out.out)["rows"] == 8
    assert "practice_flagged" in json.loads((folder / "who.csv.codebook.json").read_text())["codebook"]
    _code, out = ask(capsys, "analyse", key, "--json")
    found = json.loads(out.out)
    assert found["simulated"]
    assert found["table3"]["spade"]["agree"]["share"] == 1.0
    _code, out = ask(capsys, "analyse", key)
    assert "SIMULATED" in out.out
    _code, out = ask(capsys, "list", "--json")
    assert [row["key"] for row in json.loads(out.out)] == [key]


def test_a_blind_study_is_analysed_only_when_it_is_unblinded(capsys, folder):
    key = published(capsys, folder)
    ask(capsys, "simulate", key, "--participants", 3)
    with closing(sqlite3.connect(folder / "data" / "study.sqlite3")) as connection, connection:
        connection.execute("UPDATE participants SET is_bot = 0, policy = NULL")
    code, out = ask(capsys, "analyse", key, "--json")
    assert (code, out.out) == (2, "")
    assert "add --unblind" in out.err
    ask(capsys, "export", key, "--out", folder / "blind.csv")
    head = (folder / "blind.csv").read_text("utf-8-sig").splitlines()[0].split(",")
    assert not {"condition", "correct", "stimulus_id", "class_neuron"} & set(head)
    code, out = ask(capsys, "analyse", key, "--unblind", "--json")
    assert (code, out.out) == (2, "")
    assert "still takes participants" in out.err
    found = json.loads(ask(capsys, "analyse", key, "--interim", "to see it", "--json")[1].out)
    assert (found["simulated"], found["label"], found["look"]["reason"]) == (False, "exploratory", "to see it")
    ask(capsys, "export", key, "--out", folder / "open.csv")
    assert {"open.csv.read.R", "open.csv.read.py"} <= {file.name for file in folder.iterdir()}
    assert (folder / "open.csv").read_bytes().startswith(b"study_id")
    assert "condition" in (folder / "open.csv").read_text("utf-8-sig").splitlines()[0].split(",")


def test_texts_are_shared_one_by_one(capsys, folder):
    question = {"name": "why", "kind": "text", "text": "Why?", "required": True}
    (folder / "design.yaml").write_text(real_design(questions={"extra": [question]}).to_yaml())
    key = published(capsys, folder)
    assert "no texts yet" in ask(capsys, "texts", key)[1].out
    ask(capsys, "simulate", key, "--participants", 1)
    found = json.loads(ask(capsys, "texts", key, "--json")[1].out)
    assert {row["decision"] for row in found} == {None}
    first, second = found[0]["id"], found[1]["id"]
    _code, out = ask(capsys, "texts", key, "--share", first, "--withhold", second)
    assert (out.out.count("shared"), out.out.count("withheld"), out.out.count("SIMULATED")) == (1, 1, 18)
    ask(capsys, "export", key, "--shareable", "--out", folder / "x.json")
    texts = [row["text_why"] for row in json.loads((folder / "x.json").read_text())["rows"]]
    assert [text for text in texts if text] == [found[0]["text"]]
    code, out = ask(capsys, "texts", key, "--share", first, "--withhold", first)
    assert (code, "name it once" in out.err) == (2, True)


def test_pause_backup_and_delete(capsys, folder):
    key = published(capsys, folder)
    ask(capsys, "simulate", key, "--participants", 1)
    assert ask(capsys, "pause", key)[0] == 0
    assert ask(capsys, "backup", "--out", folder / "b.sqlite3")[0] == 0
    assert (folder / "b.sqlite3").stat().st_size > 0
    ask(capsys, "export", key, "--out", folder / "x.json")
    uid = json.loads((folder / "x.json").read_text())["rows"][0]["participant_uid"]
    assert ask(capsys, "delete-participant", uid)[0] == 0
    _code, out = ask(capsys, "export", key, "--out", folder / "y.csv", "--json")
    assert json.loads(out.out)["rows"] == 0


def test_a_draft_is_edited_opened_copied_and_closed_for_good(capsys, folder):
    files = ("--design", folder / "design.yaml", "--set", folder / "set")
    _code, out = ask(capsys, "publish", "--draft", *files, "--json")
    key = json.loads(out.out)["key"]
    (folder / "other.yaml").write_text(real_design(trials=9).to_yaml())
    _code, out = ask(capsys, "edit", key, "--design", folder / "other.yaml", "--json")
    assert json.loads(out.out) == {"key": key, "version": 2}
    _code, out = ask(capsys, "versions", key, "--json")
    assert [row["design_sha256"] for row in json.loads(out.out)] == [
        real_design().sha256,
        real_design(trials=9).sha256,
    ]
    _code, out = ask(capsys, "design", key, "--number", 1)
    assert parse_design(out.out) == real_design()
    for name, status in (("open", "open"), ("pause", "paused"), ("close", "closed")):
        assert ask(capsys, name, key)[0] == 0
        _code, out = ask(capsys, "status", key, "--json")
        assert json.loads(out.out)["status"] == status
    for name in ("open", "pause"):
        code, out = ask(capsys, name, key)
        assert (code, out.err.count("\n")) == (2, 1)
        assert "closed for good" in out.err
    _code, out = ask(capsys, "copy", key, "--json")
    _code, out = ask(capsys, "design", json.loads(out.out)["key"], "--json")
    assert json.loads(out.out)["trials"] == 9


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("status", "nope"), "There is no study"),
        (("build",), "Give --images DIR and --out DIR"),
        (("validate",), "Give --design FILE"),
        (("validate", "--design", "missing.yaml"), "cannot be read"),
        (("publish", "--design", TEMPLATE, "--set", "missing"), "holds no stimulus set"),
        (("simulate", "nope", "--participants", "1"), "There is no study"),
        (("delete-participant", "nobody"), "There is no participant"),
    ],
)
def test_wrong_input_ends_with_one_sentence_and_code_2(capsys, folder, words, sentence):
    code, out = ask(capsys, *words)
    assert code == 2
    assert sentence in out.err
    assert out.err.count("\n") == 1


def test_a_database_that_cannot_be_opened_is_a_sentence(capsys, folder, monkeypatch):
    monkeypatch.setenv("SPADE_DATABASE_URL", "sqlite:////nowhere/at/all.sqlite3")
    code, out = ask(capsys, "list")
    assert code == 2
    assert "SPADE_DATABASE_URL" in out.err


def test_what_to_think_about_is_said_when_a_study_is_checked_and_published(capsys, folder):
    items = load_set(folder / "set").items
    about = {"report": {"warning": "The more central patch is the reference in 95% of the main items."}}
    write_manifest(folder / "set", items, demo=False, about=about)
    (folder / "design.yaml").write_text(real_design(quota=61).to_yaml())
    given = ("--design", folder / "design.yaml", "--set", folder / "set")
    code, out = ask(capsys, "validate", *given)
    assert (code, out.out.count("warning: ")) == (0, 2)
    assert "in 95% of the main items" in out.out
    code, out = ask(capsys, "publish", *given)
    assert (code, out.err.count("warning: ")) == (0, 2)
    assert ask(capsys, "validate", "--set", folder / "set", "--json")[1].out.count("95%") == 1


def test_the_demo_set_drawn_anew_comes_with_its_report(capsys, folder, monkeypatch):
    shipped, asked = load_set(DEMO_SET), []
    few = replace(shipped, items=tuple(item for item in shipped.items if item.reference_source == "trigger"))
    for made, serves in ((shipped, True), (few, False)):
        monkeypatch.setattr(
            building, "build_demo_set", lambda *_args, made=made, **options: asked.append(options) or made
        )
        code, out = ask(capsys, "build", "--demo", "--out", folder / "demo", "--device", "cpu", "--json")
        found = json.loads(out.out)
        assert code == 0
        assert found["references_from"]["trigger"] == len(few.items)
        assert found["central_share"] == shipped.about["report"]["central_share"]
        assert ("This set does not serve the template: The design asks for" in out.err) is not serves
    assert {options["device"] for options in asked} == {"cpu"}


def test_the_demo_study_is_made_with_one_command(capsys, folder):
    _code, out = ask(capsys, "build", "--demo", "--json")
    key = json.loads(out.out)["key"]
    ask(capsys, "simulate", key, "--participants", 3, "--policy", "rater")
    _code, out = ask(capsys, "analyse", key, "--json")
    found = json.loads(out.out)
    assert found["demo"]
    shutil.rmtree(folder / "set")
    assert ask(capsys, "status", key)[0] == 0


def test_power_follows_the_studys_design(capsys, folder):
    key = published(capsys, folder)
    few = ("--participants", 24, 48, "--simulations", 40, "--json")
    found = json.loads(ask(capsys, "power", key, *few)[1].out)
    assert [(row["participants"], row["class_neurons"]) for row in found["rows"]] == [(24, 12), (48, 12), (None, 12)]
    assert found["design"]["arrangement"] == "within"
    assert found["rows"][0]["verdict_error"] > 0
    changed = ("--arrangement", "between", "--cannot-tell", 0.3, 0.1, "--class-neuron-sd", 1, 0.8, "--trials", 6)
    found = json.loads(ask(capsys, "power", key, *few, *changed)[1].out)
    assert (found["design"]["arrangement"], found["design"]["trials"]) == ("between", 6)
    assert found["assumptions"]["cannot_tell_spade"] == 0.1
    assert found["assumptions"]["spread"]["class_neuron_slope"] == 0.8
    _code, out = ask(capsys, "power", "--design", folder / "design.yaml", "--class-neurons", 12, *few[:-1])
    assert "people chose better" in out.out
    assert "endless" in out.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--effect", "0.5"), "cannot be together"),
        (("--cannot-tell", "0.1", "0.1", "0.1"), "takes one share, or two"),
        (("--participants", "1"), "at least 2 participants"),
        (("nope",), "There is no study"),
        (("nope", "--design", "x.yaml"), "not both"),
        (("--arrangement", "between", "--participants", "2"), "leave one of the two conditions empty"),
    ],
)
def test_impossible_powers_are_sentences(capsys, folder, words, sentence):
    code, out = ask(capsys, "power", *words)
    assert code == 2
    assert sentence in out.err
