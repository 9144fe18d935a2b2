"""CSV that other programs read: types, gaps, the mark, formulas, and the scripts beside it."""

from __future__ import annotations

import io
import runpy
import zipfile

import pandas as pd
import pytest

from spade_core.cells import safe_cell
from spade_core.study.data.studies import publish
from spade_core.study.export.codebook import CODEBOOK, CODEBOOKS
from spade_core.study.export.export import bundle, export, write
from spade_core.study.running.bots import simulate
from tests.study.conftest import FEW, real_design
from tests.study.running.test_flow import flow, in_main

pytestmark = pytest.mark.one_engine


@pytest.fixture
def key(store, stimuli):
    """Return the key of a study with a bot that finished and somebody who has not answered."""
    key = publish(store, real_design(**FEW, quota=5), stimuli)
    simulate(store, key, 1, "rater", seed=0)
    flow.stop(store, in_main(store, key))
    return key


def test_whole_numbers_are_whole_missing_is_empty_and_there_is_no_mark():
    table = pd.DataFrame(
        {
            "confidence": [1.0, None],
            "correct": [None, 1],
            "is_bot": [True, False],
            "window_width": [1400.0, None],
            "rt_ms": [812.5, None],
            "policy": [None, "rater"],
        }
    )
    text = write(table, "csv", CODEBOOK).decode()
    assert text == "confidence,correct,is_bot,window_width,rt_ms,policy\n1,,1,1400,812.5,\n,1,0,,,rater\n"
    assert write(table, "csv", CODEBOOK, bom=True) == b"\xef\xbb\xbf" + text.encode()
    table["window_width"] = [1400.5, None]
    assert ",1400.5," in write(table, "csv", CODEBOOK).decode()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a;=HYPERLINK(1)", "a;'=HYPERLINK(1)"),
        ("a; @x", "a;' @x"),
        ('a;"=1+1"', 'a;\'"=1+1"'),
        ("a\t-1", "a\t'-1"),
        ("a;b;+1", "a;b;'+1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;\n=1", "a;' =1"),
        ("it is 1=1; good - so", "it is 1=1; good - so"),
        ("", ""),
    ],
)
def test_no_part_of_a_cell_is_a_formula(text, safe):
    assert safe_cell(text) == safe
    assert safe_cell(safe_cell(text)) == safe


def test_read_py_gives_every_table_its_types(store, key, tmp_path, monkeypatch):
    with zipfile.ZipFile(io.BytesIO(bundle(store, key, "csv", bom=True))) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    read = runpy.run_path("read.py")
    wanted = {"text": "string", "whole": "Int64", "number": "Float64"}
    for name, columns in CODEBOOKS.items():
        table = read[name]
        assert len(table) or name == "events", "an empty table keeps its types as well"
        types = {title: str(dtype) for title, dtype in table.dtypes.items()}
        assert types == {title: wanted[columns[title].storage] for title in table.columns}
    trials = read["trials"]
    assert trials["repeat_of"].isna().any()
    assert trials["confidence"].dropna().isin([1, 2, 3]).all()


def test_read_r_names_the_type_of_every_column_of_its_file(store, key):
    made = export(store, key, "csv", "participants")
    script = made.readers("people.csv", "participants")["read.R"]
    assert 'participants <- read_table("people.csv", c(' in script
    assert '"cell" = "integer"' not in script, "the study is blind"
    for line in (
        '"n_main" = "integer"',
        '"total_s" = "numeric"',
        '"comment" = "character"',
        '"window_width" = "numeric"',
    ):
        assert line in script
    assert script.count(' = "') == len(made.columns) + 2  # and two options
    assert made.data.decode().splitlines()[0].split(",") == list(made.columns)
