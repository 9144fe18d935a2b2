"""Class names from files, and targets by index or name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spade_core.errors import ModelError
from spade_core.models.labels import imagenet_labels, read_labels, resolve_target


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
    ],
)
def test_every_usual_form_is_read(tmp_path, text):
    (tmp_path / "names").write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / "names") == ("cat", "dog")


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"[1, 2", b'{"cat": 0}', b'{"0": []}', b"[" * 100_000, b'{"1": "dog"}']
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
    assert resolve_target(model, "cat") == 4, "an exact label comes before a part of another"
    for text, message in (
        ("crane", r"several classes: Crane \(0\), crane \(1\); give the index"),
        ("7", "between 0 and 4, not 7"),
        ("9" * 5000, "between 0 and 4"),
        ("-1", "between 0 and 4"),
        ("", "no class ''"),
        ("crain", "did you mean Crane"),
        ("submarine", "give its index"),
    ):
        with pytest.raises(ModelError, match=message):
            resolve_target(model, text)
