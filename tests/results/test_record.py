"""Manifests that somebody has changed: refused by one sentence that names the place, before anything is loaded."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from pathlib import Path

import pytest

from spade_core.errors import ConfigError
from spade_core.models.loaded import RecordedSpec, Spec
from spade_core.results import record
from spade_core.results.config import AnalysisConfig
from spade_core.results.manifest import read_manifest
from spade_core.trojan.triggers import Paste

OLD = Path(__file__).resolve().parent.parent / "old" / "manifest"
KEPT = sorted(OLD.rglob("manifest.json"))
GOOD = json.loads(next(file for file in KEPT if file.parent.name == "explain_trigger").read_text(encoding="utf-8"))


def test_a_record_has_the_words_of_what_it_describes():
    """A word that a model's spec or a trigger gets must be known at the door, too."""
    assert set(RecordedSpec.model_fields) == set(Spec.__annotations__)
    assert set(record._Trigger.model_fields) == {one.name for one in fields(Paste)}


def test_old_manifests_pass(tmp_path):
    assert len(KEPT) >= 4
    for file in KEPT:
        assert read_manifest(file)["model"]["sha256"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("environment", None),
        ("environment", [1]),
        ("environment.threads", 0),
        ("environment.threads", True),
        ("environment.threads", "2"),
        ("environment.threads", 2**70),
        ("environment.device_type", None),
        ("model.sha256", ...),
        ("model.spec", []),
        ("model.spec", {"a": 1}),
        ("model.spec.name", 7),
        ("picture", "bundled:dog"),
        ("picture.source", 0),
        ("picture.trigger", "heart"),
        ("picture.trigger.seed", ["a"]),
        ("picture.trigger.seed", -1),
        ("picture.trigger.size", "large"),
        ("picture.trigger.position", [1]),
        ("picture.trigger.position", ["²", 2]),
        ("config", ...),
        ("config.methods", 3),
        ("config.methods", [1]),
        ("config.options", "../.."),
        ("config.options", {"lime": 3}),
        ("config.trace", None),
        ("config.seed", 1e308),
        ("trace", 7),
    ],
)
def test_what_is_wrong_is_named(tmp_path, place, value):
    changed = copy.deepcopy(GOOD)
    *above, last = place.split(".")
    inner = changed
    for name in above:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="manifest") as refused:
        read_manifest(tmp_path)
    assert place in str(refused.value)


@pytest.mark.parametrize("text", ["", "7", "[]", "null", "[" * 5000, '{"schema_version": 1}', '{"a": NaN}', "\ud800"])
def test_what_is_no_manifest_at_all_is_said(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match="manifest"):
        read_manifest(tmp_path)


def test_the_record_of_a_drawing_is_none_of_maps():
    with pytest.raises(ConfigError, match="names no methods"):
        AnalysisConfig.from_dict({"target": 3, "trace": {}})
