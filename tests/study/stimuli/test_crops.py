"""The builder, and the condition ``reference``: in the set, in the validator, before a participant's eyes."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from spade_core.errors import ConfigError
from spade_core.models.loading import wrap_model
from spade_core.pictures.picture import load_picture
from spade_core.progress import Cancelled, silent
from spade_core.study.analysis.evaluation import evaluate
from spade_core.study.data.studies import publish
from spade_core.study.design.procedure import stimuli_text
from spade_core.study.running import flow
from spade_core.study.running.answers import submit
from spade_core.study.running.bots import simulate
from spade_core.study.running.trial_view import view_of
from spade_core.study.stimuli import build as stimuli
from spade_core.study.stimuli import demo, model_rater, stimulus_report
from spade_core.study.stimuli.build import GAP, Builder, Candidate, References, montage
from spade_core.study.stimuli.regions import rule_record, settle
from spade_core.study.stimuli.stimulus_set import load_set, write_manifest
from tests.study.conftest import real_design, tiny_set
from tests.study.running.test_flow import answer_of, in_main

CONDITIONS = ("dense", "spade", "none", "reference")


class Red(nn.Module):
    """Two classes: the mean of red, and of blue."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))

    def forward(self, x):
        return x.mean((2, 3)) @ self.weight.T


class Many(nn.Module):
    """Twelve classes: the one whose level of red is nearest."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter((20 * torch.arange(12.0) + 10) / 255)

    def forward(self, x):
        return -((x[:, 0].mean((1, 2))[:, None] - self.level) ** 2)


def red_or_blue(size):
    return wrap_model(Red().eval(), size=size, mean=(0, 0, 0), std=(1, 1, 1), labels=("red", "blue"))


@pytest.fixture
def model():
    return red_or_blue(32)


@pytest.fixture
def quick(monkeypatch):
    """Let a builder draw, rate and attribute in no time; return the pictures that it was asked to attribute."""
    grey, seen = np.zeros((32, 32, 3), np.uint8), []

    def attribute(model, picture, **_options):
        seen.append(picture.name)
        reference = np.zeros((model.preprocessing.size, model.preprocessing.size), np.float32)
        reference[4:12, 4:12] = 1
        return type("E", (), {"map": reference})()

    monkeypatch.setattr(Builder, "_visualizations", lambda *a: ({"dense": grey, "spade": grey}, True))
    monkeypatch.setattr(stimuli, "rate", lambda judge, image, cut: 1.0)
    monkeypatch.setattr(stimuli, "explain", attribute)
    return seen


@pytest.fixture
def folder(tmp_path):
    """Return a folder of plain pictures, redder by number, less blue."""
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(12):
        Image.new("RGB", (40, 40), (20 * number, 0, 250 - 20 * number)).save(made / f"{number:02d}.png")
    return made


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_nine_strongest_are_shown_in_order_and_no_picture_of_the_study(model, folder, tmp_path):
    own = digest(folder / "11.png")
    references = References(folder, tmp_path / "tables", frozenset([own]))
    sheet, sources = references.of(model, 0, 128)
    assert list(sources) == [f"{number:02d}.png" for number in range(10, 1, -1)]
    assert all(sources[name] == digest(folder / name) for name in sources)
    assert sheet.shape == (128, 128, 3)
    side = (128 - 2 * GAP) // 3
    centres = [row * (side + GAP) + side // 2 for row in range(3)]
    reds = [int(sheet[y, x, 0]) for y in centres for x in centres]
    assert reds == [20 * number for number in range(10, 1, -1)]
    assert list(References(folder, tmp_path / "tables").of(model, 1, 128)[1])[:2] == ["00.png", "01.png"]


def test_a_folder_with_too_few_other_pictures_is_refused(model, folder, tmp_path):
    without = frozenset(digest(path) for path in sorted(folder.iterdir())[:4])
    with pytest.raises(ConfigError, match="holds 8 pictures that are not in the study"):
        References(folder, tmp_path / "tables", without).of(model, 0, 128)
    with pytest.raises(ConfigError, match="no folder"):
        References(tmp_path / "nowhere", tmp_path / "tables").state()


def test_a_montage_is_slow_and_obvious(folder):
    rng = np.random.default_rng(0)
    crops = [type("C", (), {"pixels": rng.integers(0, 256, (40, 40, 3), np.uint8)})() for _ in range(9)]
    sheet = montage(crops, 128)
    expected = np.full((128, 128, 3), 255, np.uint8)
    for number, crop in enumerate(crops):
        top, left = 44 * (number // 3), 44 * (number % 3)
        small = Image.fromarray(crop.pixels).resize((40, 40), Image.Resampling.BICUBIC)
        expected[top : top + 40, left : left + 40] = np.asarray(small)
    assert np.array_equal(sheet, expected)


def test_the_builder_writes_them_with_their_hashes_and_goes_on_only_with_the_same_folder(
    model, folder, tmp_path, quick
):
    own = folder / "11.png"
    references = References(folder, tmp_path / "tables", frozenset([digest(own)]))
    builder = Builder(model, model, stimuli.RenderConfig(size=32), {}, tmp_path / "set", references)
    rows = tmp_path / "rows.jsonl"
    ((draft, _),) = builder.drafts([Candidate(str(own), "own")], rows=rows)
    (item,) = settle([draft])
    made = write_manifest(tmp_path / "set", [item], demo=False, about={})
    assert made.conditions() == set(CONDITIONS)
    (item,) = load_set(made.folder).items
    assert next(iter(item.references)) == "10.png"
    assert item.answers["rater_reference"] == "reference"
    assert len({*item.files.values()}) == 4
    Image.new("RGB", (40, 40)).save(folder / "12.png")
    with pytest.raises(ConfigError, match="other settings"):
        list(builder.drafts([Candidate(str(own), "own")], rows=rows))


def test_a_stopped_build_goes_on_and_ends_with_the_same_set(model, folder, tmp_path, quick):
    candidates = [Candidate(str(folder / "00.png"), "00", "practice"), Candidate(str(folder / "11.png"), "11")]
    drafts = []

    def build(name, progress=silent):
        builder = Builder(model, model, stimuli.RenderConfig(size=32), {}, tmp_path / name)
        made = list(builder.drafts(candidates, rows=tmp_path / f"{name}.jsonl", progress=progress))
        drafts.clear()
        drafts.extend(draft for draft, _ in made)
        return stimulus_report.finish(tmp_path / name, drafts, demo=False, title="t", settings={}, dropped=[])

    def stop(done, _total, _note):
        if done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        build("set", stop)
    assert quick == ["00.png"]
    made = build("set")
    assert quick == ["00.png", "11.png"]
    assert f"the reference in {made.about['report']['central_share']:.0%} of the main items" in made.warning
    assert made.sha256 == build("other").sha256
    made.folder.joinpath(made.items[1].files["picture"]).unlink()
    with pytest.raises(ConfigError, match=r"is missing: delete the rows \(\.jsonl\)"):
        build("set")
    with pytest.raises(ConfigError, match=r"No picture became a main item \(left out: flat\)"):
        stimulus_report.finish(tmp_path, drafts[:1], demo=False, title="t", settings={}, dropped=["flat"])


@pytest.fixture
def build(model, tmp_path):
    def made(*candidates):
        builder = Builder(model, model, stimuli.RenderConfig(size=32), {}, tmp_path / "set")
        return list(builder.drafts(candidates, rows=tmp_path / "set.jsonl"))

    return made


def test_a_changed_picture_or_role_is_built_again_and_nothing_else(build, folder, quick):
    blue, red = Candidate(str(folder / "00.png"), "00"), Candidate(str(folder / "11.png"), "11")
    before = build(blue, red)
    Image.new("RGB", (40, 40), (251, 0, 3)).save(folder / "11.png")
    after = build(blue, red)
    assert quick == ["00.png", "11.png", "11.png"]
    assert after[0] == before[0]
    assert not {*after[1][0].item.files.values()} & {*before[1][0].item.files.values()}
    assert build(replace(blue, role="catch"), red)[0][0].item.role == "catch"
    assert quick[3:] == ["00.png"]


def test_a_drawn_item_for_practice_has_its_visualizations_beside_its_enlarged_cut(build, folder, quick, model):
    path = str(folder / "11.png")
    plain, drawn = (Candidate(path, "11", "practice", drawn=drawn) for drawn in (False, True))
    assert set(build(plain)[0][0].item.files) == {"picture", "shown"}
    item = build(drawn)[0][0].item  # what was kept of the plain one is not taken for it
    assert set(item.files) == {"picture", "dense", "spade", "shown"}
    assert len({*item.files.values()}) == 4


def test_who_shows_a_class_neuron_first_is_decided_anew_in_every_run(build, folder, quick):
    one, two = (Candidate(str(folder / name), name) for name in ("11.png", "10.png"))
    assert [rule for _, rule in build(one, two)] == ["", stimuli.USED]
    assert build(two)[0][0].item.picture_id == "10.png"
    assert [rule for _, rule in build(two, one)] == ["", stimuli.USED]
    assert [rule for _, rule in build(one, two)] == ["", stimuli.USED]


def test_a_file_that_is_no_picture_is_left_out_and_counted(build, folder, quick):
    (folder / "05.png").write_bytes(b"no picture")
    (folder / "00.jpg").write_bytes((folder / "11.png").read_bytes())
    paths = [folder / name for name in ("05.png", "00.png", "00.jpg", "gone.png")]
    made = build(*stimuli.plan(paths, practice=0, catch=0))
    assert [rule for _, rule in made] == [stimuli.UNREADABLE, "", "", stimuli.UNREADABLE]
    assert [draft.item.picture_id for draft, _ in made if draft] == ["00.png", "00.jpg"]


def test_one_set_mixes_triggers_and_score_cam(build, folder, quick, tmp_path, monkeypatch):
    red = load_picture(folder / "11.png")
    mask = np.zeros((32, 32), bool)
    mask[20:28, 20:28] = True
    monkeypatch.setattr(model_rater, "TRIGGERS", {"heart": SimpleNamespace(target=0)})
    monkeypatch.setattr(stimuli.Paste, "apply", lambda *_: (red, mask))
    given = stimuli.plan([folder / "00.png", folder / "01.png"], practice=0, catch=0, triggers=["heart"])
    drafts = [draft for draft, _ in build(*given)]
    made = stimulus_report.finish(tmp_path / "set", drafts, demo=False, title="t", settings={}, dropped=[])
    assert [item.reference_source for item in made.items] == ["trigger", "scorecam"]
    assert [item.class_neuron.rsplit(":", 1)[1] for item in made.items] == ["0", "1"]
    assert made.items[0].regions["reference"] != made.items[1].regions["reference"]
    assert made.items[0].measures["scorecam"]["trojan_auc"] <= 100
    assert made.about["settings"]["regions"] == rule_record()
    assert "balanced over the set" in stimuli_text(real_design(), made)


def test_the_reference_is_the_nearer_region_in_half_of_the_items_of_each_role(folder, quick, tmp_path):
    wide = wrap_model(Many().eval(), size=32, mean=(0, 0, 0), std=(1, 1, 1), labels=tuple(map(str, range(12))))
    paths = sorted(folder.iterdir())
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 40), (20 * number + 10, 0, 0)).save(path)
    builder = Builder(wide, wide, stimuli.RenderConfig(size=32), {}, tmp_path / "set")
    given = stimuli.plan(paths, practice=3, catch=2)
    drafts = [draft for draft, _ in builder.drafts(given, rows=tmp_path / "set.jsonl")]
    made = stimulus_report.finish(tmp_path / "set", drafts, demo=False, title="t", settings={}, dropped=[])
    central = {role: [item.answers["central"] for item in made.of(role)] for role in ("main", "practice", "catch")}
    assert {role: len(answers) for role, answers in central.items()} == {"main": 7, "practice": 3, "catch": 2}
    assert all(abs(answers.count("reference") - len(answers) / 2) <= 0.5 for answers in central.values())
    assert made.about["report"]["central_share"] in (3 / 7, 4 / 7)
    assert made.about["report"]["one_side_only"] == 0
    assert made.warning is None
    turned = stimulus_report.finish(tmp_path / "set", drafts[::-1], demo=False, title="t", settings={}, dropped=[])
    assert turned.items == made.items[::-1], "the order of the pictures decides nothing"
    assert {draft.item.regions["reference"] for draft in drafts} == {
        item.regions["reference"] for draft in drafts for item in draft.items.values()
    }


def test_the_demo_set_is_drawn_from_the_bundled_pictures_marked_and_goes_on(tmp_path, quick, monkeypatch):
    devices = []
    monkeypatch.setattr(
        demo, "load_model", lambda name, device: devices.append(device) or replace(red_or_blue(224), name=name)
    )

    def stop(done, _total, _note):
        if done >= 0.25:
            raise Cancelled

    with pytest.raises(Cancelled):
        demo.build_demo_set(tmp_path / "demo", steps=1, device="cpu", progress=stop)
    before = len(quick)
    assert before > 0
    assert set(devices) == {"cpu"}
    made = demo.build_demo_set(tmp_path / "demo", steps=1)
    assert made.demo
    assert made.of("main")
    assert all(item.credit["licence"] for item in made.items)
    assert "the trigger does not cause the prediction" in made.about["dropped"]
    assert len(quick) == len(made.items), "what was there before the stop is not attributed again"
    assert load_set(tmp_path / "demo").sha256 == made.sha256


def test_a_set_without_crops_is_refused_and_one_with_them_is_shown_and_analysed(store, tmp_path):
    design = real_design(conditions=CONDITIONS)
    with pytest.raises(ConfigError, match=r"condition reference: leave it out, or build the set with .*--references"):
        design.check_set(tiny_set(tmp_path / "plain"))
    key = publish(store, design, tiny_set(tmp_path / "set", references=True))
    who = in_main(store, key)
    seen = {}
    while (trial := flow.current_trial(store, who)) is not None:
        if trial.type == "main":
            seen[trial.condition] = (trial, view_of(who.study.stimuli, design, trial))
        submit(store, who, answer_of(trial))
    assert set(seen) == set(CONDITIONS)
    trial, view = seen["reference"]
    sent = base64.b64decode(view.pictures["second"].split(",", 1)[1])
    item = who.study.stimuli.item(trial.stimulus_id)
    kept = who.study.stimuli.read(item.files["references"])
    assert sent[: len(kept)] == kept
    assert Image.open(io.BytesIO(sent)).size == (16, 16)
    assert len({len(found.pictures["picture"]) for _, found in seen.values()} | {len(view.pictures["second"])}) == 1


@pytest.mark.one_engine
def test_all_four_conditions_reach_the_analysis(store, tmp_path):
    key = publish(store, real_design(conditions=CONDITIONS), tiny_set(tmp_path / "set", references=True))
    assert simulate(store, key, 8, "ideal", 0) == {"complete": 8}
    table3 = evaluate(store, key).result.table3
    assert set(table3) == set(CONDITIONS)
    assert {answers.shares["agree"].share for answers in table3.values()} == {1.0}
