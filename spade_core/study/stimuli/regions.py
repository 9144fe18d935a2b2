"""The two regions of a study's picture: the reference, and an equal one of low score that does not overlap it.

Objects lie in the middle of photographs, so that the window of highest score is nearly always more central than one of
low score, and "choose the more central region" answers right without a look at the visualization. The rule
``matched-eccentricity`` takes that handle away:

- **Reference**: a window whose mean of the reference map is at least 90 % of the highest (``margin``).
- **Other**: a window that does not overlap it, whose mean is at most half of the highest (``low``) or in the lowest
  quarter of all. Where no such window is left, the lowest that does not overlap.
- **Cost** of a pair: the difference of their contrasts (standard deviation of grey values, 0 to 255), plus 200 times
  the difference of their eccentricities (distance of the centre from the picture's, 1 in a corner), plus 100 times the
  other's mean as a share of the reference's. So 0.1 of eccentricity weighs as much as 20 grey levels, or as 0.2 of
  score.
- For each reference two partners are sought: the cheapest that is farther from the centre, and the cheapest that is
  nearer. The reference with both partners at the least sum is taken.
- **Balance** (:func:`settle`): over the whole set it is decided which partner is shown. Among the items of one role and
  one source of the reference, as many as possible of one half show the other region nearer, those where that costs
  least; so neither "the more central" nor "the less central" answers better than guessing.

Windows start on a grid of 1/56 of the picture's side, from which the window of highest mean may lie apart. Of equal
ones the first counts, row by row from the upper left corner. Nothing here knows of conditions, and the order of the
pictures does not matter. Where a pasted trigger is the reference, ``margin`` and ``low`` are 0: all of the trigger that
fits is in one region, nothing in the other; its place is drawn (:func:`place_trigger`) so that both partners exist.

Measured on maps of 120 ImageNet photographs (``python -m benchmarks.study_regions``), against the rule of
:func:`spade_core.study.stimuli.patches.choose_patches`: the reference is the more central region in 50 % of the items
(was 92 %); who takes the clearly more central region, by more than 0.1 of eccentricity, and guesses elsewhere is right
in 56 % (was 90 %); contrasts differ by 4.4 grey levels on average (was 6.1). The price is in the scores, relative to
the map's mean: 2.44 against 0.71 (was 2.65 against 0.47). Without the margin the two regions cannot be matched: in 42 %
of the pictures nothing beside the highest window is nearer to the centre, with it in 16 %.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spade_core.errors import ConfigError
from spade_core.study.stimuli.patches import PATCH, Patches, window_contrasts, windows
from spade_core.study.stimuli.stimulus_set import Item
from spade_core.trojan.triggers import SIZES, Paste

NAME, VERSION = "matched-eccentricity", 2
QUARTER = 0.25  # windows of this share of the lowest means are low whatever their mean
GRID = 56  # steps of a window's corner along the picture's side
SLACK = 1e-9  # of the highest mean: sums of floats differ in their last digits
DIGITS = 6  # of costs: beyond, two are equal


@dataclass(frozen=True)
class Rule:
    """The numbers of the rule; the module's text says what they do.

    Attributes:
        margin: how far below the highest mean, as a share of it, the reference's may be.
        low: the other's highest mean, as a share of the highest.
        eccentricity: grey levels that a difference of 1 in eccentricity costs.
        score: grey levels that a low region as high as the reference would cost.
        side: of a region, as a share of the picture's.
    """

    margin: float = 0.1
    low: float = 0.5
    eccentricity: float = 200.0
    score: float = 100.0
    side: float = PATCH


RULES: dict[str, Rule] = {"scorecam": Rule(), "trigger": Rule(margin=0.0, low=0.0)}  # by where the reference is from


@dataclass(frozen=True)
class Pair:
    """Two regions and what they cost, in grey levels."""

    patches: Patches
    cost: float


def choose_regions(reference: np.ndarray, pixels: np.ndarray, rule: Rule = RULES["scorecam"]) -> dict[str, Pair]:
    """Choose the regions of one picture.

    Args:
        reference: ``(n, n)``, such as a Score-CAM map or a trigger's mask, not negative.
        pixels: uint8 ``(n, n, 3)``, what the model sees.
        rule: its numbers.

    Returns:
        By the side that is nearer to the centre, ``reference`` or ``other``: the regions. The reference is the same in
        both; a side is missing where no partner makes it the nearer one.

    Raises:
        ConfigError: no two regions of this size fit into the picture.
    """
    grid = _Windows(reference, pixels, rule)
    references = np.flatnonzero(grid.roomy & (grid.means >= (1 - rule.margin - SLACK) * grid.highest))
    found = [_partners(grid, int(high)) for high in references]
    # The first of equal ones.
    return min(found, key=lambda pairs: (-len(pairs), round(sum(pair.cost for pair in pairs.values()), DIGITS)))


class _Windows:
    """The windows that are considered, ``(windows,)`` each: corners, mean score, contrast, distance, room.

    Attributes:
        distance: squared, of twice the centre, in whole pixels: mirror images are exactly equal.
        roomy: whether some window does not overlap it; highest: mean of a roomy one; limit: of a low one's mean.
        average: of the map over the picture.
    """

    def __init__(self, reference: np.ndarray, pixels: np.ndarray, rule: Rule) -> None:
        size = reference.shape[0]
        self.rule, self.side = rule, max(1, round(rule.side * size))
        last = size - self.side
        if last < self.side:
            raise ConfigError(
                f"Two regions of {self.side} px do not fit beside each other into a picture of {size} px: take smaller "
                "ones."
            )
        means = windows(reference.astype(np.float64), self.side)
        starts = np.arange(last + 1)
        apart = np.maximum(starts, last - starts) >= self.side
        roomy = apart[:, None] | apart[None, :]
        on_grid = (starts % max(1, round(size / GRID)) == 0) | (starts == last)
        chosen = on_grid[:, None] & on_grid[None, :]
        self.highest = float(means[roomy].max())
        chosen.flat[np.argmax(roomy & (means >= (1 - SLACK) * self.highest))] = True
        self.top, self.left = np.nonzero(chosen)
        self.distance = (2 * self.top - last) ** 2 + (2 * self.left - last) ** 2
        self.means, self.roomy = means[chosen], roomy[chosen]
        self.contrast = window_contrasts(pixels, self.side)[chosen]
        low = max(rule.low * self.highest, float(np.quantile(self.means, QUARTER)))
        self.limit = low + SLACK * self.highest
        self.average = float(reference.mean()) or 1.0

    def costs(self, high: int) -> np.ndarray:
        """Return what each window would cost as the partner of one, in grey levels."""
        eccentricity = np.sqrt(self.distance / self.distance.max())  # the corners are on the grid
        own = self.means[high]
        return (
            abs(self.contrast - self.contrast[high])
            + self.rule.eccentricity * abs(eccentricity - eccentricity[high])
            + self.rule.score * (self.means / own if own > 0 else np.zeros_like(self.means))
        ).round(DIGITS)

    def patches(self, high: int, low: int) -> Patches:
        """Return two windows by their numbers."""
        corners = [(int(self.top[k]), int(self.left[k])) for k in (high, low)]
        means, contrasts = (
            (float(values[high]), float(values[low])) for values in (self.means / self.average, self.contrast)
        )
        return Patches(self.side, corners[0], corners[1], means, contrasts)


def _partners(grid: _Windows, high: int) -> dict[str, Pair]:
    """Return a reference with its cheapest partner on either side, by who is nearer."""
    free = (abs(grid.top - grid.top[high]) >= grid.side) | (abs(grid.left - grid.left[high]) >= grid.side)
    low = free & (grid.means <= grid.limit)
    if not low.any():
        low = free & (grid.means <= grid.means[free].min() + SLACK * grid.highest)
    own, costs = grid.distance[high], grid.costs(high)
    sides = {"reference": low & (grid.distance > own), "other": low & (grid.distance < own)}
    if not any(side.any() for side in sides.values()):
        sides["reference"] = low  # all as far as the reference: nobody is nearer
    best = {side: int(np.where(where, costs, np.inf).argmin()) for side, where in sides.items() if where.any()}
    return {side: Pair(grid.patches(high, low), float(costs[low])) for side, low in best.items()}


def rule_record() -> dict[str, object]:
    """Return the rule as a set's manifest records it."""
    return {"name": NAME, "version": VERSION, "rules": {source: asdict(rule) for source, rule in RULES.items()}}


def rule_text(about: Mapping[str, Any]) -> str:
    """Return in words how a set's regions were chosen, by its manifest; one that records no rule had the first."""
    record = (about.get("settings") or {}).get("regions")
    if not record:
        return (
            "the reference is the one with the highest mean of the reference map; the other, of those that do not "
            "overlap it and lie in the lowest quarter of the means, the one of nearest contrast"
        )
    if (record["name"], record["version"]) != (NAME, VERSION):
        return f"they were chosen by the rule {record['name']}, version {record['version']}"
    rule = Rule(**record["rules"]["scorecam"])
    return (
        f"the reference has a mean of the reference map of at least {1 - rule.margin:.0%} of the highest (of a "
        "trigger, the highest); the other does not overlap it, has a mean of at most "
        f"{rule.low:.0%} of the highest or in the lowest quarter (of a trigger, the lowest quarter), and is similar in "
        "contrast and in its distance from the picture's centre; whether it is the nearer or the farther one is "
        "balanced over the set as far as the maps allow"
    )


@dataclass(frozen=True)
class Draft:
    """An item of which it is still open which of its regions is the nearer one.

    Attributes:
        items: by the nearer side, ``reference`` or ``other``; they differ in the other region and what follows from it.
        costs: of the same sides, see :class:`spade_core.study.stimuli.regions.Pair`.
    """

    items: Mapping[str, Item]
    costs: Mapping[str, float]

    @property
    def item(self) -> Item:
        """Return any of the items, for what they share: id, role, class neuron, files."""
        return next(iter(self.items.values()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Draft:
        """Rebuild what ``asdict`` gave."""
        return cls({side: Item.from_dict(item) for side, item in values["items"].items()}, values["costs"])


def settle(drafts: Iterable[Draft]) -> list[Item]:
    """Return the drafts' items, balanced within each role and source of the reference, in their order."""
    drafts = list(drafts)
    groups: dict[Hashable, list[Draft]] = {}
    for draft in drafts:
        groups.setdefault((draft.item.role, draft.item.reference_source), []).append(draft)
    sides: dict[str, str] = {}
    for group in groups.values():
        group.sort(key=lambda draft: draft.item.id)  # the order of pictures must not decide between equal costs
        nearer = nearer_sides([draft.costs for draft in group])
        sides |= {draft.item.id: side for draft, side in zip(group, nearer, strict=True)}
    return [draft.items[sides[draft.item.id]] for draft in drafts]


def nearer_sides(costs: Sequence[Mapping[str, float]]) -> list[str]:
    """Return for each item which region is to be the nearer one: halves as equal as can be, at the least total cost.

    Args:
        costs: of each item by nearer side, ``reference`` or ``other``; a side that is missing cannot be.
    """
    half = len(costs) // 2
    extra = {number: cost["other"] - cost["reference"] for number, cost in enumerate(costs) if len(cost) == 2}
    others = {number for number, cost in enumerate(costs) if "reference" not in cost}
    cheapest = sorted(extra, key=lambda number: extra[number])
    wanted = half - len(others)
    if len(costs) % 2 and 0 <= wanted < len(cheapest) and extra[cheapest[wanted]] < 0:
        wanted += 1  # of an odd number, the one in the middle is free
    others |= set(cheapest[: max(0, wanted)])
    return ["other" if number in others else "reference" for number in range(len(costs))]


RING = (0.4, 0.6)  # eccentricity of a trigger's centre, 1 where a region touches the picture's corner


def place_trigger(trigger: str, seed: int, *, size: int | None = None, side: int = 224) -> Paste:
    """Draw a trigger's place: its centre lies on a ring around the picture's, seeded.

    Farther in, no region beside the trigger's could be as near to the centre; on the ring, one can be nearer and
    another farther, all around the picture, so that no rule of thumb finds it.

    Args:
        trigger: name in ``TRIGGERS``.
        seed: of the place, and of what :func:`spade_core.trojan.paste.paste` draws.
        size: side of the trigger's box in model-input pixels; None: drawn from 40 to 80 (of 224).
        side: of the model's input, px.
    """
    rng = np.random.default_rng(seed)
    drawn = round(rng.uniform(*SIZES) * side / 224)
    size = size or drawn
    reach = np.sqrt(2) * (side - round(PATCH * side)) / 2  # px at eccentricity 1
    radius, angle = rng.uniform(*RING) * reach, rng.uniform(0, 2 * np.pi)
    corner = [round((side - size) / 2 + radius * turn) for turn in (np.sin(angle), np.cos(angle))]
    y, x = (min(max(0, start), side - size) for start in corner)
    return Paste(trigger, size, (y, x), seed)
