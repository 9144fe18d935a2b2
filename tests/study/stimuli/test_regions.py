"""The rule of the two regions against its slow re-implementation, at its edges, and over a set."""

from __future__ import annotations

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.pictures.picture import Picture
from spade_core.study.stimuli.regions import (
    RING,
    RULES,
    Rule,
    choose_regions,
    nearer_sides,
    place_trigger,
    rule_record,
    rule_text,
    settle,
)
from spade_core.trojan.paste import paste
from tests.reference import regions as slow


def peak(size, y, x, width=60.0):
    rows, columns = np.indices((size, size))
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / width)


def noise(seed, size):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    pixels[:, ::3] //= 3
    pixels[: size // 2] //= 2
    return pixels


def of(found):
    return {side: (choice.patches.high, choice.patches.low, choice.cost) for side, choice in found.items()}


def agrees(reference, pixels, rule):
    found, expected = of(choose_regions(reference, pixels, rule)), slow.choose(reference, pixels, rule)
    assert list(found) == list(expected)
    for side, (high, low, cost) in expected.items():
        assert found[side][:2] == (high, low)
        assert found[side][2] == pytest.approx(cost, abs=1e-5)
    return choose_regions(reference, pixels, rule)


@pytest.mark.parametrize("seed", range(8))
def test_regions_are_what_the_rule_says(seed):
    rng = np.random.default_rng(seed)
    reference = (
        peak(28, *rng.uniform(4, 24, 2)) + 0.2 * peak(28, *rng.uniform(0, 28, 2), 20) + 0.01 * rng.random((28, 28))
    )
    found = agrees(reference, noise(seed, 28), Rule())
    for side, choice in found.items():
        patches = choice.patches
        (high, low), last = (patches.high, patches.low), 28 - patches.side
        assert slow.apart(high, low, patches.side)
        assert (slow.far(high, last) < slow.far(low, last)) == (side == "reference")
    assert len({choice.patches.high for choice in found.values()}) == 1, "one reference, whoever is nearer"


def test_a_large_picture_is_searched_on_a_grid_and_at_its_highest_window():
    rng = np.random.default_rng(0)
    reference = peak(112, 45.0, 71.0, 90.0) + 0.01 * rng.random((112, 112))
    found = agrees(reference, noise(0, 112), Rule(margin=0.0))
    assert found["reference"].patches.high == (30, 55), "off the grid of two pixels"
    assert all(start % 2 == 0 for choice in found.values() for start in choice.patches.low)


@pytest.mark.parametrize("place", [(3, 3), (3, 24), (24, 24), (14, 14), (3, 14)])
@pytest.mark.parametrize("rule", [Rule(), Rule(margin=0.0), RULES["trigger"]])
def test_a_peak_in_a_corner_or_the_very_centre(place, rule):
    reference = peak(28, *place, 12.0) + 1e-3 * np.random.default_rng(1).random((28, 28))
    found = agrees(reference, noise(3, 28), rule)
    if place == (14, 14) and rule.margin == 0:
        assert list(found) == ["reference"], "no equal region beside the centre is as near to it"
    if place == (3, 3) and rule.margin == 0:
        assert list(found)[-1] == "other"


@pytest.mark.parametrize("pixels", [noise(5, 28), np.full((28, 28, 3), 90, np.uint8)])
@pytest.mark.parametrize("level", [0.0, 0.7])
def test_a_constant_map_still_gives_two_regions(pixels, level):
    found = agrees(np.full((28, 28), level, np.float32), pixels, Rule())
    assert set(found) == {"reference", "other"}


@pytest.mark.parametrize("place", [(14, 14), (4, 20)])
def test_regions_of_half_the_picture_find_room_only_at_its_edges(place):
    found = agrees(peak(28, *place) + 0.01, noise(6, 28), Rule(side=0.5))
    for choice in found.values():
        assert choice.patches.side == 14
        assert 0 in choice.patches.high or 14 in choice.patches.high
    agrees(peak(2, 0, 0), noise(6, 2), Rule(side=0.5))
    with pytest.raises(ConfigError, match="Two regions of 15 px do not fit beside each other into a picture of 28 px"):
        choose_regions(peak(28, *place), noise(6, 28), Rule(side=15 / 28))


def test_a_map_that_is_high_all_over_takes_its_lowest_quarter():
    reference = 1.0 + 0.05 * np.random.default_rng(2).random((28, 28))
    found = agrees(reference, noise(2, 28), Rule(low=0.5))
    assert all(choice.patches.means[1] < 1 for choice in found.values())


def test_the_same_picture_gives_the_same_regions():
    reference, pixels = peak(28, 10, 17) + 0.01, noise(7, 28)
    assert choose_regions(reference, pixels) == choose_regions(reference.copy(), pixels.copy())


@pytest.mark.parametrize("seed", range(12))
def test_a_placed_trigger_leaves_both_choices_and_lies_in_one_region_only(seed):
    size = (None, 40, 64, 80)[seed % 4]
    given = place_trigger("star", seed, size=size)
    assert given == place_trigger("star", seed, size=size)
    centre = np.array(given.position) + given.size / 2 - 112
    assert RING[0] - 0.01 < np.hypot(*centre) / np.hypot(80, 80) < RING[1] + 0.01
    assert all(0 <= start <= 224 - given.size for start in given.position)
    pixels = noise(seed, 224)
    _, mask = paste(Picture(pixels, "", "x.png"), "star", size=given.size, position=given.position, seed=seed)
    found = choose_regions(mask.astype(np.float32), pixels, RULES["trigger"])
    assert set(found) == {"reference", "other"}
    for choice in found.values():
        high, low = choice.patches.cut(mask)
        assert not low.any()
        assert high.sum() >= (0.97 if given.size <= 64 else 0.6) * mask.sum()


@pytest.mark.parametrize("seed", range(20))
def test_halves_are_as_equal_and_as_cheap_as_they_can_be(seed):
    rng = np.random.default_rng(seed)
    costs = []
    for _ in range(rng.integers(1, 8)):
        both = {"reference": float(rng.random()), "other": float(rng.random())}
        left_out = rng.choice(["reference", "other", "", ""])
        costs.append({side: cost for side, cost in both.items() if side != left_out})
    sides = nearer_sides(costs)
    total = sum(cost[side] for cost, side in zip(costs, sides, strict=True))
    imbalance, least = slow.halves(costs)
    assert abs(sides.count("other") - len(costs) / 2) == imbalance
    assert total == pytest.approx(least)


def test_nothing_is_balanced_where_there_is_nothing():
    assert nearer_sides([]) == []
    assert settle([]) == []


def test_the_rule_is_told_by_the_set_that_was_built_with_it():
    assert "the one of nearest contrast" in rule_text({})
    told = rule_text({"settings": {"regions": rule_record()}})
    assert "at least 90% of the highest" in told
    assert "at most 50% of the highest" in told
    assert "balanced over the set" in told
    later = {"name": "other-rule", "version": 9}
    assert rule_text({"settings": {"regions": later}}) == "they were chosen by the rule other-rule, version 9"
