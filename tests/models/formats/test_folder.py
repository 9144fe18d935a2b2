"""Folders of timm and transformers, and the hub's names: their own preprocessing and labels, no code of strangers."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import spade_core as sc
from spade_core.errors import ModelError
from spade_core.models import timm as timm_models
from spade_core.models.formats import folder as folders
from tests.models.test_weights import Evil

if "CI" not in os.environ:
    pytest.importorskip("transformers", reason="not installed: pip install -r requirements-models.txt")

NAMES = {0: "cat", 1: "dog", 2: "owl"}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A ViT as the Trainer saves it after fine-tuning, with random weights."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(**SIZES, image_size=16, patch_size=4, id2label=NAMES, label2id={b: a for a, b in NAMES.items()})
    config.initializer_range = 0.3
    path = tmp_path_factory.mktemp("hub") / "vit.tiny"
    ViTForImageClassification(config).save_pretrained(path)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.4] * 3, image_std=[0.3] * 3).save_pretrained(path)
    return path


@pytest.fixture
def vit(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / saved.name)


def edit(path, **changes):
    found = json.loads(path.read_text())
    path.write_text(json.dumps({key: one for key, one in (found | changes).items() if one is not None}))


def test_a_fine_tuned_vit_is_explained_as_transformers_would_run_it(saved, noise):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = sc.load_model(weights=saved, device="cpu")
    assert (model.name, model.labels) == ("vit.tiny", ("cat", "dog", "owl"))
    read = AutoImageProcessor.from_pretrained(saved)(Image.fromarray(noise.pixels), return_tensors="pt")
    with torch.no_grad():
        wanted = AutoModelForImageClassification.from_pretrained(saved).eval()(**read).logits.softmax(1)[0]
    assert np.allclose(sc.predict(model, noise), wanted, atol=2e-3)  # pixels are rounded before they are normalized
    names = {one.name.rpartition(".")[2] for one in model.layers}
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "fc1", "classifier"} <= names
    trace = sc.trace(model, noise, sparsity=0.5, preset="uniform", views=2)
    ratios = [one.realised for one in trace.report.layers if one.name.endswith(("q_proj", "v_proj"))]
    assert ratios == pytest.approx([0.5] * 4, abs=0.02)
    for method in ("gradcam", "attention_rollout", "libragrad"):
        assert sc.explain(trace, noise, method=method).map.std() > 0


def test_the_spec_loads_it_again(saved):
    model = sc.load_model(weights=saved, device="cpu")
    told = json.loads(json.dumps(model.spec))
    assert told["weights"] == str(saved)
    assert sc.load_model(**{key: one for key, one in told.items() if one}, device="cpu").sha256 == model.sha256


@pytest.mark.parametrize(
    ("processor", "found"),
    [
        ({"size": {"shortest_edge": 16}, "crop_pct": 0.8, "image_processor_type": "ConvNextImageProcessor"}, (16, 20)),
        (
            {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": True}
            | {"image_processor_type": "CLIPImageProcessor"},
            (16, 20),
        ),
        ({"size": 16, "feature_extractor_type": "ViTFeatureExtractor"}, (16, 16)),
        ({"size": {"height": 16, "width": 16}, "image_processor_type": "EfficientNetImageProcessor"}, (16, 16)),
    ],
)
def test_processors_are_followed(vit, processor, found):
    (vit / "preprocessor_config.json").write_text(json.dumps(processor))
    preprocessing = sc.load_model(weights=vit, device="cpu").preprocessing
    assert (preprocessing.size, preprocessing.resize) == found


@pytest.mark.parametrize(
    "processor",
    [
        {"image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 18}}
        | {"crop_size": {"height": 16, "width": 16}},  # blue comes first
        {"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 16}},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}, "resample": 0},
        {"image_processor_type": "NoSuchProcessor", "size": {"height": -1}, "image_mean": ["a"]},
    ],
)
def test_processors_that_cannot_be_followed_are_refused(vit, processor):
    (vit / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ModelError, match=r"image processor of vit\.tiny") as caught:
        sc.load_model(weights=vit, device="cpu")
    assert str(caught.value).count(". ") <= 1


def test_a_folder_without_a_processor_takes_the_usual_one_and_says_so(vit):
    (vit / "preprocessor_config.json").unlink()
    model = sc.load_model(weights=vit, device="cpu")
    assert model.preprocessing.size == 16
    assert any("comes without preprocessor_config.json" in note for note in model.notes)


def test_code_kernels_and_adapters_of_strangers_are_not_looked_for(vit, tmp_path):
    (vit / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    code = {"AutoModelForImageClassification": "evil.Model", "AutoConfig": "evil.Config"}
    edit(vit / "config.json", auto_map=code, _attn_implementation="stranger/kernels", quantization_config={"a": 1})
    (vit / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')
    edit(vit / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Processor"})
    assert sc.load_model(weights=vit, device="cpu").labels == ("cat", "dog", "owl")
    assert not (tmp_path / "ran").exists()


def test_pickles_run_no_code(vit, tmp_path):
    (vit / "model.safetensors").unlink()
    torch.save({"vit.a": torch.ones(2), "evil": Evil(str(tmp_path / "ran"))}, vit / "pytorch_model.bin")
    with pytest.raises(ModelError, match="Python objects"):
        sc.load_model(weights=vit, device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 10**9}, "says num_hidden_layers = 1000000000"),
        ({"intermediate_size": 10**5}, "describes .* numbers and its weights hold"),
        ({"num_hidden_layers": 3}, "16 missing|missing"),
        ({"hidden_size": 32}, "of another shape"),
        ({"model_type": "no_such_type"}, "builds no image classifier"),
        ({"model_type": "bert"}, "builds no image classifier"),
        ({"hidden_dropout_prob": "much"}, "builds no image classifier"),
        ({"num_attention_heads": 0}, "builds no image classifier"),
        ({"model_type": None}, "names no architecture"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(vit, changes, message):
    edit(vit / "config.json", **changes)
    with pytest.raises(ModelError, match=message) as caught:
        sc.load_model(weights=vit, device="cpu")
    assert str(caught.value).count(". ") <= 1


def test_a_headless_network_is_no_classifier(vit):
    state = load_file(vit / "model.safetensors")
    save_file({key: one for key, one in state.items() if "classifier" not in key}, vit / "model.safetensors")
    with pytest.raises(ModelError, match=r"2 missing \(classifier.bias, classifier.weight\)"):
        sc.load_model(weights=vit, device="cpu")


def test_weights_in_parts_lie_in_the_folder(vit, saved):
    state = load_file(vit / "model.safetensors")
    (vit / "model.safetensors").rename(vit / "model-1.safetensors")
    table = {"weight_map": dict.fromkeys(state, "model-1.safetensors")}
    (vit / "model.safetensors.index.json").write_text(json.dumps(table))
    assert sc.load_model(weights=vit, device="cpu").sha256 == sc.load_model(weights=saved, device="cpu").sha256
    for other in ("../vit.tiny/model-1.safetensors", "/etc/passwd", "absent.safetensors", "evil.py"):
        (vit / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": other}}))
        with pytest.raises(ModelError, match="lacks the part"):
            sc.load_model(weights=vit, device="cpu")


@pytest.mark.parametrize(("name", "message"), [("config.json", "no config.json"), ("model.safetensors", "no weights")])
def test_files_that_are_absent_are_named(vit, name, message):
    (vit / name).unlink()
    with pytest.raises(ModelError, match=message):
        sc.load_model(weights=vit, device="cpu")


def test_a_config_that_is_no_json_object_is_refused(vit):
    for text in ("", "[1]", "{" * 100, '{"a":' * 10**5):
        (vit / "config.json").write_text(text)
        with pytest.raises(ModelError, match="no readable JSON object"):
            sc.load_model(weights=vit, device="cpu")


def test_without_transformers_one_sentence_says_what_to_install(saved, monkeypatch):
    monkeypatch.setattr(folders, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs the library transformers, install it with: pip install"):
        sc.load_model(weights=saved, device="cpu")


@pytest.fixture
def timm_folder(tmp_path):
    torch.manual_seed(0)
    module = timm_models.create("resnet10t", num_classes=3)
    cfg = {
        "input_size": [3, 32, 32],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.5, 0.5],
        "crop_pct": 0.5,
        "num_classes": 3,
    }
    cfg |= {"interpolation": "bilinear", "source": "hf-hub", "file": "/etc/passwd", "hf_hub_id": "evil/evil"}
    config = {"architecture": "resnet10t", "num_classes": 3, "pretrained_cfg": cfg, "label_names": ["n1", "n2", "n3"]}
    config |= {
        "label_descriptions": {"n1": "cat"},
        "model_args": {"checkpoint_path": "/etc/passwd", "act_layer": "gelu"},
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    save_file(module.state_dict(), tmp_path / "mine" / "model.safetensors")
    return tmp_path / "mine"


def test_a_folder_of_timm_has_its_own_input_labels_and_arguments(timm_folder):
    model = sc.load_model(weights=timm_folder, device="cpu")
    assert model.labels == ("cat", "n2", "n3")
    assert (model.preprocessing.size, model.preprocessing.resize, model.preprocessing.mean[2]) == (32, 64, 0.3)
    assert any(isinstance(child, torch.nn.GELU) for child in model.module.modules())
    state = load_file(timm_folder / "model.safetensors")
    assert all(torch.equal(model.module.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 4}, "do not fit its config.json"),
        ({"num_classes": "many"}, "do not fit its config.json"),
        ({"model_args": {"no_such": 1}}, "do not fit its config.json"),
        ({"pretrained_cfg": {"crop_pct": 1e-320}}, "does not say how it reads pictures"),
        ({"model_args": {"base_width": 2**17}}, "describes .* numbers|do not fit"),
        ({"architecture": "resnet10x"}, "timm has no model"),
        ({"pretrained_cfg": {"mean": "grey", "num_classes": 3}}, "does not say how it reads pictures"),
    ],
)
def test_folders_of_timm_that_do_not_fit_are_refused(timm_folder, changes, message):
    edit(timm_folder / "config.json", **changes)
    with pytest.raises(ModelError, match=message):
        sc.load_model(weights=timm_folder, device="cpu")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("spade_core.models.formats.hub.check_reachable", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


def cached(hub, folder, name):
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("c" * 40)
    shutil.copytree(folder, place / "snapshots" / ("c" * 40))


def test_a_cached_name_needs_no_connection(hub, saved, timm_folder):
    cached(hub, saved, "someone/vit")
    cached(hub, timm_folder, "timm/mine")
    model = sc.load_model("hf-hub:someone/vit", device="cpu")
    assert (model.name, model.labels, model.spec) == ("hf-hub:someone/vit", ("cat", "dog", "owl"), {"name": model.name})
    assert sc.load_model("hf-hub:timm/mine", device="cpu").family == "timm"
    with pytest.raises(ModelError, match=r"hf-hub:someone/vit@other could not be fetched"):
        sc.load_model("hf-hub:someone/vit@other", device="cpu")


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_connection_one_sentence_says_what_to_do(hub, monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with pytest.raises(ModelError) as caught:
        sc.load_model("hf-hub:google/vit-base-patch16-224", device="cpu")
    text = str(caught.value)
    assert "huggingface.co/google/vit-base-patch16-224" in text
    assert f"Hugging Face cache ({hub})" in text
    assert "these work without one: efficientnet_lite0" in text


@pytest.mark.parametrize("name", ["", "/etc", "../models", "a/b/c", "a/..", "a b/c", "a/b@../x", "https://x.org/a"])
def test_what_is_no_name_of_the_hub_is_refused(hub, name):
    with pytest.raises(ModelError, match="names no model of the hub"):
        sc.load_model(f"hf-hub:{name}", device="cpu")


def test_files_above_the_limit_are_not_fetched(hub, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setenv("SPADE_MAX_WEIGHTS_BYTES", "1M")
    monkeypatch.setattr("spade_core.models.formats.hub.check_reachable", lambda url: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: SimpleNamespace(size=2**21))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *given, **more: pytest.fail("fetched"))
    with pytest.raises(ModelError, match=r"has 2 MB, more than the 1 MB allowed: raise SPADE_MAX_WEIGHTS_BYTES"):
        sc.load_model("hf-hub:someone/large", device="cpu")
