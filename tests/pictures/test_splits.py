"""Which pictures serve which purpose."""

from __future__ import annotations

import json

import pytest

from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.pictures.splits import SPLITS, split_of, spread


def test_the_fixed_splits_do_not_overlap():
    table = json.loads((ASSETS / "splits.json").read_text())
    parts = [set(table[name]) for name in SPLITS]
    assert [len(part) for part in parts] == [240, 60, 300]
    assert len(set.union(*parts)) == 600


def test_known_files_follow_the_table(tmp_path):
    table = json.loads((ASSETS / "splits.json").read_text())
    for name in SPLITS:
        (tmp_path / table[name][0]).touch()
    (tmp_path / "stranger.jpg").touch()
    for name in SPLITS:
        assert [path.name for path in split_of(tmp_path, name)] == [table[name][0]]


def test_one_known_name_among_own_pictures_does_not_hide_them(tmp_path):
    table = json.loads((ASSETS / "splits.json").read_text())
    (tmp_path / table["training"][0]).touch()
    for index in range(19):
        (tmp_path / f"own_{index:02}.png").touch()
    assert [len(split_of(tmp_path, name)) for name in SPLITS] == [8, 2, 10]


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_small_folder_serves_every_split_and_says_so(tmp_path, caplog, count):
    for index in range(count):
        (tmp_path / f"{index}.png").touch()
    for name in SPLITS:
        assert len(split_of(tmp_path, name)) == count
    assert f"all {count} serve as tuning" in caplog.text


def test_any_folder_is_divided_without_overlap(tmp_path):
    for index in range(20):
        (tmp_path / f"{index:02}.png").touch()
    (tmp_path / "notes.txt").touch()
    parts = [{path.name for path in split_of(tmp_path, name)} for name in SPLITS]
    assert [len(part) for part in parts] == [8, 2, 10]
    assert len(set.union(*parts)) == 20


def test_absent_and_empty_folders_get_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        split_of(tmp_path / "nowhere", "tuning")
    with pytest.raises(ConfigError, match="no pictures for the tuning split"):
        split_of(tmp_path, "tuning")


def test_spread_takes_from_all_over():
    assert spread(list(range(10)), 3) == [0, 4, 9]
    assert spread([1, 2], None) == spread([1, 2], 5) == [1, 2]
