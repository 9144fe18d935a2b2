"""Layers that are worth reading: spatial maps that the classes depend on, whatever the architecture."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import spade_core as sc
from spade_core.cli import main
from spade_core.models.layers import share_copy
from spade_core.models.loading import wrap_model
from spade_core.saliency.advice import MOST, advise_layers
from spade_core.saliency.cam import choose_layer
from tests import nets


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "swin_t"])
def test_the_first_is_what_gradcam_reads_and_all_are_maps_that_can_be_drawn(name, noise):
    model = nets.loaded(name)
    found = advise_layers(model)
    x = model.input(noise).requires_grad_()
    assert found[0].name == choose_layer(share_copy(model.module), x, 0)[0]
    assert 1 < len(found) <= MOST
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert one.rows == one.columns > 1
        assert sc.explain(model, noise, method="gradcam", target=0, layer=one.name).map.any()
    assert found is advise_layers(model)


def test_tokens_are_told_without_their_class_token():
    found = advise_layers(nets.loaded("vit_b_16"))
    assert {(one.layout, one.prefix, one.rows) for one in found} == {("tokens", 1, 4)}
    assert all("without the class token" in one.reason for one in found)


class Converted(nn.Module):
    """Attention as a converted network has it: steps with the names of their scopes, and no class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.qkv = nn.Linear(16, 48)
        self.weights = nn.Softmax(-1)
        self.proj = nn.Linear(16, 16)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        mixed = self.weights(q @ k.transpose(-2, -1)) @ v
        tokens = tokens + self.proj(mixed.transpose(1, 2).flatten(2))
        return self.head(self.pool(tokens.transpose(1, 2)).flatten(1))


def test_neither_attention_weights_nor_pooled_channels_are_taken_for_maps(noise):
    """16 tokens that attend to 16 look like a map of 16 x 16, and 16 pooled channels like 4 x 4 tokens of one."""
    torch.manual_seed(0)
    model = wrap_model(nets.randomize(Converted(), 16), size=16, device="cpu")
    assert [one.name for one in advise_layers(model)] == ["proj"]
    assert sc.explain(model, noise, method="gradcam").settings["layer"] == "proj"


def test_a_network_without_maps_has_no_advice():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.ReLU(), nn.Linear(8, 3))
    assert advise_layers(wrap_model(network, size=8, device="cpu")) == ()


def test_the_command_line_tells_it(capsys):
    assert main(["layers", "--advice", "--json", "--model", "efficientnet_lite0", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found][:2] == ["bn2", "blocks.4"]
    assert found[0]["reason"].endswith("Grad-CAM reads it by default.")
