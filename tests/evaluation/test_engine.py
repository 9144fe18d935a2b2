"""Runs: kept picture by picture, killed and resumed, and refused where they do not fit."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pandas as pd
import pytest
from torch import nn

from spade_core.errors import ConfigError, LayerError
from spade_core.evaluation import Configuration, run
from spade_core.evaluation.engine import Work, local
from spade_core.evaluation.protocols import measure
from spade_core.evaluation.records import RECORDS
from spade_core.progress import Cancelled
from tests.evaluation.conftest import SETTINGS
from tests.nets import Plain, randomize, wrap_model

SAME = ("results.parquet", "table.md")


@pytest.fixture(scope="module")
def unbroken(small, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    return out, run(small, folder, out, stability())


def stability(**changes):
    return Configuration("stability", **{**SETTINGS, **changes})


def bytes_of(out):
    return {name: (out / name).read_bytes() for name in SAME}


def stopping(fraction, stop):
    """A progress that stops once so much is done."""

    def progress(done, total, note):
        if done / total >= fraction:
            stop()

    return progress


def killed(model, folder, out, fraction):
    """Run in a process of its own that gets SIGKILL in the middle of a picture."""

    def work():
        kill = stopping(fraction, lambda: os.kill(os.getpid(), signal.SIGKILL))
        run(model, folder, out, stability(), progress=kill)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_killed_twice_and_resumed_equals_unbroken_byte_for_byte(small, folder, tmp_path, unbroken, monkeypatch):
    killed(small, folder, tmp_path, 0.3)
    records = tmp_path / RECORDS
    before = len(records.read_bytes().splitlines())
    assert before == 2  # the header, and the one picture that was done
    records.write_bytes(records.read_bytes() + b'{"key": "torn')
    killed(small, folder, tmp_path, 0.6)
    after = len(records.read_bytes().splitlines())
    assert before < after < 6
    assert not (tmp_path / "table.md").exists()
    calls = []

    def counting(model, configuration, name, *rest):
        calls.append(name)
        return measure(model, configuration, name, *rest)

    monkeypatch.setattr("spade_core.evaluation.engine.measure", counting)
    run(small, folder, tmp_path, stability())
    assert calls == [f"{number}.png" for number in range(after - 1, 5)]
    assert bytes_of(tmp_path) == bytes_of(unbroken[0])
    run(small, folder, tmp_path, stability())
    assert len(calls) == 6 - after
    assert bytes_of(tmp_path) == bytes_of(unbroken[0])


def test_a_cancelled_run_keeps_what_it_has_and_leaves_the_model_alone(small, folder, tmp_path, untouched):
    def cancel():
        raise Cancelled

    with untouched(small), pytest.raises(Cancelled):
        run(small, folder, tmp_path, stability(), progress=stopping(0.5, cancel))
    assert len((tmp_path / RECORDS).read_bytes().splitlines()) == 3
    assert os.listdir(tmp_path) == [RECORDS]


def test_results_have_a_row_a_picture_arm_method_and_processing(unbroken):
    out, outcome = unbroken
    rows = pd.read_parquet(out / "results.parquet")
    assert len(rows) == 5 * 2 * 2 * 2
    keys = ["picture", "arm", "method", "processing"]
    assert not rows.duplicated(keys).any()
    cell = rows.set_index(keys).loc[("3.png", "default", "input_x_gradient", "blur2")]
    assert cell.seed_correlation == outcome.statistics.scores[3, 1, 1, 1, 0]
    assert rows.groupby("arm").sparsity.mean()["dense"] == 0
    seconds = pd.read_parquet(out / "seconds.parquet")
    assert len(seconds) == 5 * 2 * 3
    assert (seconds.seconds >= 0).all()
    assert "seconds" not in rows


def test_the_table_says_what_the_statistics_say(unbroken):
    _, outcome = unbroken
    found = outcome.statistics.mean("default", slice(0, 1), 0, 0)
    assert f"| SPADE, default | {found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] |" in outcome.table
    assert outcome.table.startswith("# Stability: do two seeds make the same map?\n\n5 pictures;")


def test_the_report_needs_nothing_but_itself(unbroken):
    text = (unbroken[0] / "report.html").read_text(encoding="utf-8")
    assert "Plotly.newPlot" in text
    assert "Seconds a picture" in text
    assert "<script src=" not in text
    assert unbroken[1].table.splitlines()[0] in text


def test_pictures_that_cannot_be_read_are_left_out_and_named(small, folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes((folder / "0.png").read_bytes())
    (images / "b.png").write_bytes(b"%PDF-1.4")
    outcome = run(small, images, tmp_path / "out", stability())
    assert outcome.statistics.pictures == 1
    assert list(outcome.skipped.values()) == [1]
    assert "1 left out: " in outcome.table
    (images / "a.png").unlink()
    with pytest.raises(ConfigError, match="No picture counts"):
        run(small, images, tmp_path / "none", stability())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed was 0"),
        ({"arms": ("dense",)}, "arms was"),
        ({"limit": 2}, "pictures was"),
        ({"threads": 2}, "threads was 1"),
        ({"arms": ("none",)}, "no arm 'none'"),
        ({"arms": ("dense", "dense")}, "each once"),
        ({"methods": ("none",)}, "no method 'none'"),
        ({"processing": ()}, "At least one processing"),
        ({"methods": ("all", "lrp")}, "no method 'all'"),
        ({"engine": "none"}, "no engine 'none'"),
        ({"split": "none"}, "no split 'none'"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"trace": {"sparsity": 2}}, "sparsity must be"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(small, folder, unbroken, change, said):
    before = (unbroken[0] / RECORDS).read_bytes()
    where = {name: change[name] for name in ("limit", "engine", "split") if name in change}
    settings = {name: value for name, value in change.items() if name not in where}

    def start():
        run(small, folder, unbroken[0], stability(**settings), **where)

    with pytest.raises(ConfigError, match=said):
        start()
    assert (unbroken[0] / RECORDS).read_bytes() == before


def test_a_folder_of_other_files_is_left_alone(small, folder, tmp_path):
    (tmp_path / "table.md").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run(small, folder, tmp_path, stability())
    assert (tmp_path / "table.md").read_text() == "mine"


def test_a_method_that_the_model_does_not_allow_is_named(folder, tmp_path):
    model = wrap_model(randomize(Plain(nn.GELU), 16), size=16, name="gelu", device="cpu")
    with pytest.raises(LayerError, match="Leave deeplift out"):
        run(model, folder, tmp_path, stability(methods=("deeplift",)))
    assert os.listdir(tmp_path) == []
    every = stability(methods=("all",)).for_model(model).methods
    assert "saliency" in every
    assert "deeplift" not in every


def test_the_order_of_pictures_changes_no_score(small, folder, unbroken):
    paths = sorted(folder.iterdir(), reverse=True)
    done = list(local(Work(small, unbroken[1].statistics.configuration), paths, lambda *_: None))
    assert np.array_equal(np.stack([one.scores for one in done[::-1]]), unbroken[1].statistics.scores)
