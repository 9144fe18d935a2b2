"""timm by name: published weights from the cache, quick refusals without a connection."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import spade_core as sc
from spade_core.errors import ModelError
from spade_core.models import timm as timm_models
from tests.models.test_weights import Evil

NAME, REPO = "resnet10t", "models--timm--resnet10t.c3_in1k"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache; returns the folder of the model's files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    folder = tmp_path / REPO / "snapshots" / ("c" * 40)
    folder.mkdir(parents=True)
    (tmp_path / REPO / "refs").mkdir()
    (tmp_path / REPO / "refs" / "main").write_text("c" * 40)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("spade_core.models.weights.urlopen", refuse)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_cached_weights_need_no_connection(hub, file):
    torch.manual_seed(0)
    state = timm_models.create(NAME).state_dict()
    (save_file if file.endswith("safetensors") else torch.save)(state, hub / file)
    model = sc.load_model(f"timm:{NAME}", device="cpu")
    assert model.labels[967] == "espresso"
    assert model.preprocessing.size == 176
    assert "state_dict" not in model.module.pretrained_cfg
    found = model.module.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_cached_pickles_run_no_code(hub, tmp_path):
    torch.save({"conv1.weight": torch.ones(2), "evil": Evil(str(tmp_path / "ran"))}, hub / "pytorch_model.bin")
    with pytest.raises(ModelError, match="Python objects"):
        sc.load_model(f"timm:{NAME}", device="cpu")
    assert not (tmp_path / "ran").exists()


def test_cached_weights_of_another_model_are_refused(hub):
    save_file({"fc.weight": torch.ones(3, 3)}, hub / "model.safetensors")
    with pytest.raises(ModelError, match="do not fit it: delete them"):
        sc.load_model(f"timm:{NAME}", device="cpu")


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_connection_the_answer_is_quick(hub, monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    asked = []  # the hub's client, which would retry for 23 s
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *told, **_: asked.append(told))
    with pytest.raises(ModelError) as caught:
        sc.load_model(f"timm:{NAME}", device="cpu")
    assert not asked
    text = str(caught.value)
    assert "huggingface.co/timm/resnet10t.c3_in1k" in text
    assert f"Hugging Face cache ({hub.parents[2]})" in text
    assert "these work without one: efficientnet_lite0" in text


def test_names_are_checked_before_anything_is_fetched():
    for name, message in (
        ("resnet10x", "resnet10t"),
        ("resnet10t.nothing", r"no weights 'resnet10t\.nothing': take resnet10t\.c3_in1k"),
        ("../etc", "timm has no model"),
        ("", "timm has no model"),
        ("beit3_giant_patch14_224", "publishes no weights"),
    ):
        with pytest.raises(ModelError, match=message):
            sc.load_model(f"timm:{name}", device="cpu")


def test_the_classifier_is_found_by_name():
    assert timm_models.classifier_of(timm_models.create(NAME)) == "fc"
    assert timm_models.classifier_of(timm_models.create("crossvit_tiny_240")) is None
