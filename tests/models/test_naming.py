"""What people call layers of the common libraries; a name that follows no habit stays."""

from __future__ import annotations

import pytest

from spade_core.models.naming import layer_title, titled


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("conv_stem", "stem"),
        ("blocks.0.0.conv_dw", "stage 1, block 1, depthwise"),
        ("blocks.1.1.conv_pw", "stage 2, block 2, pointwise"),
        ("blocks.6.0.conv_pwl", "stage 7, block 1, projection"),
        ("blocks.3", "stage 4"),
        ("conv_head", "head"),
        ("logits", "the classes"),
        ("layer1.0.conv1", "stage 1, block 1, convolution 1"),
        ("layer4.0.downsample.0", "stage 4, block 1, shortcut"),
        ("layer4", "stage 4"),
        ("fc", "classifier"),
        ("features.denseblock2.denselayer3.conv1", "stage 2, block 3, convolution 1"),
        ("encoder.layers.encoder_layer_3.mlp.0", "block 4, MLP, first"),
        ("blocks.3.attn.qkv", "block 4, attention, input"),
        ("vit.encoder.layer.3.attention.attention.query", "block 4, attention, input"),
        ("strange.thing", "strange.thing"),
    ],
)
def test_a_layer_has_a_name_for_people(name, title):
    assert layer_title(name) == title


def test_a_title_keeps_the_name_that_links_and_commands_use():
    assert titled("blocks.1.1.conv_pw") == "Stage 2, block 2, pointwise · blocks.1.1.conv_pw"
    assert titled("strange.thing") == "strange.thing"
