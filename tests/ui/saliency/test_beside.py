"""Two maps beside each other: each in its own unit, with a difference only where they are of one picture."""

from __future__ import annotations

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.ui.common.link import Choice
from spade_core.ui.saliency.beside import beside_panels

MAPS = np.random.default_rng(0).normal(size=(2, 12, 9))


def unit(values):
    return values / np.percentile(np.abs(values), 99.5)


def test_two_maps_of_one_picture_have_a_difference():
    first, second, gap = beside_panels(MAPS, ("koala", "wombat"), "gradcam", "raw", signed=True, same=True)
    assert [first.name, second.name] == ["koala", "wombat"]
    np.testing.assert_allclose(gap.values, unit(MAPS[1]) - unit(MAPS[0]))
    assert [first.scale, gap.scale] == ["signed", "difference"]
    assert [first.picture, second.picture] == [0, 0]


def test_two_maps_of_two_pictures_lie_over_their_own_and_have_none():
    panels = beside_panels(MAPS, ("dog", "cat"), "gradcam", "magnitude", signed=True, same=False)
    assert [panel.picture for panel in panels] == [0, 1]
    np.testing.assert_allclose(panels[0].values, unit(np.abs(MAPS[0])))
    assert panels[0].scale == "magnitude"


@pytest.mark.parametrize("text", ["class:106", "picture:bundled:cat", "model:resnet18", "trace:weighted"])
def test_a_link_says_what_lies_beside(text):
    assert Choice.from_query({"beside": text}).to_query()["beside"] == text


@pytest.mark.parametrize("text", ["class:x", "picture:bundled:unicorn", "model:resnet99", "trace:none", "dog", ":"])
def test_a_link_to_nothing_that_can_lie_beside_is_refused(text):
    with pytest.raises(ConfigError):
        Choice.from_query({"beside": text})
