"""How outputs hold their maps: those of squares are squares, those of other inputs have the input's shape."""

from __future__ import annotations

import pytest
import torch

from spade_core.models.layouts import Layout, grid_of, layout_of

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
