"""Drawings of one token of a transformer: of the class token by its index, of a patch by its row and column."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from spade_core.errors import LayerError
from spade_core.models.layers import share_copy
from spade_core.models.loading import wrap_model
from spade_core.neurons import Neuron, split_token
from spade_core.neurons.layer_values import layer_shapes, maps_of
from spade_core.neurons.ranking import rank_channels
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.pruning.spade import trace
from tests.saliency.test_transformers import SMALL, of_transformers


def of_timm():
    return timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=48, num_classes=3)


def of_hugging_face():
    return of_transformers("ViT", **SMALL, image_size=32, patch_size=8)


CASES = {"timm": (of_timm, "blocks.0", "blocks.1"), "transformers": (of_hugging_face, None, None)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A transformer, and the names of its first and its last block."""
    made, *names = CASES[request.param]
    torch.manual_seed(0)
    model = wrap_model(made(), size=32, device="cpu")
    rows = [row.name for row in layer_shapes(share_copy(model.module), model.grey()) if row.name.endswith("@0")]
    found = [name.removesuffix("@0") for name in rows]
    assert names == [None, None] or names == found, "one for each whole block, in their order"
    return model, found[0], found[-1]


def drawn(model, *neurons):
    config = RenderConfig(steps=3, size=32, transforms=False)
    return render(model, {"dense": model.module}, neurons, config)["dense"]


def test_a_token_is_read_where_it_lies(case, noise):
    model, block, _ = case
    x, seen, twin = model.input(noise), {}, share_copy(model.module)
    twin.get_submodule(block).register_forward_hook(lambda _m, _a, y: seen.update(y=y))
    twin(x)
    tokens, maps = seen["y"][0], maps_of(model.module, x, block)
    assert tokens.shape[0] == 1 + 4 * 4
    assert maps.shape == (tokens.shape[1], 4, 4)
    assert torch.equal(maps_of(model.module, x, f"{block}@0")[:, 0, 0], tokens[0])
    for row, column in ((0, 0), (1, 3), (3, 2)):
        index = 1 + 4 * row + column
        assert torch.equal(maps[:, row, column], tokens[index])
        assert torch.equal(maps_of(model.module, x, f"{block}@{index}")[:, 0, 0], tokens[index])


def test_each_token_has_a_drawing_of_its_own(case):
    model, block, last = case
    tokens = Neuron(f"{block}@0", 3), Neuron(block, 3, position=(1, 2)), Neuron(f"{block}@7", 3)
    of_class, of_patch, by_index = drawn(model, *tokens)
    assert np.array_equal(of_patch.image, by_index.image), "row 1, column 2 is the token 1 + 1 * 4 + 2"
    assert not np.array_equal(of_class.image, of_patch.image)
    assert drawn(model, Neuron(f"{last}@0", 5))[0].values[-1] > drawn(model, Neuron(f"{last}@0", 5))[0].values[0]
    for one in (of_class, of_patch):
        assert one.dead is None
        assert one.network_size == 32
        assert one.values[-1] > one.values[0]


def test_channels_of_the_class_token_are_ranked_by_what_they_say(case, noise):
    model, _, last = case
    made = trace(model, noise, sparsity=0.3, preset="uniform", views=2)
    found = {score.channel: score.score for score in rank_channels(made, noise, f"{last}@0", top=None)}
    values = maps_of(model.module, model.input(noise), f"{last}@0")[:, 0, 0]
    assert [found[channel] for channel in range(len(values))] == pytest.approx(values.tolist())
    by_gradient = rank_channels(made, noise, f"{last}@0", by="gradient", top=1)[0]
    assert by_gradient.score > 0
    assert by_gradient.place == (0, 0)


def test_a_token_that_is_not_there_is_told(case, noise, small):
    model, block, _ = case
    for network, layer, held in ((model, f"{block}@17", "17 tokens"), (small, "pointwise@0", "no tokens")):
        with pytest.raises(LayerError, match=f"puts out {held}, and so has no token"):
            maps_of(network.module, network.input(noise), layer)
    assert split_token("blocks.0@12") == ("blocks.0", 12)
    assert split_token("odd@name") == ("odd@name", None)
    assert split_token("logits") == ("logits", None)
