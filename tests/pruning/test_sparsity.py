"""Stages and presets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from spade_core.config import ASSETS
from spade_core.models.layers import prunable_layers
from spade_core.models.registry import MODELS
from spade_core.pruning import sparsity
from spade_core.pruning.kinds import check_ratio
from spade_core.pruning.sparsity import PAPER_LRP, Request, resolve, stage_of, stages
from spade_core.saliency import METHODS


def request(name, **options):
    with torch.device("meta"):
        layers = prunable_layers(MODELS[name].build(1000))
    return Request(name, MODELS[name].family, layers, **options)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_lite0", ["conv_stem", *[f"blocks.{i}" for i in range(7)], "conv_head", "classifier"]),
        ("resnet50", ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]),
        ("convnext_tiny", [*[f"features.{i}" for i in range(8)], "classifier"]),
        ("vit_b_16", ["conv_proj", *[f"encoder.layers.encoder_layer_{i}" for i in range(12)], "heads"]),
    ],
)
def test_stages_follow_the_architecture(name, expected):
    wanted = request(name)
    assert list(stages(wanted.layers, wanted.family)) == expected


def test_densenet_and_generic_stages():
    assert stage_of("features.denseblock2.denselayer3.conv1", "densenet") == "features.denseblock2"
    assert stage_of("features.transition1.conv", "densenet") == "features.transition1"
    assert stage_of("blocks.4.attn.qkv", "timm") == "blocks.4"
    assert stage_of("head.fc", "timm") == "head"


def test_paper_presets_on_resnet50():
    lrp = resolve("paper-lrp", request("resnet50")).ratios
    assert lrp["fc"] == 0.95
    assert lrp["layer2.2.conv3"] == 0.99
    assert lrp["layer4.0.downsample.0"] == 0.95
    assert lrp["conv1"] == 0
    assert len(PAPER_LRP) == 17
    shown = resolve("paper-visualization", request("resnet50")).ratios
    assert sum(ratio == 0.95 for ratio in shown.values()) == 17
    assert set(shown.values()) == {0.0, 0.95}


def test_paper_visualization_elsewhere_takes_the_last_stages():
    wanted = request("efficientnet_lite0")
    plan = resolve("paper-visualization", wanted).ratios
    chosen = {stage_of(name, wanted.family) for name, ratio in plan.items() if ratio}
    assert "classifier" in chosen
    assert "blocks.0" not in chosen


def test_uniform_custom_and_even():
    wanted = request("efficientnet_lite0", sparsity=0.5)
    assert set(resolve("uniform", wanted).ratios.values()) == {0.5}
    even = sparsity.even(wanted, 0.5).ratios
    assert even["blocks.1.0.conv_dw"] == 0
    assert even["blocks.1.0.conv_pw"] == 0.5
    custom = resolve("custom", request("efficientnet_lite0", stages={"blocks.2": 0.7, "depthwise": 0.1})).ratios
    assert custom["blocks.2.0.conv_pw"] == 0.7
    assert custom["blocks.2.0.conv_dw"] == 0.1
    assert custom["blocks.3.0.conv_pw"] == 0


def test_the_tuned_table_names_every_stage_and_says_how_it_was_chosen():
    tuned = sparsity.table("efficientnet_lite0")
    wanted = request("efficientnet_lite0")
    assert set(tuned["stages"]) == set(stages(wanted.layers, wanted.family)) - {"conv_stem"}
    assert "insertion minus deletion" in tuned["chosen"]
    assert resolve("default", wanted).options == tuned["options"]
    assert resolve("default", request("resnet18")) is None
    assert set(tuned["methods"]) <= set(METHODS)
    assert all(not own or set(own) == set(tuned["stages"]) for own in tuned["methods"].values())


@pytest.mark.parametrize(
    ("model", "last"),
    [
        ("efficientnet_lite0", {"conv_head", "classifier"}),
        ("efficientnet_lite0_trojan", {"conv_head", "classifier"}),
        ("resnet18", {"layer4.1.conv2", "fc"}),
    ],
)
def test_drawing_prunes_the_last_two_layers_and_keeps_the_body_dense(model, last):
    wanted = request(model.removesuffix("_trojan"))
    plan = resolve("drawing", replace(wanted, model=model))
    assert {name for name, ratio in plan.ratios.items() if ratio} == last
    assert {plan.ratios[name] for name in last} == {0.95}
    assert set(plan.ratios) == {layer.name for layer in wanted.layers}
    assert "weighting" not in plan.options


def test_splits_are_disjoint_and_complete():
    splits = json.loads((ASSETS / "splits.json").read_text())
    parts = [splits[name] for name in ("training", "tuning", "reporting")]
    assert [len(part) for part in parts] == [240, 60, 300]
    assert len({file for part in parts for file in part}) == 600


@pytest.mark.parametrize("bad", [-0.01, 1.01, "half", None, float("nan")])
def test_ratios_are_checked(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        check_ratio(bad)


def test_weighted_traces_are_one_preset_away_for_any_model(small):
    plan = resolve("weighted", Request("some", "some", small.layers))
    assert {plan.ratios[layer.name] for layer in small.layers if not layer.depthwise} == {0.8}
    assert {plan.ratios[layer.name] for layer in small.layers if layer.depthwise} == {0.0}
    assert (plan.options["weighting"], plan.options["refit"]) == ("target", 6.0)
    tuned = sparsity.table("efficientnet_lite0_trojan")["options"]
    assert plan.options == tuned, "what was tuned with the ratios of the backdoored model"
    assert max(resolve("weighted", Request("some", "some", small.layers, sparsity=0.9)).ratios.values()) == 0.9


def test_the_papers_method_is_one_preset_away(small):
    plan = resolve("paper", Request("some", "some", small.layers))
    assert set(plan.ratios.values()) == {0.5}
    assert plan.options == {"calibration": "independent", "views": 1024, "untouched": 0, "positions": 0}
    assert set(resolve("paper", Request("some", "some", small.layers, sparsity=0.9)).ratios.values()) == {0.9}
    authors = resolve("paper", request("resnet50"))
    assert (authors.ratios, authors.options) == (resolve("paper-lrp", request("resnet50")).ratios, plan.options)
