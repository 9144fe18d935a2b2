"""The shipped gallery: whole, small, free, true to its manifests, and found by what the pages ask for."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest

from benchmarks import gallery
from spade_core.gallery.cases import CASES, FOLDER, answered, cases, plainest, request_key
from spade_core.pictures.picture import bundled
from spade_core.results.comparison import replay
from spade_core.results.manifest import read_manifest
from spade_core.saliency.metrics import trojan_auc
from spade_core.ui.common.link import Choice

MOST = 3 * 2**20
ALL = list(cases().values())
ANSWERS = {answer.key: answer for case in ALL for answer in case.answers}


def manifests(kind):
    return [FOLDER / answer.folder / "manifest.json" for answer in ANSWERS.values() if answer.kind == kind]


def test_there_are_sixteen_cases_of_every_kind_and_some_get_worse():
    assert len(ALL) >= 16
    groups = {case.group for case in ALL}
    assert groups == {gallery.BACKDOOR, gallery.CLEAN, gallery.DRAWN, gallery.INSIDE, gallery.FAILED}
    assert any(case.gain is not None and case.gain < 0 for case in ALL)
    assert all(case.title and case.see.endswith(".") and case.links and case.facts for case in ALL)


def test_the_list_is_what_the_command_would_write():
    told = [(plan.name, plan.title, plan.group, plan.see, plan.labels, dict(plan.links)) for plan in gallery.PLANS]
    assert told == [(one.name, one.title, one.group, one.see, one.labels, dict(one.links)) for one in ALL]


def test_every_file_is_named_with_its_hash_and_all_of_them_are_small():
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MOST
    shown = {FOLDER / one.name / f"{what}.webp" for one in ALL for what in ("before", "after", "picture", "tile")}
    kept = {FOLDER / answer.folder / name: sha for answer in ANSWERS.values() for name, sha in answer.files.items()}
    assert set(files) == shown | set(kept) | {FOLDER / CASES}
    assert all(hashlib.sha256(file.read_bytes()).hexdigest() == sha for file, sha in kept.items())


def test_only_bundled_pictures_are_used():
    for case in ALL:
        for query in case.links.values():
            assert query["picture"].removeprefix("bundled:") in bundled()


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_the_requests_of_a_cases_links_find_its_answers(case):
    """Else the form of a request has changed: run ``python -m benchmarks.gallery --keys``."""
    asked = [request_key(kind, json.loads(json.dumps(payload))) for kind, payload in gallery.requests(case.links)]
    assert set(asked) == {answer.key for answer in case.answers}


def test_the_plainest_case_is_the_one_whose_error_shrinks_most():
    shares = {}
    for case in ALL:
        for answer in case.answers:
            described = json.loads(answer_file(answer, "manifest.json")) if answer.kind == "analysis" else {}
            method = next(iter(described.get("methods", {}).values()), {"dense": {}})
            if "trojan_auc" in method["dense"]:
                dense, spade = (100 - method[side]["trojan_auc"] for side in ("dense", "spade"))
                shares[case.name] = 100 * (1 - spade / dense)
                assert case.gain == pytest.approx(shares[case.name])
    assert plainest().name == max(shares, key=shares.__getitem__)


def answer_file(answer, name):
    return (FOLDER / answer.folder / name).read_bytes()


@pytest.mark.parametrize("kind", ["analysis", "visualization"])
def test_every_manifest_can_be_replayed_as_far_as_its_record_says(kind):
    for file in manifests(kind):
        described = read_manifest(file)
        assert described["picture"]["source"].startswith("bundled:")
        assert described["picture"]["sha256"]
        assert described["environment"]["device_type"] == "cpu"


def test_a_replay_finds_the_maps_that_are_kept():
    """On another processor a trace rounds otherwise; the dense model hardly does."""
    case = cases()["coffee_heart"]
    answer = next(one for one in case.answers if one.kind == "analysis")
    analysis, _ = replay(FOLDER / answer.folder)
    query = case.links["saliency"]
    choice = Choice.from_query(query)
    kept = answered("analysis", {**gallery.subject(choice), "config": choice.analysis().to_dict()})
    assert kept is not None
    mask = np.load(io.BytesIO(kept["mask.npy"]))
    for side, least in (("dense", 0.99), ("spade", 0.75)):
        values, before = analysis.pairs["saliency"].sides[side].map, np.load(io.BytesIO(kept[f"{side}_saliency.npy"]))
        cut = np.abs(before).max()
        assert np.corrcoef(np.clip(values, -cut, cut).ravel(), before.ravel())[0, 1] > least
        assert trojan_auc(np.abs(values), mask) == pytest.approx(trojan_auc(np.abs(before), mask), abs=2)
    assert analysis.trace.fidelity.keeps_class
    assert f"{analysis.trace.report.sparsity:.0%}" == case.facts["Weights removed"]


def test_what_nobody_has_kept_has_no_answer():
    assert answered("describe", {"model": {"name": "resnet18"}}) is None
    assert answered("analysis", {"picture": "no mapping"}) is None
