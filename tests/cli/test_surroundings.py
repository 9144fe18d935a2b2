"""What lies around a command: terminals of little encoding, readers that go, odd file names, unusable folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spade_core.cli import CLOSED_PIPE, main

ROOT = Path(__file__).resolve().parent.parent.parent


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "spade_core", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("arguments", [["pictures", "--json"], ["--help"]])
def test_a_reader_that_has_gone_is_no_error(arguments):
    with start(*arguments) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in ({0, CLOSED_PIPE} if "--help" in arguments else {141})  # argparse hides its own


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_stays_one_value_and_tables_keep_their_lines_in_any_encoding(encoding, tmp_path):
    code = (
        "import argparse\n"
        "from spade_core.cli import _speak_any_encoding\n"
        "from spade_core.cli.common import emit\n"
        "_speak_any_encoding()\n"
        "for json in (True, False):\n"
        "    emit(argparse.Namespace(json=json), {'label': 'né 猫 😀 \\udcff'}, ['né 猫 😀', 'second'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    first, *rest = done.stdout.decode(encoding).splitlines()
    assert json.loads(first) == {"label": "né 猫 😀 \udcff"}
    assert len(rest) == 2


@pytest.mark.parametrize("below", ["file/data", "file"])
def test_a_data_folder_that_cannot_be_made_gives_a_sentence(below, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPADE_DATA_DIR", str(tmp_path / below))
    monkeypatch.delenv("SPADE_DATABASE_URL", raising=False)
    assert main(["study", "list"]) == 2
    text = capsys.readouterr().err
    assert str(tmp_path / below) in text
    assert text.count("\n") == 1
    assert "SPADE_DATA_DIR" in text


@pytest.mark.parametrize("stream", [1, 2])
def test_a_stream_that_was_closed_before_is_none(stream):
    arguments = ["-m", "spade_core", "study", "list", "--bad"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.close(stream),
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_home_that_cannot_be_written_gives_a_sentence():
    with start("study", "list", HOME="/proc/nobody", SPADE_DATA_DIR="", SPADE_DATABASE_URL="") as process:
        _, errors = process.communicate()
    assert process.returncode == 2
    assert b"Traceback" not in errors
    assert errors.count(b"\n") == 1


def test_a_manifest_keeps_a_file_name_that_is_no_text():
    from spade_core.results.manifest import manifest_bytes

    odd = os.fsdecode(b"/folder/a\xff.png")
    assert json.loads(manifest_bytes({"source": odd, "label": "猫"})) == {"source": odd, "label": "猫"}
    assert "猫".encode() in manifest_bytes({"label": "猫"})


@pytest.mark.parametrize(("below", "reason"), [("file", "it is a file"), ("file/below", "Not a directory")])
def test_a_folder_of_results_is_tried_before_anything_is_computed(below, reason, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("spade_core.cli.explain.open_picture", lambda _: pytest.fail("the model was loaded"))
    out = str(tmp_path / below)
    assert main(["explain", "--image", "bundled:dog", "--method", "saliency", "--out", out]) == 2
    text = capsys.readouterr().err
    assert f"({reason}): give another folder" in text
    assert text.count("\n") == 1
