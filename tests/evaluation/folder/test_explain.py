"""A folder explained: the rows against one picture at a time, bad pictures, kills and cancels, and the files."""

from __future__ import annotations

import csv
import os
import re

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.evaluation.configuration import seed_of
from spade_core.evaluation.folder.explain import configuration_of, explain_folder
from spade_core.evaluation.folder.maps import SIDE, small_pictures
from spade_core.evaluation.folder.rows import Row, csv_text
from spade_core.evaluation.metrics import insertion_deletion
from spade_core.pictures.picture import load_picture
from spade_core.progress import Cancelled
from spade_core.pruning.options import BundleOptions
from spade_core.pruning.spade import trace
from spade_core.results.manifest import threads
from spade_core.saliency.explanation import explain

TRACE = {"sparsity": 0.5, "views": 2, "solver": "magnitude"}
METHODS = ("saliency", "input_x_gradient")
SAME = ("pictures.csv", "pictures.html", "results.parquet", "table.md")


def asked(**changes):
    return configuration_of(METHODS, TRACE, **{"threads": 1, **changes})


@pytest.fixture(scope="module")
def images(folder, tmp_path_factory):
    """Three pictures, and four files that are none."""
    made = tmp_path_factory.mktemp("images")
    for number in range(3):
        (made / f"{number}.png").write_bytes((folder / f"{number}.png").read_bytes())
    (made / "=broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (made / "empty.jpg").write_bytes(b"")
    (made / "folder.png").mkdir()
    os.mkfifo(made / "pipe.png")
    return made


@pytest.fixture(scope="module")
def explained(small, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("explained")
    return out, explain_folder(small, images, out, asked())


def test_each_row_is_what_the_library_finds_picture_by_picture(small, images, explained):
    out, found = explained
    for row in (row for row in found.rows if not row.left_out):
        picture = load_picture(images / row.picture)
        with threads(1):
            made = trace(small, picture, **TRACE, seed=seed_of(0, picture.sha256))
            assert (row.label, row.trace) == (made.fidelity.label, made.fidelity.trace_probability)
            assert (row.kl, row.kept, row.sparsity) == (made.fidelity.kl, made.fidelity.keeps_class, made.sparsity)
            target = made.fidelity.target
            for slug in METHODS:
                maps = [explain(one, picture, method=slug, target=target, seed=row.seed).map for one in (small, made)]
                with np.load(out / row.maps) as kept:
                    assert np.array_equal(kept[f"dense_{slug}"], maps[0])
                    assert np.array_equal(kept[f"default_{slug}"], maps[1])
                curves = [insertion_deletion(small.module, small.input(picture), one, target) for one in maps]
                scores = [one.insertion_auc - one.deletion_auc for one in curves]
                assert row.scores[slug] == pytest.approx(scores, abs=1e-9)
                assert row.gain(slug) == pytest.approx(scores[1] - scores[0], abs=1e-9)
        assert row.dense == pytest.approx(made.fidelity.dense_probability, abs=1e-6)


def test_bad_pictures_are_listed_with_their_sentences(explained):
    _, found = explained
    assert [row.picture for row in found.rows] == [
        "0.png",
        "1.png",
        "2.png",
        "=broken.png",
        "empty.jpg",
        "folder.png",
        "pipe.png",
    ]
    said = {row.picture: row.left_out for row in found.left_out}
    assert "damaged" in said["=broken.png"]
    assert "is empty" in said["empty.jpg"]
    assert (
        said["pipe.png"]
        == "The file 'pipe.png' cannot be read (it is not a regular file): choose another, or copy it again."
    )
    assert "it is a folder" in said["folder.png"]
    assert found.outcome.statistics.pictures == 3


def test_the_table_is_the_rows_and_no_cell_is_a_formula(explained):
    out, found = explained
    rows = list(csv.DictReader((out / "pictures.csv").open(encoding="utf-8", newline="")))
    assert [row["picture"] for row in rows][:4] == ["0.png", "1.png", "2.png", "'=broken.png"]
    assert float(rows[1]["gain_saliency"]) == found.rows[1].gain("saliency")
    assert rows[3]["kl_nats"] == ""
    assert "damaged" in rows[3]["left_out"]
    assert csv_text([Row("a.png", label="@x", scores={})], ()).splitlines()[1].startswith("a.png,,'@x,")
    assert "a;'=1+1.png" in csv_text([Row("a;=1+1.png", scores={})], ())
    assert Row.from_dict({**vars(found.rows[0])}) == found.rows[0]


def test_the_page_needs_nothing_but_itself_and_names_every_picture(explained, small):
    text = (explained[0] / "pictures.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img src="data:image/webp;base64,', text)) == 3 * 5
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert len(re.findall(r' alt="[^"]+"', text)) == 3 * 5
    assert "=broken.png is damaged" in text
    for said in ("<h2>Settings</h2>", f"{small.sha256}</td>", "<h2>Versions</h2>", "@inproceedings{moakhar2024spade"):
        assert said in text
    assert "/" not in re.sub(r"base64,[^\"]+", "", "".join(re.findall(r"<li>(.*?)</li>", text)))


def test_small_pictures_are_small(explained):
    shown = small_pictures(explained[0] / explained[1].rows[0].maps, ("dense", "default"), METHODS)
    assert set(shown) == {"picture", *(f"{arm}_{slug}" for arm in ("dense", "default") for slug in METHODS)}
    picture = load_picture(shown["picture"])
    assert max(picture.pixels.shape) <= SIDE


def test_a_cancelled_run_goes_on_and_ends_in_the_same_bytes(small, images, tmp_path, explained, untouched):
    def cancel(done, total, note):
        if done / total >= 0.6:
            raise Cancelled

    with untouched(small), pytest.raises(Cancelled):
        explain_folder(small, images, tmp_path, asked(), progress=cancel)
    assert not (tmp_path / "pictures.csv").exists()
    rows, notes = [], []
    explain_folder(small, images, tmp_path, asked(), on_row=rows.append, progress=lambda *said: notes.append(said))
    assert sorted(row.picture for row in rows) == [row.picture for row in explained[1].rows]
    assert {name: (tmp_path / name).read_bytes() for name in SAME} == {
        name: (explained[0] / name).read_bytes() for name in SAME
    }
    assert [done / total for done, total, _ in notes] == sorted(done / total for done, total, _ in notes)
    assert notes[0][2].startswith("picture 1 of ")
    (tmp_path / explained[1].rows[0].maps).unlink()
    again = explain_folder(small, images, tmp_path, asked())
    assert len(again.rows) == 7


def test_what_cannot_be_used_is_refused(small, images, tmp_path):
    with pytest.raises(ConfigError, match="are not made of 4 traces: take one of 1, 2, 3, 5"):
        asked(bundle=BundleOptions(traces=4))
    assert asked(bundle=BundleOptions(traces=3)).arms == ("dense", "bundle")
    assert asked(bundle=BundleOptions(traces=2, average="signed")).arms == ("dense", "signed2")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "empty.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="No picture counts"):
        explain_folder(small, alone, tmp_path / "out", asked())


def test_maps_of_a_signed_bundle_are_shown_with_their_signs(small, images, explained, tmp_path):
    shown = {"default": small_pictures(explained[0] / explained[1].rows[0].maps, ("dense", "default"), METHODS)}
    for average, arm in (("signed", "signed2"), ("magnitude", "bundle2")):
        chosen = asked(bundle=BundleOptions(traces=2, average=average))
        found = explain_folder(small, images, tmp_path / average, chosen)
        assert found.outcome.statistics.configuration.arms == ("dense", arm)
        shown[arm] = small_pictures(tmp_path / average / found.rows[0].maps, ("dense", arm), METHODS)
        assert set(shown[arm]) == {"picture", *(f"{one}_{slug}" for one in ("dense", arm) for slug in METHODS)}
    dense = {arm: pictures["dense_input_x_gradient"] for arm, pictures in shown.items()}
    assert dense["signed2"] == dense["default"] != dense["bundle2"]
