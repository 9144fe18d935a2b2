"""What a stimulus set says of itself once all its items are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from spade_core.errors import ConfigError
from spade_core.study.stimuli.build import CENTRAL, CLEARLY
from spade_core.study.stimuli.regions import Draft, rule_record, settle
from spade_core.study.stimuli.stimulus_set import SIDES, Item, StimulusSet, write_manifest
from spade_core.study.vocabulary import CONDITIONS

GUESSED = (
    "The more central patch is the reference in {share:.0%} of the main items: who always answers it does better or "
    "worse than guessing. Take more or other pictures."
)


def finish(
    folder: Path,
    drafts: Sequence[Draft],
    *,
    demo: bool,
    title: str,
    settings: Mapping[str, object],
    dropped: Sequence[str],
) -> StimulusSet:
    """Settle the drafts and write the manifest with its report: what was left out by which rule, how regions differ.

    Raises:
        ConfigError: no main item is left, or a file is missing.
    """
    items = settle(drafts)
    if all(item.role != "main" for item in items):
        why = f" (left out: {'; '.join(sorted(set(dropped)))})" if dropped else ""
        raise ConfigError(f"No picture became a main item{why}: give more pictures, or lower --practice and --catch.")
    share, main = central_share(items), [item for item in items if item.role == "main"]
    found = [item.measures["scorecam"]["trojan_auc"] for item in items if "scorecam" in item.measures]
    report = {
        "central_share": share,
        "clearly_central_share": clearly_central_share(items),
        "one_side_only": sum(len(draft.items) == 1 for draft in drafts if draft.item.role == "main"),
        "measures": {
            side: {name: sum(item.measures[side][name] for item in main) / len(main) for name in main[0].measures[side]}
            for side in SIDES
        },
        "rater_agrees": {
            side: _share(items, f"rater_{side}") for side in CONDITIONS if f"rater_{side}" in main[0].answers
        },
        "scorecam_finds_trigger": sum(found) / len(found) if found else None,  # mean AUC: how far it can be trusted
        "class_lost": sum(item.keeps_class is False for item in items),
        "warning": None if CENTRAL[0] <= share <= CENTRAL[1] else GUESSED.format(share=share),
    }
    counts, settings = dict(sorted(Counter(dropped).items())), {**settings, "regions": rule_record()}
    about = {"title": title, "settings": settings, "dropped": counts, "report": report}
    return write_manifest(folder, items, demo=demo, about=about)


def central_share(items: Sequence[Item]) -> float:
    """Return in which share of the main items the reference is the more central of the two patches."""
    return _share(items, "central")


def clearly_central_share(items: Sequence[Item]) -> float:
    """Return how often a person is right who takes the clearly more central region, and guesses where none is."""
    right = []
    for item in items:
        if item.role == "main":
            gap = item.measures["other"]["eccentricity"] - item.measures["reference"]["eccentricity"]
            right.append(0.5 if abs(gap) <= CLEARLY else float(gap > 0))
    return sum(right) / len(right)


def _share(items: Sequence[Item], baseline: str) -> float:
    found = [
        item.answers[baseline] == "reference" for item in items if baseline in item.answers and item.role == "main"
    ]
    return sum(found) / len(found) if found else float("nan")
