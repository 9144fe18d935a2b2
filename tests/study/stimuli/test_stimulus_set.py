"""The manifest and its validator, and the builder's rules."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.study.design.design import demo_design
from spade_core.study.design.schedule import drawn_for
from spade_core.study.stimuli import build as building
from spade_core.study.stimuli.build import Candidate, Drafted, plan
from spade_core.study.stimuli.patches import Patches
from spade_core.study.stimuli.stimulus_report import central_share, clearly_central_share
from spade_core.study.stimuli.stimulus_set import DEMO_SET, MANIFEST, Item, load_set
from tests.study.conftest import tiny_set


def broken(folder, change):
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["items"][0].update(role="extra"), "has a role other than"),
        (lambda c: c["items"][0]["files"].pop("spade"), "lacks its two visualizations"),
        (lambda c: c["items"][0]["regions"].update(other=[0.1, 0.1, 0.25]), "overlap"),
        (lambda c: c["items"][0]["regions"].update(other=[0.9, 0.1, 0.25]), "outside the picture"),
        (lambda c: c["items"][0]["regions"].update(other=[0.5, 0.5, 0.2]), "different size"),
        (lambda c: c["items"][0]["files"].update(picture="../x"), "no sha256"),
        (lambda c: c["items"][1].update(id=c["items"][0]["id"]), "are called"),
        (lambda c: c["items"][-1].update(class_neuron="net:0"), "of a main item"),
        (lambda c: c.update(format=9), "format 9"),
        (lambda c: c.pop("items"), "is damaged"),
        (lambda c: c["items"][0].update(id={}), "is damaged .items.0.id"),
        (lambda c: c["items"][0]["regions"].update(other=[0.1, 0.1]), "is damaged .items.0.regions.other.2"),
        (lambda c: c["items"][0]["regions"].update(other=[0.6, float("nan"), 0.25]), "is damaged .items.0.regions"),
        (lambda c: c["items"][0].update(answers={"central": []}), "is damaged .items.0.answers"),
        (lambda c: c["items"][0].update(colour="red"), "is damaged .items.0.colour"),
        (lambda c: c.update(report="well"), "is damaged .report"),
        (lambda c: c["files"].update({"\0": "0" * 64}), "is missing"),
        (lambda c: c["files"].update({next(iter(c["files"])): "0" * 64}), "not the file that the manifest names"),
    ],
)
def test_a_broken_manifest_is_refused_with_its_fault(tmp_path, change, words):
    tiny_set(tmp_path)
    broken(tmp_path, change)
    with pytest.raises(ConfigError, match=words):
        load_set(tmp_path)


def test_a_missing_set_says_how_to_build_one(tmp_path):
    with pytest.raises(ConfigError, match="study build"):
        load_set(tmp_path)


def test_sets_read_back_as_written(tmp_path):
    made = tiny_set(tmp_path)
    again = load_set(tmp_path)
    assert again.items == made.items
    assert (len(again.of("main")), len(again.of("practice")), len(again.of("catch"))) == (12, 6, 4)
    assert again.conditions() == {"none", "dense", "spade"}
    assert isinstance(again.item(made.items[3].id), Item)


def test_plan_gives_the_first_pictures_to_practice_and_catch(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    roles = [candidate.role for candidate in plan(paths, practice=2, catch=1)]
    assert roles == ["practice"] * 2 + ["catch"] + ["main"] * 3
    triggered = plan(paths, practice=2, catch=1, triggers=["heart", "fish"])
    assert [c.paste.trigger if c.paste else None for c in triggered] == [None] * 3 + ["heart", "fish", None]
    same = [Candidate("a", "a"), Candidate("a", "a", "catch"), Candidate("a", "a", rank=1)]
    assert len({candidate.key(content) for candidate in [*triggered, *same] for content in ("1", "2", None)}) == 27
    twins = plan([tmp_path / "a.jpg", tmp_path / "a.png"], practice=0, catch=0)
    assert [candidate.picture_id for candidate in twins] == ["a.jpg", "a.png"]


def test_the_more_central_patch_is_counted_over_main_items(tmp_path):
    made = tiny_set(tmp_path)
    assert central_share(made.items) == 0.5
    patches = Patches(20, (40, 40), (0, 0), (1.0, 0.1), (5.0, 6.0))
    measures = building._measures(patches, 100)
    assert building._answers(measures) == {"central": "reference", "contrast": "other"}
    assert measures["reference"]["eccentricity"] == 0.0
    assert measures["other"]["eccentricity"] == pytest.approx(1.0)
    assert measures["other"]["area"] == pytest.approx(0.04)


def test_a_clearly_more_central_region_is_told_from_one_that_is_hardly_nearer(tmp_path):
    made = tiny_set(tmp_path, main=4)
    items = [
        replace(item, measures={"reference": {"eccentricity": 0.5}, "other": {"eccentricity": other}})
        for item, other in zip(made.of("main"), (0.7, 0.59, 0.41, 0.2), strict=True)
    ]
    assert clearly_central_share(items) == (1 + 0.5 + 0.5 + 0) / 4
    assert clearly_central_share(items[:2]) == 0.75


class Net:
    """Just enough of a model for the builder's rules."""

    name, sha256 = "net", "s"
    labels = ("a", "b")

    class preprocessing:  # noqa: N801 - an attribute of models
        crop = staticmethod(lambda picture: picture.pixels)
        side = staticmethod(lambda who: 100)


def built(monkeypatch, tmp_path, reference, used=()):
    pictures = type("P", (), {"pixels": np.zeros((100, 100, 3), np.uint8), "sha256": "c"})()
    monkeypatch.setattr(building, "load_picture", lambda path: pictures)
    monkeypatch.setattr(building, "predict", lambda model, picture: np.array([0.2, 0.8]))
    monkeypatch.setattr(building, "explain", lambda *a, **k: type("E", (), {"map": reference})())
    builder = building.Builder(Net(), Net(), building.RenderConfig(size=64), {}, tmp_path)
    return builder.draft(Candidate("x", "x", "catch"), set(used))


def test_a_set_that_grew_is_found_as_it_was(tmp_path):
    before = tiny_set(tmp_path)
    (tmp_path / MANIFEST).rename(tmp_path / f"manifest.{before.sha256[:12]}.json")
    (tmp_path / "manifest.json").write_text((tmp_path / f"manifest.{before.sha256[:12]}.json").read_text() + " ")
    now = load_set(tmp_path)
    assert load_set(tmp_path, before.sha256).sha256 == before.sha256 != now.sha256
    assert load_set(tmp_path, now.sha256).sha256 == now.sha256 == load_set(tmp_path, "0" * 64).sha256


def test_items_are_left_out_by_rules_that_know_no_condition(monkeypatch, tmp_path):
    flat = np.zeros((100, 100), np.float32)
    assert built(monkeypatch, tmp_path, flat).dropped == "its reference map is flat"
    peak = flat.copy()
    peak[10:30, 10:30] = 1
    assert "class neuron" in built(monkeypatch, tmp_path, peak, used=[1]).dropped
    made = built(monkeypatch, tmp_path, peak)
    assert Drafted.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert Drafted(dropped="r", target=3).to_dict() == {"draft": None, "dropped": "r", "class": 3}
    assert Drafted(dropped="r").to_dict() == {"draft": None, "dropped": "r"}
    item = made.draft.items["reference"]
    assert (item.class_neuron, item.role, set(item.files)) == ("net:1", "catch", {"picture", "shown"})
    left, top, side = item.regions["reference"]
    inside = [min(start + side, 0.3) - max(start, 0.1) for start in (left, top)]
    assert inside[0] * inside[1] >= 0.9 * 0.2 * 0.2 - 1e-9


def test_the_shipped_demo_set_is_whole_free_and_marked():
    found = load_set(DEMO_SET)
    assert found.demo
    assert len(found.of("main")) >= 15
    assert (len(found.of("practice")), len(found.of("catch"))) == (6, 4)
    assert all(item.credit["licence"] for item in found.items)
    assert {item.reference_source for item in found.of("main")} == {"scorecam", "trigger"}
    demo_design().check_set(found)
    drawn = [item for item in found.of("practice") if drawn_for(demo_design(), item)]
    assert [len({found.read(name) for name in item.files.values()}) for item in drawn] == [4], "four pictures differ"
