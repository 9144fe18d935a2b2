"""The report of a folder on paper: every picture with its maps, what holds of all, settings and citation."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from spade_core.evaluation.configuration import Configuration
from spade_core.evaluation.folder import summary
from spade_core.evaluation.folder.maps import small_pictures
from spade_core.evaluation.folder.rows import Row
from spade_core.evaluation.statistics import Statistics
from spade_core.reports import folder

METHODS = ("saliency", "input_x_gradient", "lrp", "gradcam")
SCORES = dict.fromkeys(METHODS, (20.0, 22.5))


def small(row):
    keys = ("picture", *(f"{arm}_{slug}" for arm in ("dense", "default") for slug in METHODS))
    return {key: webp(number) for number, key in enumerate(keys)}


def webp(seed):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 9, 3), np.uint8)).save(out, "WEBP")
    return out.getvalue()


@pytest.fixture(scope="module")
def content():
    chosen = Configuration("faithfulness", METHODS, ("dense", "default"), trace={"views": 2})
    rows = [
        Row(f"{name}.png", label="koala, bear", kept=name == "a", scores=SCORES, maps=f"{name}.npz") for name in "ab"
    ]
    rows.append(Row("none.png", left_out="none.png is a PDF document: give a picture."))
    scores = np.zeros((2, 2, 4, 1, len(chosen.metrics)))
    scores[:, 1] = 2.5
    found = Statistics(chosen, scores, np.array([[[1, 0, 0], [at, 0.25, 0.5]] for at in (1, 0)], float))
    header = {"model": "<resnet>", "methods": METHODS, "trace": {"views": 2}, "version": "0.0.9"}
    return folder.FolderContent(rows, found, header, small, "python -m spade_core explain")


def words(figure):
    return [text.get_text() for text in figure.texts]


def test_it_says_what_holds_of_all_pictures(content):
    said = words(folder._first(content, "2 pictures, <resnet>"))
    assert {"2 pictures, <resnet>", "50 %", "2.5e-01 nats (median)"} <= set(said)
    assert said.count("+2.5 [+2.5, +2.5]") == len(METHODS)
    assert "100 %" in said, "better on every picture"


def test_a_report_that_does_not_show_all_pictures_says_so(content, monkeypatch):
    for module in (folder, summary):
        monkeypatch.setattr(module, "MOST", 1)
    said = " ".join(words(folder._first(content, "title")))
    assert "The first 1 of 2 pictures are shown; pictures.csv holds all." in said
    (page,) = folder._pictures(content)
    assert len(page.axes) == 2 + 2 * len(METHODS)


def test_maps_that_were_taken_away_or_are_damaged_leave_the_numbers(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    assert [small_pictures(tmp_path / name, ("dense",), METHODS) for name in ("bad.npz", "none.npz")] == [{}, {}]


def test_every_picture_that_counts_has_its_maps_and_numbers(content):
    (page,) = folder._pictures(content)
    assert len(page.axes) == 2 * (2 + 2 * len(METHODS)), "two lines a picture, each with the picture itself"
    assert sum(text == "LRP: +2.5" for text in words(page)) == 2
    lost = [text for text in words(page) if "(class lost)" in text]
    assert len(lost) == 2
    assert all(text.startswith("b.png\nkoala (class lost)") for text in lost)


def test_the_same_gives_the_same_file_with_settings_and_citation(content):
    made = folder.folder_pdf(content)
    assert made.startswith(b"%PDF")
    assert made == folder.folder_pdf(content)
    lines = list(folder._lines(content))
    for line in ("none.png is a PDF document: give a picture.", 'trace: {"views": 2}', "version that ran: 0.0.9"):
        assert line in lines
    assert [line for line in lines if line.startswith("\f")] == [
        *("\fLeft out", "\fSettings", "\fVersions", "\fThe same once more", "\fCitation")
    ]
