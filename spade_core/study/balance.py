"""Over a whole set: in which items the reference is the region nearer to the picture's centre, and in which the other.

Each picture offers both where its map allows it (:mod:`spade_core.study.stimuli.regions`). Among the items of one role
and one source of the reference, as many as possible of one half show the other region nearer, those where that costs
least; so neither "the more central" nor "the less central" answers better than guessing. Nothing here knows of
conditions, and the order of the pictures does not matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spade_core.study.stimuli.stimulus_set import Item


@dataclass(frozen=True)
class Draft:
    """An item of which it is still open which of its regions is the nearer one.

    Attributes:
        items: by the nearer side, ``reference`` or ``other``; they differ in the other region and what follows from it.
        costs: of the same sides, see :class:`spade_core.study.stimuli.regions.Choice`.
    """

    items: Mapping[str, Item]
    costs: Mapping[str, float]

    @property
    def item(self) -> Item:
        """Return any of the items, for what they share: id, role, class neuron, files."""
        return next(iter(self.items.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"items": {side: asdict(item) for side, item in self.items.items()}, "costs": dict(self.costs)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Draft:
        """Rebuild what :meth:`to_dict` gave."""
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
