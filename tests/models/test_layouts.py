"""How outputs hold their maps: those of squares are squares, those of other inputs have the input's shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spade_core.models.layouts import Layout, Layouts, grid_of, layout_of
from spade_core.neurons.layer_values import read_layers
from spade_core.saliency.cam import spatial_outputs

SQUARE = (64, 64)


def test_layouts_round_trip():
    for layout, y, sides in (
        (Layout("tokens", 1, 3, 3), torch.randn(2, 10, 5), SQUARE),
        (Layout("channels_last", 0, 3, 3), torch.randn(2, 3, 3, 5), SQUARE),
        (Layout("channels_first", 0, 3, 3), torch.randn(2, 5, 3, 3), SQUARE),
        (Layout("tokens", 1, 3, 2), torch.randn(2, 7, 5), (96, 64)),
        (Layout("channels_last", 0, 3, 2), torch.randn(2, 3, 2, 5), (96, 64)),
        (Layout("channels_first", 0, 3, 2), torch.randn(2, 5, 3, 2), (96, 64)),
    ):
        maps = layout.to_maps(y)
        assert maps.shape == (2, 5, layout.rows, layout.columns)
        assert torch.equal(layout.from_maps(maps, y), y)
        assert layout_of(y.shape, sides) == layout
    assert layout_of((1, 512), SQUARE) is None
    assert layout_of((1, 512, 1, 1), SQUARE) is None
    tokens = torch.arange(10.0).view(1, 10, 1)
    assert Layout("tokens", 1, 3, 3).to_maps(tokens)[0, 0, 0].tolist() == [1, 2, 3]
    assert Layout("tokens", 1, 3, 3).to_maps(tokens)[0, 0, :, 0].tolist() == [1, 4, 7]
    assert Layout("tokens", 4, 3, 2).to_maps(tokens)[0, 0].tolist() == [[4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("shape", [(1, 5, 8, 7), (1, 8, 7, 5), (1, 28, 5), (1, 4, 1, 1)])
def test_maps_of_no_squares_are_none_of_a_square(shape):
    assert layout_of(shape, (224, 224)) is None


@pytest.mark.parametrize("patch", [8, 14, 16])
@pytest.mark.parametrize("prefix", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("grid", [(14, 10), (2, 8), (16, 4), (8, 2), (3, 2), (27, 48), (7, 6)])
def test_tokens_find_the_rows_and_columns_of_their_input(grid, prefix, patch):
    sides = (grid[0] * patch, grid[1] * patch)
    assert layout_of((1, prefix + grid[0] * grid[1], 32), sides) == Layout("tokens", prefix, *grid)


@pytest.mark.parametrize("sides", [(224, 160), (256, 128), (299, 224), (96, 70), (40, 200)])
def test_strides_and_padding_keep_a_map_like_its_input(sides):
    x = torch.zeros(1, 3, *sides)
    for padding in (0, 1):
        y = x
        for _ in range(4):
            y = torch.nn.functional.conv2d(y, torch.zeros(3, 3, 3, 3), stride=2, padding=padding)
            if min(y.shape[2:]) < 3:
                break
            assert layout_of((1, 3000, *y.shape[2:]), sides) == Layout("channels_first", 0, *y.shape[2:])
            assert layout_of((1, *y.shape[2:], 3000), sides) == Layout("channels_last", 0, *y.shape[2:])


def test_who_attends_to_whom_is_no_map_of_a_picture():
    assert layout_of((1, 4, 140, 140), (224, 160)) is None
    assert grid_of(140, (224, 160)) == (14, 10)
    assert grid_of(1, (224, 160)) is None
    assert grid_of(49, (224, 160)) is None
    assert grid_of(49, (224, 224)) == (7, 7)


class _Last(nn.Module):
    """Patches, mixed with their neighbours and put out with the channels last, as Swin's stages do."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, stride, stride)
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
        self.last = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU())
        self.head = nn.Linear(channels, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(self.first(self.stem(x)).permute(0, 2, 3, 1)).mean((1, 2)))


AMBIGUOUS = [((32, 32), 4, 8), ((32, 64), 4, 32), ((64, 32), 4, 4), ((32, 32), 2, 16)]
"""Sides, stride and channels: as many as rows, or in the input's own ratio."""


@pytest.mark.parametrize(("sides", "stride", "channels"), AMBIGUOUS)
def test_where_a_shape_allows_both_readings_the_network_is_asked(sides, stride, channels):
    torch.manual_seed(0)
    net, x = _Last(channels, stride).eval(), torch.randn(1, 3, *sides, requires_grad=True)
    rows, columns = (side // stride for side in sides)
    _, found = spatial_outputs(net, x)
    layouts = {one.name: one.layout for one in found}
    for name in ("stem", "first", "first.0", "first.1"):
        assert layouts[name] == Layout("channels_first", 0, rows, columns)
    for name in ("last", "last.0", "last.1", "last.2"):
        assert layouts[name] == Layout("channels_last", 0, rows, columns)
    with torch.no_grad(), read_layers(net, ["first.0", "last.1"]) as seen:
        net(x)
    assert torch.equal(seen["last.1"], net.last[:2](net.first(net.stem(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    assert torch.equal(seen["first.0"], net.first[0](net.stem(x)))
    assert not any(child._forward_hooks for child in net.modules())


def test_maps_that_show_nothing_of_the_picture_keep_their_channels_first():
    net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(), nn.Linear(512, 512), nn.Unflatten(1, (8, 8, 8)))
    nn.init.zeros_(net[2].weight)
    assert Layouts(net).of("3", (1, 8, 8, 8), torch.zeros(1, 3, 32, 32)) == Layout("channels_first", 0, 8, 8)
