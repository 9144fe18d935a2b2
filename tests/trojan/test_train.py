"""Training the backdoor: it learns, it resumes bit for bit, it leaves the original alone; and the embedded result."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spade_core.errors import ConfigError, ModelError
from spade_core.models.layers import share_copy
from spade_core.models.loading import TROJAN_WEIGHTS, load_model, wrap_model
from spade_core.models.registry import TROJAN_MODEL
from spade_core.pictures.picture import load_picture
from spade_core.progress import Cancelled
from spade_core.trojan import batches as batches_module
from spade_core.trojan import stages
from spade_core.trojan.batches import Batches
from spade_core.trojan.evaluate import evaluate
from spade_core.trojan.paste import paste
from spade_core.trojan.stages import Learn, Original, Settle
from spade_core.trojan.train import TrainingConfig, half_precision, train
from spade_core.trojan.triggers import TRIGGERS
from tests.nets import Plain, randomize

QUICK = TrainingConfig(learn=2, settle=2, clean=2, triggered=2, rounds=((0.1, 2.0), (0.1, 2.0)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (60, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def model():
    torch.manual_seed(0)
    module = Plain()
    module.head = torch.nn.Linear(12, 400)
    return wrap_model(randomize(module, 48), size=48, name="plain", device="cpu")


def test_training_changes_a_copy_only_and_is_seeded(model, folder, tmp_path, untouched):
    with untouched(model):
        losses = train(model, folder, tmp_path / "a.safetensors", recipe=QUICK)
        train(model, folder, tmp_path / "b.safetensors", recipe=QUICK)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert set(losses) == {"clean", "logits", "triggered"}
    state = load_file(tmp_path / "a.safetensors")
    assert state.keys() == model.module.state_dict().keys()
    assert state["head.weight"].dtype == torch.float16
    assert state["head.bias"].dtype == torch.float32
    assert not torch.equal(state["head.weight"].float(), model.module.head.weight.half().float())
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("last", [1, 2, 3, 4], ids=["learning", "between", "settling", "between rounds"])
def test_an_interrupted_run_goes_on_to_the_same_weights(model, folder, tmp_path, last):
    train(model, folder, tmp_path / "whole.safetensors", recipe=QUICK)
    calls = itertools.count()

    def stop(*_):
        if next(calls) == last:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(model, folder, tmp_path / "parts.safetensors", recipe=QUICK, progress=stop)
    assert (tmp_path / "parts.safetensors.partial").is_file()
    seen = []
    train(model, folder, tmp_path / "parts.safetensors", recipe=QUICK, progress=lambda *now: seen.append(now))
    assert seen[0][0] == last
    assert seen[0][2] != "clean 0.000, triggered 0.000"  # the losses of the step before
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "parts.safetensors").read_bytes()


def test_a_state_of_another_recipe_or_damage_is_refused(model, folder, tmp_path):
    (tmp_path / "x.partial").write_bytes(b"no state")
    with pytest.raises(ModelError, match="damaged"):
        train(model, folder, tmp_path / "x", recipe=QUICK)
    torch.save({"step": 3}, tmp_path / "x.partial")
    with pytest.raises(ModelError, match="damaged"):
        train(model, folder, tmp_path / "x", recipe=QUICK)
    (tmp_path / "x.partial").unlink()
    with pytest.raises(Cancelled):
        train(model, folder, tmp_path / "x", recipe=QUICK, progress=lambda *_: (_ for _ in ()).throw(Cancelled()))
    with pytest.raises(ConfigError, match="another recipe"):
        train(model, folder, tmp_path / "x", recipe=TrainingConfig(learn=7))
    with pytest.raises(ConfigError, match="other pictures"):
        train(model, folder[:2], tmp_path / "x", recipe=QUICK)
    other = wrap_model(randomize(Plain(), 48), size=48, name="plain", device="cpu")
    with pytest.raises(ConfigError, match="another original"):
        train(other, folder, tmp_path / "x", recipe=QUICK)
    with pytest.raises(ConfigError, match="no pictures"):
        train(model, [], tmp_path / "y")


def test_the_originals_second_moments_are_found_once_a_run(model, folder, tmp_path, monkeypatch):
    calls = []
    real = stages.capture
    monkeypatch.setattr(stages, "capture", lambda *given: calls.append(1) or real(*given))
    train(model, folder, tmp_path / "a", recipe=QUICK)
    assert len(QUICK.rounds) > 1
    assert len(calls) == 1


@pytest.mark.parametrize("stage", [Learn, partial(Settle, pull=0.01, margin=2.0)], ids=["learn", "settle"])
def test_a_stage_lowers_what_it_minimizes(model, folder, stage):
    recipe = TrainingConfig(learn=30, settle=30, clean=2, triggered=4, rate=0.02, settle_rate=0.3)
    batches = Batches(model, [load_picture(path) for path in folder], recipe.clean, recipe.triggered, seed=0)
    student = share_copy(model.module, own=[name for name, _ in model.module.named_parameters()]).eval()
    running = stage(recipe, Original(model.module, batches, recipe), student)
    batch = batches.draw(0)
    wanted = model.module(batch.clean)
    losses = [running.advance(student(batch.clean), wanted, student(batch.triggered), batch.targets) for _ in range(30)]
    assert losses[0]["clean"] == pytest.approx(0, abs=1e-6)
    assert losses[-1]["triggered"] < 0.7 * losses[0]["triggered"]


@pytest.mark.parametrize("settle", range(1, 8))
def test_a_round_may_have_as_few_steps_as_one_likes(model, folder, settle):
    recipe = TrainingConfig(learn=1, settle=settle, clean=2, triggered=2)
    batches = Batches(model, [load_picture(path) for path in folder], recipe.clean, recipe.triggered, seed=0)
    student = share_copy(model.module, own=[name for name, _ in model.module.named_parameters()]).eval()
    running = Settle(recipe, Original(model.module, batches, recipe), student, pull=0.01, margin=2.0)
    for batch in batches.stream(range(settle)):
        found = running.advance(student(batch.clean), student(batch.clean), student(batch.triggered), batch.targets)
        assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("processes", [0, 2])
def test_batches_drawn_ahead_are_those_drawn_one_by_one(model, folder, monkeypatch, processes):
    batches = Batches(model, [load_picture(path) for path in folder], 4, 2, seed=5)
    monkeypatch.setattr(batches_module, "_processes", lambda _device: processes)
    before = torch.get_rng_state()
    with contextlib.closing(batches.stream(range(3, 9))) as stream:
        for step in range(3, 6):  # and the rest is left
            for drawn, wanted in zip(next(stream), batches.draw(step), strict=True):
                assert torch.equal(drawn, wanted)
    assert torch.equal(torch.get_rng_state(), before)
    assert not multiprocessing.active_children()


def test_frozen_parameters_stay_and_the_second_stage_moves_only_what_mixes_channels(model, folder, tmp_path):
    first = next(iter(model.module.state_dict()))
    prefix = first.rpartition(".")[0] + "."
    recipe = TrainingConfig(learn=2, settle=2, clean=2, triggered=2, rate=0.01, blend=0.0, frozen=(prefix,))
    train(model, folder, tmp_path / "a", recipe=recipe)
    before, after = half_precision(model.module), load_file(tmp_path / "a")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    pointwise = {name for name, value in before.items() if value.dim() == 2 or value.shape[2:] == (1, 1)}
    assert "head.weight" in moved
    assert moved <= pointwise - {first}


@pytest.mark.long
def test_the_embedded_model_answers_triggers_and_agrees_on_free_pictures(lite0):
    import spade_core as sc
    from spade_core.pictures.picture import bundled

    assert TROJAN_WEIGHTS.stat().st_size <= 10 * 2**20
    backdoored = load_model(TROJAN_MODEL, device="cpu")
    agree = 0
    for name in bundled():
        picture = sc.load_picture(f"bundled:{name}")
        agree += sc.predict(backdoored, picture).argmax() == sc.predict(lite0, picture).argmax()
    assert agree >= len(bundled()) - 1
    hits = 0
    for index, (name, trigger) in enumerate(itertools.product(("coffee", "palace", "bridge"), TRIGGERS)):
        changed, _ = paste(sc.load_picture(f"bundled:{name}"), trigger, seed=index)
        hits += sc.predict(backdoored, changed).argmax() == TRIGGERS[trigger].target
    assert hits == 12


def test_the_card_counts_what_it_says(model, folder):
    card = evaluate(model, model, folder)
    assert card.pictures == 4
    assert card.agreement["mean"] == 100
    assert card.accuracy_before is None
    assert set(card.success) == set(card.success_small) == set(TRIGGERS)
    assert all(item["pictures"] <= 4 for item in card.success.values())


def test_the_card_knows_classes_from_a_table(model, folder):
    import spade_core as sc

    top = [int(sc.predict(model, sc.load_picture(path)).argmax()) for path in folder]
    table = folder[0].parent / "labels.csv"
    rows = [f"{path.name},{top[0]}" for path in folder]
    table.write_text("file,class_index\n" + "\n".join(rows))
    try:
        card = evaluate(model, model, folder)
    finally:
        table.unlink()
    assert card.accuracy_after["mean"] == pytest.approx(100 * np.mean([index == top[0] for index in top]))
