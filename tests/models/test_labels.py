"""Class names from files, and targets by index or name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core.errors import ModelError
from spade_core.models.labels import imagenet_labels, notes_on, read_labels, resolve_target


def test_imagenet_has_a_thousand_names():
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert labels[281] == "tabby"


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\n",
        "\ufeffcat\r\ndog",
        '["cat", "dog"]\n',
        '{"0": "cat", "1": "dog"}',
        '{"1": ["n02", "dog"], "0": ["n01", "cat"]}',
        '[["n01", "cat"], ["n02", "dog"]]',
        '[{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]',
        '{"dog": 1, "cat": 0}',
        "0 cat\n1 dog",
        "1: dog\n0: cat\n",
        "index,name\r\n0,cat\r\n1,dog\r\n",
        "name\tid\ncat\t0\ndog\t1\n",
        '"cat"\n"dog"',
        "n02123045 cat\nn02085620 dog",
        '[[1, "dog"], [0, "cat"]]',
        '[["cat", 0], ["dog", 1]]',
        '[{"id": 1, "name": "dog"}, {"id": 0, "name": "cat"}]',
        '{"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}',
        '{"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}}',
        '{"00": "cat", "01": "dog"}',
        "\u202ecat\ndo\u0000g",
    ],
)
def test_every_usual_form_is_read(tmp_path, text):
    (tmp_path / "names").write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / "names") == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("names.txt", "cat\ndog".encode("utf-16")),
        ("data.yaml", b"nc: 2\nnames:\n  0: cat\n  1: dog\n"),
        ("data.yml", b"names: [cat, dog]"),
    ],
)
def test_other_encodings_and_yaml_are_read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert read_labels(tmp_path / name) == ("cat", "dog")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("cat", "dog"), ""),
        (("0", "1", "2"), ""),
        (("cat", "dog", "cat"), "the same name (cat)"),
        (tuple(sorted(map(str, range(12)))), "sorted as text, and not the indices: class 2 is called 10"),
        (("1 cat", "2 dog"), "begin with numbers from 1 on"),
    ],
)
def test_names_that_may_be_taken_for_other_classes_are_told(labels, told):
    notes = notes_on(labels)
    assert told in " ".join(notes)
    assert bool(notes) == bool(told)


def test_a_name_fits_into_a_line(tmp_path):
    (tmp_path / "names").write_text("a" * 5000 + "\nb")
    assert [len(name) for name in read_labels(tmp_path / "names")] == [200, 1]


def test_a_file_without_names_is_told(tmp_path):
    (tmp_path / "names").write_text(" \n")
    with pytest.raises(ModelError, match="no class names in names: give one"):
        read_labels(tmp_path / "names")


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"[1, 2", b'{"cat": 1}', b'{"0": []}', b'[true, "dog"]', b"[" * 100_000, b'{"1": "dog"}']
)
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "names").write_bytes(data)
    with pytest.raises(ModelError, match="one name a line") as caught:
        read_labels(tmp_path / "names")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError):
        read_labels(tmp_path / "absent")


def test_targets_by_index_label_and_part():
    model = SimpleNamespace(name="toy", labels=("Crane", "crane", "7", "tiger cat", "cat"))
    assert resolve_target(model, 3) == resolve_target(model, " 3 ") == resolve_target(model, "TIGER") == 3
    assert resolve_target(model, "7") == 2, "no class has the index 7"
    assert resolve_target(model, "cat") == 4, "an exact label comes before a part of another"
    for text, message in (
        ("crane", r"several classes: Crane \(0\), crane \(1\); give the index"),
        ("8", "between 0 and 4, not 8"),
        ("9" * 5000, "between 0 and 4"),
        ("-1", "between 0 and 4"),
        ("", "no class ''"),
        ("crain", "did you mean Crane"),
        ("submarine", "give its index"),
    ):
        with pytest.raises(ModelError, match=message):
            resolve_target(model, text)


@pytest.mark.parametrize("text", ["cat\n\ndog", '["cat", null, "dog"]', '{"0": "cat", "1": ["n02", null]}'])
def test_a_missing_name_is_told_with_its_index(tmp_path, text):
    (tmp_path / "names").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="lack that of class 1: give"):
        read_labels(tmp_path / "names")


def test_numbers_before_names_that_are_no_indices_belong_to_the_names(tmp_path):
    (tmp_path / "names").write_text("2 wheels\n4 wheels\n8 wheels")
    assert read_labels(tmp_path / "names") == ("2 wheels", "4 wheels", "8 wheels")


def test_a_number_that_is_a_name_and_another_classs_index_is_asked_about():
    model = SimpleNamespace(name="digits", labels=("0", "2", "1", "30", "5", "5"))
    assert resolve_target(model, "0") == 0
    assert resolve_target(model, "30") == resolve_target(model, " 3") == resolve_target(model, 3) == 3
    assert resolve_target(model, 2) == resolve_target(model, "index=2") == resolve_target(model, "name=1") == 2
    for text, message in (
        ("2", "2 is the name of class 1 and the index of class '1': give name=2 or index=2"),
        ("5", "'5' is the name of 2 classes: give index=4"),
        ("name=8", "no class '8'"),
        ("index=6", "between 0 and 5"),
    ):
        with pytest.raises(ModelError, match=message):
            resolve_target(model, text)
