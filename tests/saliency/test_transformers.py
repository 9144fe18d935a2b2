"""Transformers of several libraries: their projections are pruned, their tokens reshaped, their relevance adds up."""

from __future__ import annotations

import os

import pytest
import timm
import torch

import spade_core as sc
from spade_core.models.loading import wrap_model
from tests import nets

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
TOKENS = ("cls_token", "pos_embed", "position_embeddings", "mask_token")


def of_timm(name, **options):
    return timm.create_model(name, num_classes=3, **options)


def of_transformers(name, **options):
    if "CI" not in os.environ:
        pytest.importorskip("transformers", reason="not installed: pip install -r requirements-models.txt")
    import transformers

    config = getattr(transformers, f"{name}Config")(**options)
    return getattr(transformers, f"{name}ForImageClassification")._from_config(config, attn_implementation="eager")


CASES = {  # what is built, side, names of the projections, whether all tokens attend to all
    "fused": (of_timm, "vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 64, ("qkv", "proj"), True),
    "windows": (
        *(of_timm, "swin_tiny_patch4_window7_224", {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1)}),
        *(64, ("qkv", "proj"), False),
    ),
    "class attention": (
        *(of_timm, "cait_xxs24_224", {"img_size": 64, "depth": 2, "embed_dim": 96, "init_values": 1.0}),
        *(64, ("q", "k", "v", "proj", "proj_l", "proj_w"), False),
    ),
    "separate": (
        *(of_transformers, "Beit", {**SMALL, "image_size": 16, "patch_size": 4}),
        *(16, ("q_proj", "k_proj", "v_proj", "o_proj"), True),
    ),
    "separate windows": (
        *(
            of_transformers,
            "Swin",
            {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
        ),
        *(32, ("q_proj", "k_proj", "v_proj", "o_proj"), False),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    build, name, options, size, projections, whole = CASES[request.param]
    torch.manual_seed(0)
    module = nets.randomize(build(name, **options), size) if build is of_timm else build(name, **options).eval()
    with torch.no_grad():  # learned tokens would take a part of their own
        for key, value in module.named_parameters():
            if any(token in key for token in TOKENS):
                value.zero_()
    return wrap_model(module, size=size, name="net", device="cpu"), projections, whole


def test_relevance_adds_up_with_what_biases_take(case, noise):
    model, _, _ = case
    for method in ("libragrad", "lrp"):
        found = sc.explain(model, noise, method=method, target=1)
        assert not found.notes, method
        whole = found.map.sum(dtype=float) + found.settings["absorbed_by_biases"]
        assert whole == pytest.approx(found.settings["logit"], rel=0.01)


def test_every_projection_is_pruned(case, noise):
    model, projections, _ = case
    trace = sc.trace(model, noise, sparsity=0.5, preset="uniform", views=2, target=0)
    rows = [row for row in trace.report.layers[1:] if row.name.rpartition(".")[2] in projections]
    assert {row.name.rpartition(".")[2] for row in rows} == set(projections)
    assert [(row.name, row.status, row.realised) for row in rows if row.status != "pruned" or row.realised < 0.45] == []


def test_maps_are_of_patches_and_rollout_is_refused_where_not_all_attend_to_all(case, noise):
    model, _, whole = case
    assert all(one.channels > 2 and one.rows > 1 for one in sc.advise_layers(model))
    assert sc.explain(model, noise, method="gradcam", target=0).map.any()
    if whole:
        assert sc.explain(model, noise, method="attention_rollout").map.min() >= 0
    else:
        with pytest.raises(sc.SpadeError, match="needs every layer to attend to all patches"):
            sc.explain(model, noise, method="attention_rollout")
